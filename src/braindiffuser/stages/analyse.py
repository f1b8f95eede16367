"""Analyses of the finished run; each leaves a section of the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from pydantic import ValidationError

from braindiffuser.analyses.analysis import Analysis, Outcome, RunData
from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment, list_faults
from braindiffuser.generators.generator import GroupFeatures
from braindiffuser.images import PictureReader
from braindiffuser.plain_data import hash_json
from braindiffuser.stages import Stage, StageContext, Step, stages
from braindiffuser.stages.evaluation.run_scorers import RunScorers, available_scoring, scoring_checkpoints
from braindiffuser.stages.fit import read_decoder, training_rows
from braindiffuser.stages.reconstruct import LESS_MEMORY, draw
from braindiffuser.store.checked_json import read_checked
from braindiffuser.store.draft import Draft
from braindiffuser.system_errors import sentence

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.datasets.known_regions import Further
    from braindiffuser.datasets.responses import SingleTrials
    from braindiffuser.datasets.splits import Split
    from braindiffuser.datasets.voxels import Voxels


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    for analysis in context.experiment.analyses:
        if analysis.label in drafts:
            draft = drafts[analysis.label]
            _write(context, draft, analysis, _run_analysis(context, analysis, draft))
            yield analysis.label


def _run_analysis(context: StageContext, analysis: Analysis, draft: Draft) -> Outcome:
    from braindiffuser.datasets.region_expressions import read_expressions

    data, entry = _run_data(context, analysis, draft), f"analyses.{analysis.label}.regions"
    read_expressions({entry: list(analysis.region_expressions.values())}, data.known_regions)  # it may not ask for them
    try:
        outcome = analysis.run(data)
    except ValidationError as error:
        faults = list_faults(error)
        raise RunError(f"a section of analysis {analysis.label} is not valid ({error.title}): {faults}") from error
    if not isinstance(outcome, Outcome):
        raise RunError(f"analysis {analysis.label} returned {type(outcome).__name__}, expected an Outcome")
    return outcome


def _write(context: StageContext, draft: Draft, analysis: Analysis, outcome: Outcome) -> None:
    """Write what an analysis left; its section gets a name that no section of a stage has."""
    label = analysis.label
    foreign = [kind for kind in outcome.pictures if not re.fullmatch(rf"{re.escape(label)}_[a-z0-9_-]+", kind)]
    if foreign:
        raise RunError(f"analysis {label} leaves pictures {foreign[0]}: give them a name that begins with {label}_")
    for kind, pictures in outcome.pictures.items():
        draft.write_pictures(kind, range(len(pictures)), pictures)
        draft.refuse_blank(kind, len(pictures))
    if outcome.facts:
        draft.write_json(f"analyses/{label}.json", dict(outcome.facts))
    for name, content in _statmap_files(context, analysis, outcome).items():
        draft.write_bytes(f"analyses/{label}/{name}", content)
    for name, table in outcome.tables.items():
        draft.write_table(f"analyses/{label}/{name}.csv", table)
    title = outcome.section.title
    if label != analysis.model_copy(update={"name": ""}).label:  # there may be another of its kind
        title = f"{title} ({label})"
    section = outcome.section.model_copy(update={"name": f"analysis-{label}", "title": title})
    draft.write_text(f"sections/analyse.{label}.json", section.model_dump_json(indent=1) + "\n")


def _statmap_files(context: StageContext, analysis: Analysis, outcome: Outcome) -> Mapping[str, bytes]:
    """Return name → content of the files of an outcome's maps."""
    if not outcome.maps:
        return {}
    from braindiffuser.datasets.bids_labels import space_of
    from braindiffuser.datasets.statmaps import statmap_files

    if "regions" not in analysis.reads:
        raise RunError(
            f'analysis {analysis.label} leaves maps, which its class must declare: "regions" among its `reads`'
        )
    recording = context.open_recording()
    names = (name for session in recording.session_numbers for name in recording.session_files(session))
    try:
        return statmap_files(outcome.maps, _voxels(context), recording.subject, space_of(names))
    except ValueError as error:
        raise RunError(f"analysis {analysis.label}: {error}") from error


def _declared(analysis: Analysis, declares: bool, what: str, wanted: str, function: Any) -> Any:
    """Return `function`, or one that raises what to declare."""

    def refuse(*_: Any) -> Any:
        raise RunError(f"analysis {analysis.label} asks for {what}, which its class must declare: {wanted}")

    return function if declares else refuse


def _run_data(context: StageContext, analysis: Analysis, draft: Draft | None) -> RunData:
    """Return what an analysis is given; without a draft, on a worker, nothing is kept."""
    from braindiffuser.datasets.known_regions import KnownRegions
    from braindiffuser.stages.prepare import ceilings_of_tests

    experiment, results = context.experiment, context.results
    sets = {name: slice(*rows) for name, rows in results.read_json("test_sets.json").items()}
    rois = results.read_bundle("rois.npz")

    def needing(stage: str, what: str, function: Any) -> Any:
        return _declared(analysis, stage in analysis.needs, what, f'"{stage}" among its `needs`', function)

    def reading(role: str, what: str, function: Any) -> Any:
        return _declared(analysis, role in analysis.reads, what, f'"{role}" among its `reads`', function)

    def scoring(what: str, function: Any) -> Any:
        return _declared(analysis, analysis.scores, what, "`scores = True`", function)

    scorers = RunScorers(context, sets)
    keeping: dict[str, Any] = {}
    if draft is not None:
        kept = _Kept(context, draft, analysis)
        keeping = {"kept": kept.one, "kept_each": kept.each}

    return RunData(
        subject=str(results.read_json("subject.json")["subject"]),
        rois=rois,
        known_regions=KnownRegions(rois, partial(_further_regions, context)),
        noise_ceiling=ceilings_of_tests(results),
        test_sets=sets,
        responses=lambda split: results.read_array(f"responses/{split}"),
        stimulus_ids=lambda split: results.read_array(f"stimuli/{split}_ids"),
        predictions=needing("fit", "predictions", lambda group: results.read_array(f"predictions/{group}")),
        truth=lambda group: results.read_array(f"truth/{group}"),
        groups=tuple(context.experiment.targets),
        drawn_groups=context.experiment.generator.uses,
        is_linear=context.experiment.regression.linear,
        draw=_declared(analysis, analysis.draws, "pictures", "`draws = True`", partial(_draw, context)),
        per_image=needing("evaluate", "scores", lambda: results.read_table("per_image.csv")),
        progress=context.progress,
        seed=experiment.seed,
        device=context.networks.device,
        decoders=needing("fit", "decoders", cache(partial(_decoders, context))),
        voxels=reading("regions", "places of voxels", partial(_voxels, context)),
        stimuli=reading("design", "what is known of stimuli", partial(_stimuli, context)),
        n_pictures=reading("design", "the number of pictures", partial(_n_pictures, context)),
        captions=reading("captions", "captions", partial(_captions, context)),
        seen=reading("stimuli", "pictures that were seen", partial(_seen, context)),
        made=needing("reconstruct", "reconstructions", partial(_made, context)),
        score=scoring("scores of pictures", scorers.score),
        metrics=scoring("metrics", scorers.metrics),
        trials=reading("betas", "single trials", partial(_trials, context)),
        chain=experiment.generator.chain("full"),
        generator=experiment.generator.model_dump(),
        **keeping,
    )


class _Kept:
    """Parts of an analysis that are kept, so that they are not computed again."""

    def __init__(self, context: StageContext, draft: Draft, analysis: Analysis) -> None:
        """Remember the analysis and its draft."""
        self._context, self._draft, self._analysis = context, draft, analysis
        self._made_from = _made_from(context, analysis)

    def each(self, items: Mapping[str, Any], compute: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield what is computed of each item, in order; workers compute what is not kept."""
        found = {name: self._found(name) for name in items}
        missing = {name: item for name, item in items.items() if found[name] is None}
        label = self._analysis.label
        if self._context.workers is None or type(self._analysis).part_of is Analysis.part_of:
            made = (compute(item) for item in missing.values())
        else:
            made = (part for _, part in self._context.each(_part, [(label, item) for item in missing.values()]))
        for name, own in found.items():
            yield self._note(name, own or {"made_from": self._made_from, "content": next(made)})

    def one(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return what is computed under a name."""
        return self._note(name, self._found(name) or {"made_from": self._made_from, "content": compute()})

    def _place(self, name: str) -> str:
        return f"analyses/{self._analysis.label}/kept/{name}.json"

    def _found(self, name: str) -> dict[str, Any] | None:
        """Return what is kept under a name in the draft, or in the results that it replaces, if it is made of the same."""
        for folder in (self._draft.folder, self._context.results.folder):
            path = folder / self._place(name)
            try:
                found = read_checked(path)
            except OSError as error:
                raise RunError(sentence(error, path)) from error
            if found is not None and found.get("made_from") == self._made_from:
                return found
        return None

    def _note(self, name: str, found: dict[str, Any]) -> Any:
        if not self._draft.holds(self._place(name)):
            self._draft.write_checked(self._place(name), found)
        return found["content"]


def _part(context: StageContext, item: tuple[str, Any]) -> Any:
    """Compute a part of an analysis, on a worker."""
    label, own = item

    def prepare() -> Callable[[Any], Any]:
        analysis = _analysis(context.experiment, label)
        return analysis.part_of(_run_data(context, analysis, None))

    return context.last("part of an analysis", label, prepare)(own)


def _made_from(context: StageContext, analysis: Analysis) -> str:
    """Hash what kept parts of an analysis are made from: settings, without those that are `later`, and results of other steps."""
    step, entry = Step(STAGE.name, analysis.label), f"analyses.{analysis.label}"
    settings = dict(context.settings(step))
    settings[entry] = {name: value for name, value in settings[entry].items() if name not in analysis.later}
    finished = context.finished()
    needs = {str(need): finished[str(need)]["uid"] for need in _needs_of(context.experiment, analysis.label)}
    return hash_json([settings, needs, list(_available(context.experiment, analysis.label))])


def _trials(context: StageContext, split: Split) -> SingleTrials:
    """Read single trials of one side again, over the voxels that decoders are fitted to."""
    from braindiffuser.datasets.responses import ResponseAccumulator, SingleTrials, trial_responses
    from braindiffuser.stages.prepare import SUMS, chosen_voxels

    recording, results = context.open_recording(), context.results
    normalisation = context.experiment.responses.normalisation
    averaged = ResponseAccumulator.from_state(
        recording.trials, results.read_bundle(SUMS), recording.stimuli_apart
    ).finish()
    values, rows = trial_responses(recording, averaged, normalisation, split)
    in_order = averaged.train_ids if split == "train" else averaged.test_ids
    place = {stimulus: row for row, stimulus in enumerate(results.read_array(f"stimuli/{split}_ids").tolist())}
    return SingleTrials(
        values[:, chosen_voxels(context.experiment, recording, results)],
        np.array([place[stimulus] for stimulus in in_order[rows].tolist()], np.int64),
        recording.trials.loc[recording.trials["split"] == split, "session"].to_numpy(np.int64),
        normalisation != "none",
    )


def _decoders(context: StageContext) -> RunDecoders:
    experiment, results = context.experiment, context.results
    groups = tuple(experiment.targets)
    return RunDecoders(
        experiment.regression,
        {group: read_decoder(results, group) for group in groups},
        training_rows(experiment, results),
        {group: results.open_array(f"targets/{group}") for group in groups},
        context.networks.device,
        context.progress,
    )


def _voxels(context: StageContext) -> Voxels:
    """Return the voxels that decoders are fitted to, as the recording places them; raises what `chosen_voxels` raises."""
    from braindiffuser.stages.prepare import chosen_voxels

    recording = context.open_recording()
    return recording.voxels.subset(chosen_voxels(context.experiment, recording, context.results))


def _stimuli(context: StageContext, split: str) -> pd.DataFrame:
    import pandas as pd

    ids = context.results.read_array(f"stimuli/{split}_ids")
    known = context.open_recording().known_stimuli()
    return pd.DataFrame(index=ids) if known is None else known.reindex(ids)


def _n_pictures(context: StageContext) -> int | None:
    recording = context.open_recording()
    if recording.n_pictures is not None:
        return recording.n_pictures()
    ids = np.unique(recording.trials["stimulus_id"])
    return len(ids) if ids[0] == 0 and ids[-1] == len(ids) - 1 else None


def _captions(context: StageContext, split: str) -> Sequence[tuple[str, ...]]:
    recording, ids = context.open_recording(), context.results.read_array(f"stimuli/{split}_ids")
    return [() if recording.captions is None else recording.captions(int(stimulus)) for stimulus in ids]


def _seen(context: StageContext, split: str) -> PictureReader:
    return PictureReader(context.results.read_array(f"stimuli/{split}_ids"), context.open_recording().pictures)


def _made(context: StageContext, kind: str) -> PictureReader:
    return context.results.open_pictures(kind, len(context.results.read_array("stimuli/test_ids")))


def _further_regions(context: StageContext) -> Further:
    """Open the recording's label volumes and maps, over the voxels that decoders are fitted to."""
    from braindiffuser.datasets.known_regions import Further
    from braindiffuser.stages.prepare import chosen_voxels

    recording = context.open_recording()
    chosen = chosen_voxels(context.experiment, recording, context.results)
    return Further(recording.label_volumes.within(chosen), recording.voxel_maps.within(chosen))


def _draw(
    context: StageContext,
    features: GroupFeatures,
    picture_ids: Int[np.ndarray, " n"],
    changes: Mapping[str, Any] | None = None,
    begun: Mapping[str, Pictures] | None = None,
) -> dict[str, Pictures]:
    """Draw by every variant up to the whole method, but for those that are begun, perhaps with other entries of the generator."""
    made = dict(begun or {})
    if changes:
        context = replace(context, experiment=context.experiment.changed({"generator": dict(changes)}))
    for variant in context.experiment.generator.chain("full"):
        if variant not in made:
            start = made.get(context.experiment.generator.variants[variant].start or "")
            drawn = draw(context, variant, features, picture_ids, start, f"drawing: {variant}")
            made[variant] = np.concatenate([pictures for _, pictures in drawn])
    return made


def _analysis(experiment: Experiment, unit: str) -> Analysis:
    return next(analysis for analysis in experiment.analyses if analysis.label == unit)


def _units(experiment: Experiment) -> tuple[str, ...]:
    return tuple(analysis.label for analysis in experiment.analyses)


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    analysis = _analysis(experiment, unit)
    unknown = [name for name in analysis.needs if name not in STAGE.needs]
    if unknown:
        raise RunError(f"analysis {unit} needs {unknown[0]}, but analyses may need only: {', '.join(STAGE.needs)}")
    asked = (*analysis.needs, "prepare", "extract")
    return tuple(step for name, stage in stages().items() if name in asked for step in stage.steps(experiment))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    analysis = _analysis(experiment, unit)
    own = {
        f"analyses.{unit}": analysis.influences(experiment.device),
        "regression.linear": experiment.regression.linear,
        "generator.uses": list(experiment.generator.uses),
        "seed": experiment.seed,
    }
    if analysis.scores:
        own["evaluation"] = experiment.evaluation.influences(experiment.device)
    if analysis.draws:
        own["generator"] = experiment.generator.influences(experiment.device)
    return own


def _checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    analysis = _analysis(experiment, unit)
    own = {f"analyses.{unit}.{name}": folder for name, folder in analysis.checkpoints.items()}
    drawn = experiment.generator.checkpoints if analysis.draws else {}
    scored = scoring_checkpoints(experiment) if analysis.scores else {}
    return own | {f"generator.{name}": folder for name, folder in drawn.items()} | dict(scored)


def _roles(experiment: Experiment, unit: str) -> tuple[str, ...]:
    analysis = _analysis(experiment, unit)
    scored = ("stimuli",) if analysis.scores else ()
    maps = ("maps",) if analysis.region_expressions else ()
    return tuple(dict.fromkeys((*analysis.reads, *scored, *maps)))


def _available(experiment: Experiment, unit: str) -> tuple[str, ...]:
    from braindiffuser.metrics.feature_networks import available_networks

    analysis = _analysis(experiment, unit)
    own = available_networks(analysis.scoring_networks)
    return tuple(dict.fromkeys((*(available_scoring(experiment) if analysis.scores else ()), *own)))


STAGE = Stage(
    name="analyse",
    does="run the analyses, such as the preferred picture of each ROI",
    reads="decoders, predictions, truth, responses, ROIs, scores",
    writes=("analyses/**", "sections/analyse.*.json", "reconstructions/**"),
    needs=("prepare", "extract", "fit", "reconstruct", "evaluate"),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=_units,
    roles=_roles,
    checkpoints=_checkpoints,
    available=_available,
    less_memory=LESS_MEMORY,
    workers="some",
)
