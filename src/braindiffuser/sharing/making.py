"""Make a shared decoder of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32

from braindiffuser import __version__
from braindiffuser.datasets.bids_labels import space_of
from braindiffuser.datasets.normalisation import column_statistics, guard
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.export.finished_run import FinishedRun
from braindiffuser.export.written_files import check_outside
from braindiffuser.open_data.catalogue import ALL
from braindiffuser.progress import Progress, silent
from braindiffuser.regression.calibration import Calibration
from braindiffuser.regression.reduced_decoder import ReducedDecoder
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.report.tables import IDENTIFICATION, metric_family
from braindiffuser.sharing.card import n_numbers
from braindiffuser.sharing.facts import (
    DecoderFacts,
    Estimate,
    GroupFacts,
    OfTargets,
    OnTestSet,
    Origin,
    PictureScore,
    PictureScores,
    ResponseFacts,
    Terms,
    VoxelFacts,
)
from braindiffuser.sharing.shared_decoder import Averages, SharedDecoder, check_free
from braindiffuser.stages import Step
from braindiffuser.stages.evaluate import scores_name
from braindiffuser.stages.fit import read_decoder, training_rows
from braindiffuser.stages.prepare import SUMS

TELLS_MUCH = (
    "It holds {} numbers of each voxel, and there are {} training stimuli: training responses can be computed from it in large "
    "part, so do not pass it on where they may not be; a larger --lost or a smaller --max-rank makes it smaller."
)
Precision = Literal["float16", "float32"]


def share_run(
    run: Path | str,
    out: Path | str,
    *,
    lost: float = 0.01,
    max_rank: int = 500,
    precision: Precision = "float16",
    licence: str = "unknown",
    progress: Progress = silent,
) -> tuple[SharedDecoder, tuple[str, ...]]:
    """Write the decoders of a finished run, at reduced rank and with a card, into a new folder.

    Args:
        run: folder of the run; it is not changed.
        out: folder to write to.
        lost: share of the variance of training predictions that may be lost, by which each group's rank is chosen; each target
            counts in units of the standard deviation of its training targets.
        max_rank: largest rank, whatever is lost.
        precision: in which large arrays are stored.
        licence: that the decoder is shared under, as model hubs name it.
        progress: called as progress(label, done, total).

    Returns:
        The decoder, and sentences on what is left out.

    Raises:
        RunError: the run is not finished or out of date, its decoders cannot be shared, or the folder holds other files.
        RecordingError: the recording cannot be opened.
    """
    run, out = Path(run), Path(out)
    finished = FinishedRun.open(run, progress)
    calibration = _shareable(finished).calibration
    recording = finished.experiment.dataset.folder
    check_outside(out, {"run": run} | ({} if recording is None else {"recording": recording}), "for the decoder")
    uid = finished.uid

    def is_the_same(there: DecoderFacts) -> bool:
        wanted = {own.wanted for own in there.groups.values()}
        return (there.origin.run, there.precision, there.origin.licence, wanted) == (uid, precision, licence, {lost})

    check_free(out, is_the_same)
    origin = _origin(finished, uid, licence)
    made = {
        group: _reduced(finished, group, lost, max_rank, np.dtype(precision), progress) for group in finished.groups
    }
    generator, remarks = _generator(finished.experiment)
    facts = DecoderFacts(
        origin=origin,
        voxels=_voxels(finished),
        responses=_responses(finished),
        calibration=calibration,
        precision=precision,
        groups={group: own for group, (_, own) in made.items()},
        scores=_scores(finished),
        generator=generator,
        seed=finished.experiment.seed,
    )
    groups = {group: own for group, (own, _) in made.items()}
    decoder = SharedDecoder(facts, groups, _null(finished), _averages(finished))
    if finished.uid != uid:
        raise RunError(f"{run} was changed while it was read: run the same command again")
    decoder.save(out)
    if not facts.scores:
        remarks = (
            *remarks,
            "Scores of pictures are left out of the card, since they are not there, damaged or out of date: "
            f"{command_line('run', '--out', run)} makes them.",
        )
    if n_numbers(facts) >= facts.responses.n_stimuli:
        remarks = (*remarks, TELLS_MUCH.format(n_numbers(facts), facts.responses.n_stimuli))
    return decoder, (*finished.remarks, *remarks)


def _shareable(finished: FinishedRun) -> RidgeRegression:
    """Return the run's regression; raise RunError if its decoders cannot be shared."""
    regression, folder = finished.experiment.regression, finished.results.folder
    if not isinstance(regression, RidgeRegression):
        raise RunError(f"decoders of the regressor {regression.kind} cannot be reduced in rank: use ridge")
    if regression.calibration == "transductive":
        raise RunError(
            "calibration transductive rescales features by those of the responses that are decoded together, so it cannot be "
            "passed on: set regression.calibration to inductive (or none) in the experiment file and run "
            + command_line("fit", "--config", "FILE", "--overwrite", "--out", folder)
        )
    if not finished.groups:
        raise RunError(f"{folder} has no decoders yet: run {command_line('run', '--out', folder)} first")
    return regression


def _reduced(
    finished: FinishedRun, group: str, lost: float, max_rank: int, dtype: np.dtype[Any], progress: Progress
) -> tuple[ReducedDecoder, GroupFacts]:
    """Reduce one group's decoder, and hold it against the whole one."""
    from braindiffuser.regression.reduced_fit import reduce_decoder

    experiment, results = finished.experiment, finished.results
    fitted, targets = read_decoder(results, group), results.open_array(f"targets/{group}")
    alpha = float(fitted.arrays["alphas"][0])

    def progress_of_group(label: str, done: int, total: int) -> None:
        progress(f"{label} of {group}", done, total)

    try:
        made = reduce_decoder(
            training_rows(experiment, results),
            targets,
            alpha,
            lost=lost,
            max_rank=max_rank,
            dtype=dtype,
            device=experiment.device,
            progress=progress_of_group,
        )
    except ValueError as error:
        raise RunError(f"{group}: {error}") from error
    cross_validated = fitted.arrays.get("prediction_mean"), fitted.arrays.get("prediction_std")
    name = _shareable(finished).calibration
    decoder = made.decoder.calibrated(Calibration(made.target_mean, made.target_std, *cross_validated, name))
    facts = GroupFacts(
        shape=targets.shape[1:],
        alpha=alpha,
        rank=decoder.rank,
        lost=made.lost,
        lost_of_targets=OfTargets(
            median=float(np.median(made.lost_of_targets)), ninth_decile=float(np.quantile(made.lost_of_targets, 0.9))
        ),
        wanted=lost,
        limited=decoder.rank == max_rank and bool(made.lost_by_rank[-1] > lost),
        test_sets=_on_test_sets(finished, group, decoder, made.target_mean, made.target_std),
    )
    return decoder, facts


def _on_test_sets(
    finished: FinishedRun,
    group: str,
    decoder: ReducedDecoder,
    mean: Float[np.ndarray, " n_targets"],
    std: Float[np.ndarray, " n_targets"],
) -> dict[str, OnTestSet]:
    """Compare decoded features of the run's test responses with those of the whole decoder."""
    results = finished.results
    responses, targets = results.read_array("responses/test"), results.open_array(f"targets/{group}")
    whole, truth = (results.open_array(f"{name}/{group}") for name in ("predictions", "truth"))
    found, unit = {}, np.where(std > 0, std, np.inf)
    for name, (start, stop) in results.read_json("test_sets.json").items():
        rows = slice(start, stop)
        before, after = np.asarray(whole[rows]).reshape(stop - start, -1), decoder.predict(responses[rows])
        varies = float(np.square((before - before.mean(axis=0)) / unit).sum())
        differs = float(np.square((after - before) / unit).sum())
        scores = [_identified(each, np.asarray(truth[rows]), mean, targets) for each in (before, after)]
        found[name] = OnTestSet(
            n_images=stop - start, difference=differs / varies if varies else 0.0, whole=scores[0], shared=scores[1]
        )
    return found


def _identified(
    decoded: Float[np.ndarray, "n d"], truth: Float[np.ndarray, "n ..."], mean: Float[np.ndarray, " d"], targets: Any
) -> Estimate | None:
    """Score decoded features as the stage `compare` does; None for too few pictures."""
    from braindiffuser.metrics.feature_scores import FEWEST_PICTURES, centred
    from braindiffuser.metrics.two_way_identification import two_way_estimate

    if len(decoded) < FEWEST_PICTURES:
        return None
    made, seen = centred(decoded, truth, mean, targets)
    value, low, high = two_way_estimate(seen, made)
    return Estimate(value=value, ci95=(low, high))


def _origin(finished: FinishedRun, uid: str, licence: str) -> Origin:
    experiment, recording = finished.experiment, finished.recording
    known = next((data for data in ALL if data.name == experiment.dataset.kind), None)
    return Origin(
        version=__version__,
        run=uid,
        name=experiment.name,
        subject=given_name(recording.subject),
        recording=experiment.dataset.kind,
        simulated=bool(finished.results.read_json("subject.json")["simulated"]),
        terms=known and Terms(licence=known.licence, terms=known.terms, page=known.page),
        licence=licence,
    )


def _voxels(finished: FinishedRun) -> VoxelFacts:
    experiment = finished.experiment
    return VoxelFacts(
        n=int(np.count_nonzero(finished.chosen)),
        fingerprint=finished.voxel_fingerprint,
        space=space_of(experiment.dataset.files().get("betas", {})),
        regions=experiment.responses.rois,
        min_noise_ceiling=experiment.responses.min_noise_ceiling,
    )


def _responses(finished: FinishedRun) -> ResponseFacts:
    responses, results = finished.experiment.responses, finished.results
    repeats = results.read_array("responses/n_repeats_train")
    return ResponseFacts(
        normalisation=responses.normalisation,
        rows=responses.rows,
        n_stimuli=len(repeats),
        mean_repeats=float(repeats.mean()) if responses.rows == "averages" else 1.0,
    )


def _averages(finished: FinishedRun) -> Averages:
    """Return mean and standard deviation that averages were z-scored by, from their sums, which the run keeps."""
    results, n_repeats = finished.results, finished.results.read_array("responses/n_repeats_train")
    n_voxels = int(np.count_nonzero(finished.chosen))
    if finished.experiment.responses.normalisation == "none":
        return Averages(np.zeros(n_voxels, np.float32), np.ones(n_voxels, np.float32))
    sums = results.read_bundle(SUMS, "sums_train")["sums_train"][:, finished.chosen]
    mean, std = column_statistics(sums / n_repeats[:, None].astype(np.float32))
    return Averages(mean.astype(np.float32), guard(std).astype(np.float32))


def _scores(finished: FinishedRun) -> dict[str, PictureScores]:
    """Return the scores of the run's pictures; none, if they are not there or out of date."""
    if not finished.has(Step("evaluate")):
        return {}
    found = {}
    for name in finished.results.read_json("test_sets.json"):
        if not (finished.results.folder / scores_name(name)).is_file():
            continue
        content = finished.results.read_json(scores_name(name))
        metrics = {
            key: PictureScore(
                label=own["label"],
                is_share=metric_family(own) in IDENTIFICATION,
                higher_is_better=own["higher_is_better"],
                score=Estimate(value=own["value"], ci95=own.get("ci95")),
            )
            for key, own in content["metrics"].items()
            if own.get("value") is not None
        }
        found[name] = PictureScores(profile=content["profile"], n_images=content["n_images"], metrics=metrics)
    return found


def _generator(experiment: Experiment) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return the entries of the generator; none, with a remark, if it loads a checkpoint that another machine cannot find."""
    generator = experiment.generator
    places = {name: Path(getattr(generator, name)) for name in generator.folder_entries}
    own = [name for name, place in places.items() if place.is_absolute() or ".." in place.parts]
    if own:
        return None, (
            f"Pictures cannot be drawn with it: generator.{own[0]} names a folder of this machine, not a published checkpoint.",
        )
    return generator.model_dump(mode="json"), ()


def _null(finished: FinishedRun) -> dict[str, Float32[np.ndarray, "1 ..."]]:
    """Return the unconditional features of the groups that the generator draws from."""
    results, uses = finished.results, finished.experiment.generator.uses
    groups = [group for group in finished.groups if group in uses and results.has_array(f"null/{group}")]
    return {group: results.read_array(f"null/{group}").astype(np.float32) for group in groups}
