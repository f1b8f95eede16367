"""Sub Avg (Fig. 3 of the paper): predictions of all subjects averaged, drawn by their generator, and scored.

subject-average/
  arrays/predictions/     features averaged over subjects
  reconstructions/        pictures drawn from them
  scores.json, per_image.csv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from braindiffuser.batches import needing_memory
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.images import PictureReader, load_png
from braindiffuser.machine import check_device
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.checkpoint_folders import hash_checkpoint
from braindiffuser.progress import Progress, silent
from braindiffuser.recording_hashes import RecordingHashes
from braindiffuser.run_folder import check_checkpoints, check_configs
from braindiffuser.stages import StageContext
from braindiffuser.stages.evaluate import scores_name
from braindiffuser.stages.reconstruct import LESS_MEMORY, kind_name
from braindiffuser.stages.reconstruct import STAGE as RECONSTRUCT
from braindiffuser.study.members import Member, check_unchanged
from braindiffuser.study.steps import Steps

if TYPE_CHECKING:
    from braindiffuser.metrics.study_summary import SubjectScores
    from braindiffuser.store.draft import Draft
    from braindiffuser.store.results import Results

FOLDER = "subject-average"
LABEL = "Sub Avg"

Rows = Int[np.ndarray, " n"]
"""Numbers of rows."""
Block = Float[np.ndarray, "_ ..."]
"""Features of some pictures of one subject."""


@dataclass(frozen=True)
class SubjectAverage:
    """Pictures that were drawn from averaged features, and their scores.

    Attributes:
        results: of the folder.
        test_sets: name → rows, in the order in which they were drawn.
        scores: test set → scores.
        spread: target group → standard deviation over pictures of averaged features, as a share of that of a subject's.
        missing: scoring networks that this machine lacks.
    """

    results: Results
    test_sets: Mapping[str, slice]
    scores: Mapping[str, SubjectScores]
    spread: Mapping[str, float]
    missing: tuple[str, ...]


def average_subjects(
    members: Sequence[Member],
    test_sets: Sequence[str],
    folder: Path,
    *,
    device: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> SubjectAverage:
    """Average features over subjects, draw pictures from them, and score these; what is finished is read.

        f(i) = 1/N Σ_k f_k(i)

    with f_k(i) the features that the run of subject k predicted for picture i, calibrated as that run calibrates. No truth
    enters. Averaging errors that subjects do not share brings features nearer to the truth, and shrinks what subjects do not
    agree on towards the mean: `spread` says how much is left. The plain average is what the paper draws.

    Args:
        members: runs that `join.check_alike` accepts.
        test_sets: that are drawn, which all have.
        folder: that results go to; made if it does not exist.
        device: where networks compute; None: where the first run's did.
        overwrite: recompute what was made of other runs; else it raises.
        progress: called as progress(label, done, total).

    Raises:
        RunError: features of two runs have different shapes, a checkpoint is another than when the runs were made, or results
            of other runs are in the folder.
    """
    experiment = _experiment_of(members[0], device)
    steps = Steps(folder, overwrite, partial(check_unchanged, members))
    rows = [_rows_of(member, test_sets) for member in members]
    for group in experiment.generator.uses:
        inputs = {
            "runs": {member.name: member.records[f"fit.{group}"]["uid"] for member in members},
            "test sets": list(test_sets),
            "unconditional features": members[0].records[f"extract.{group}"]["uid"],
        }
        steps.finish(f"features.{group}", inputs, partial(_write_features, members, rows, group, progress))
    stimuli = {"stimuli": members[0].records["prepare.stimuli"]["uid"], "test sets": list(test_sets)}
    steps.finish("stimuli", stimuli, partial(_write_stimuli, members[0], test_sets, rows[0]))
    _draw(steps, members[0], experiment, progress)
    return _scored(steps, members[0], experiment, progress)


def _experiment_of(member: Member, device: str | None) -> Experiment:
    """Return the experiment that draws: that of a member, without ceiling and ablations."""
    changes: dict[str, Any] = {"pictures": {"ceiling": False, "ablations": []}, "analyses": []}
    return member.experiment.changed(changes if device is None else changes | {"device": device})


def _rows_of(member: Member, test_sets: Sequence[str]) -> Rows:
    """Return the rows of test sets among a run's predictions."""
    return np.concatenate([np.arange(member.test_sets[name].start, member.test_sets[name].stop) for name in test_sets])


def _write_features(
    members: Sequence[Member], rows: Sequence[Rows], group: str, progress: Progress, draft: Draft
) -> None:
    arrays = [member.results.open_array(f"predictions/{group}") for member in members]
    sides = {member.name: array.shape[1:] for member, array in zip(members, arrays, strict=True)}
    if len(set(sides.values())) > 1:
        raise RunError(
            f"predicted features of {group} have shapes {sides}, and only equal ones can be averaged: give all runs one target"
        )

    def mean_of(block: slice) -> Block:
        parts = (_read_rows(array, own[block]) for array, own in zip(arrays, rows, strict=True))
        return mean_over_subjects(list(parts))

    shape = (len(rows[0]), *arrays[0].shape[1:])
    draft.fill(f"predictions/{group}", shape, mean_of, progress, f"averaging features over subjects: {group}")
    null = f"null/{group}"
    if members[0].results.has_array(null):
        draft.write_array(null, members[0].results.read_array(null))
    draft.write_json(f"spread_{group}.json", {"spread": _spread(arrays, rows)})


def mean_over_subjects(features: Sequence[Block]) -> Block:
    """Average features of the same pictures over subjects: f(i) = 1/N Σ_k f_k(i), summed in float64, returned in float32.

    Args:
        features: of each subject (n, …).

    >>> mean_over_subjects([np.array([[1.0, 2.0]], np.float32), np.array([[3.0, 2.0]], np.float32)])
    array([[2., 2.]], dtype=float32)
    """
    total = np.zeros(features[0].shape, np.float64)
    for own in features:
        total += own
    mean: Block = (total / len(features)).astype(np.float32)
    return mean


def _read_rows(array: Any, rows: Rows) -> Block:
    """Read some rows of an array on disk, given in ascending order."""
    first = int(rows.min())
    read: Block = np.asarray(array[first : int(rows.max()) + 1])[rows - first]
    return read


def _spread(arrays: Sequence[Any], rows: Sequence[Rows], block: int = 128) -> float:
    """Return Σ_j sd_i(mean_k f_kj(i)) / Σ_j mean_k sd_i(f_kj(i)): 1 if subjects agree, 1/√N if they share nothing."""
    n, width = len(rows[0]), int(np.prod(arrays[0].shape[1:]))
    sums, squares = np.zeros((len(arrays) + 1, width)), np.zeros((len(arrays) + 1, width))
    offset = np.stack([_read_rows(array, own[:1]).reshape(width) for array, own in zip(arrays, rows, strict=True)])
    for start in range(0, n, block):
        chosen = slice(start, start + block)
        total = np.zeros((len(rows[0][chosen]), width))
        for number, (array, own) in enumerate(zip(arrays, rows, strict=True)):
            values = _read_rows(array, own[chosen]).reshape(-1, width).astype(np.float64) - offset[number]
            sums[number] += values.sum(axis=0)
            squares[number] += np.square(values).sum(axis=0)
            total += values / len(arrays)
        sums[-1] += total.sum(axis=0)
        squares[-1] += np.square(total).sum(axis=0)
    spreads = np.sqrt(np.maximum(squares / n - np.square(sums / n), 0)).sum(axis=1)
    return float(spreads[-1] / max(spreads[:-1].mean(), np.finfo(float).tiny))


def _write_stimuli(member: Member, test_sets: Sequence[str], rows: Rows, draft: Draft) -> None:
    draft.write_array("stimuli/test_ids", member.test_ids[rows])
    ends = np.cumsum([member.test_sets[name].stop - member.test_sets[name].start for name in test_sets]).tolist()
    starts = [0, *ends[:-1]]
    places = zip(test_sets, starts, ends, strict=True)
    draft.write_json("test_sets.json", {name: [start, end] for name, start, end in places})


def _draw(steps: Steps, member: Member, experiment: Experiment, progress: Progress) -> None:
    """Draw every variant up to the whole method by the stage that draws reconstructions."""
    kinds = [kind_name(variant, "predictions") for variant in experiment.generator.chain("full")]
    networks = NetworkCache(experiment.device)

    def refuse() -> Any:
        raise RunError("pictures of averaged features are drawn without a recording")

    context = StageContext(
        experiment=experiment,
        results=steps.store,
        manifest=dict,
        finished=dict,
        open_recording=refuse,
        hashes=RecordingHashes(steps.store, {}, progress, keep=False),
        networks=networks,
        progress=lambda label, done, total: progress(f"{LABEL}: {label}", done, total),
        settings=lambda step: member.records[str(step)]["settings"],
    )

    def compute(kind: str, draft: Draft) -> None:
        check_checkpoints(experiment)
        check_configs(experiment)
        check_device(experiment.device)
        _check_generator(member, experiment, kind)
        with needing_memory(experiment.device, lambda: f"reconstruct.{kind}", LESS_MEMORY):
            for _ in RECONSTRUCT.compute(context, {kind: draft}):
                pass
        try:
            _check_generator(member, experiment, kind)  # again: it may have been replaced while it was loaded
        except RunError:
            draft.clear()
            raise

    for kind in kinds:
        needed = [f"features.{group}" for group in experiment.generator.uses]
        inputs = {
            "features": {step: (steps.store.record(step) or {}).get("uid") for step in needed},
            "stimuli": (steps.store.record("stimuli") or {}).get("uid"),
            "drawn as": member.records[f"reconstruct.{kind}"]["settings"],
        }
        steps.finish(f"reconstruct.{kind}", inputs, partial(compute, kind))
    networks.keep(())


def _check_generator(member: Member, experiment: Experiment, kind: str) -> None:
    """Raise if a checkpoint is another than the one that the run's pictures were drawn with."""
    recorded = member.records[f"reconstruct.{kind}"]["settings"]
    known: dict[Path, Any] = {}
    for name, folder in RECONSTRUCT.checkpoints(experiment, kind).items():
        if hash_checkpoint(folder, known) != recorded.get(name):
            raise RunError(
                f"{name} names {folder}, whose files are not those that {member.path} was drawn with: put the earlier checkpoint "
                f"back, or run {command_line('run', '--out', member.path, '--overwrite')}"
            )


def _scored(steps: Steps, member: Member, experiment: Experiment, progress: Progress) -> SubjectAverage:
    """Score each test set, as the runs were scored, against the pictures that the first run keeps as seen."""
    from braindiffuser.metrics.feature_networks import available_networks
    from braindiffuser.metrics.study_summary import SubjectScores

    sets = {name: slice(*rows) for name, rows in steps.store.read_json("test_sets.json").items()}
    inputs = {
        "pictures": (steps.store.record("reconstruct.final") or {}).get("uid"),
        "scored as": member.records["evaluate"]["settings"],
        "networks": list(available_networks(experiment.evaluation.all_metrics().layers)),
    }
    steps.finish("evaluate", inputs, partial(_write_scores, steps, member, experiment, sets, progress), ["networks"])
    results = steps.store
    table = results.read_table("per_image.csv")
    summaries = {name: results.read_json(scores_name(name)) for name in sets}
    scores = {
        name: SubjectScores(
            LABEL,
            {key: table.loc[table["set"] == name, key].to_numpy(dtype=np.float64) for key in summary["metrics"]},
            summary,
        )
        for name, summary in summaries.items()
    }
    spread = {group: results.read_json(f"spread_{group}.json")["spread"] for group in experiment.generator.uses}
    return SubjectAverage(results, sets, scores, spread, tuple(summaries["test"]["missing"]))


def _write_scores(
    steps: Steps, member: Member, experiment: Experiment, sets: Mapping[str, slice], progress: Progress, draft: Draft
) -> None:
    import pandas as pd

    from braindiffuser.metrics.feature_networks import load_networks
    from braindiffuser.metrics.scorer import Scorer
    from braindiffuser.metrics.summary import ScoreSets, summarise
    from braindiffuser.networks.checkpoint_folders import downloads_folder

    whole = experiment.evaluation.all_metrics()
    networks, missing = load_networks(whole, downloads_folder(), experiment.device)
    profile, tables = whole.without(missing), []
    ids = steps.store.read_array("stimuli/test_ids")
    for number, (name, rows) in enumerate(sets.items()):
        progress(f"{LABEL}: scoring pictures", number, len(sets))
        made = steps.store.open_pictures("final", rows.stop).take(rows)
        scores = Scorer(seen_pictures(member, name), profile, networks).score(made)
        rng = np.random.default_rng([experiment.seed, rows.stop - rows.start])
        summary = summarise(profile, ScoreSets(final=scores), rng, experiment.evaluation.n_resamples)
        draft.write_json(scores_name(name), summary | {"missing": missing})
        facts = {"number": np.arange(rows.start, rows.stop), "stimulus_id": ids[rows], "set": name}
        tables.append(pd.DataFrame(facts | dict(scores)))
    draft.write_table("per_image.csv", pd.concat(tables))
    progress(f"{LABEL}: scoring pictures", len(sets), len(sets))


def seen_pictures(member: Member, test_set: str) -> PictureReader:
    """Return what reads the pictures of a test set that a run keeps as seen."""
    return _pictures_of(member, "seen", test_set)


def made_pictures(member: Member, test_set: str) -> PictureReader:
    """Return what reads a run's reconstructions of a test set."""
    return _pictures_of(member, "final", test_set)


def _pictures_of(member: Member, kind: str, test_set: str) -> PictureReader:
    rows, results = member.test_sets[test_set], member.results

    def read(numbers: Int[np.ndarray, " m"]) -> Any:
        return load_png([results.picture_path(kind, int(number)) for number in numbers])

    return PictureReader(np.arange(rows.start, rows.stop), read)
