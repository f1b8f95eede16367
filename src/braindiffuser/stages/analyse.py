"""Questions to the finished run, each answered by a section of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from braindiffuser._arrays import Pictures
from braindiffuser.analyses import Analysis, Findings, Outcome
from braindiffuser.draft import Draft
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.generators import GroupFeatures
from braindiffuser.stages import Stage, Step, Work, stages
from braindiffuser.stages.fit import read_learnt, training_rows
from braindiffuser.stages.reconstruct import null_features


def _compute(work: Work, drafts: Mapping[str, Draft]) -> Iterator[str]:
    for analysis in work.experiment.analyses:
        if analysis.label in drafts:
            _write(drafts[analysis.label], analysis, _answer(work, analysis))
            yield analysis.label


def _answer(work: Work, analysis: Analysis) -> Outcome:
    try:
        return analysis.run(_findings(work))
    except ValueError as error:
        raise RunError(f"the analysis {analysis.label} cannot be made: {error}") from error


def _write(draft: Draft, analysis: Analysis, outcome: Outcome) -> None:
    for kind, pictures in outcome.pictures.items():
        draft.write_pictures(kind, range(len(pictures)), pictures)
    if outcome.facts:
        draft.write_json(f"analyses/{analysis.label}.json", dict(outcome.facts))
    draft.write_text(f"sections/analyse.{analysis.label}.json", outcome.section.model_dump_json(indent=1) + "\n")


def _findings(work: Work) -> Findings:
    from braindiffuser.data.noise_ceiling import noise_ceiling

    results = work.results
    return Findings(
        subject=str(results.read_json("subject.json")["subject"]),
        rois=results.read_bundle("rois.npz"),
        noise_ceiling=noise_ceiling(results.read_array("ncsnr"), results.read_array("responses/n_repeats_test")),
        responses=lambda split: results.read_array(f"responses/{split}"),
        stimulus_ids=lambda split: results.read_array(f"stimuli/{split}_ids"),
        predictions=lambda group: results.read_array(f"predictions/{group}"),
        truth=lambda group: results.read_array(f"truth/{group}"),
        groups=tuple(work.experiment.targets),
        drawn_groups=work.experiment.generator.uses,
        is_linear=work.experiment.regression.linear,
        project=partial(_project, work),
        draw=partial(_draw, work),
        per_image=lambda: results.read_table("per_image.csv"),
        progress=work.progress,
    )


def _project(work: Work, patterns: Float[np.ndarray, "n n_voxels"], groups: Sequence[str]) -> Mapping[str, Any]:
    experiment, results = work.experiment, work.results
    targets = {group: results.open_array(f"targets/{group}") for group in groups}
    learnt = {group: read_learnt(results, group) for group in groups}
    rows = training_rows(experiment, results)
    told = partial(work.progress, "projecting patterns")
    return dict(experiment.regression.project(learnt, rows, targets, patterns, experiment.device, told))


def _draw(work: Work, features: GroupFeatures, picture_ids: Int[np.ndarray, " n"]) -> dict[str, Pictures]:
    """Draw by every variant on the way to the whole method; each network goes before the next one's are loaded."""
    made: dict[str, Pictures] = {}
    for variant in work.experiment.generator.chain("full"):
        start = work.experiment.generator.variants[variant].start
        made[variant] = _draw_variant(work, variant, features, picture_ids, made.get(start or ""))
    return made


def _draw_variant(
    work: Work, variant: str, features: GroupFeatures, picture_ids: Int[np.ndarray, " n"], start: Pictures | None
) -> Pictures:
    generator, step = work.experiment.generator, work.experiment.generator.pictures_at_a_time
    work.networks.keep(generator.checkpoints_of(variant).values())
    draw = generator.open(variant, null_features(work.experiment, work.results), work.networks, work.experiment.seed)
    made = []
    for first in range(0, len(picture_ids), step):
        rows = slice(first, first + step)
        chosen = {group: features[group][rows] for group in generator.groups_of(variant)}
        made.append(draw(chosen, picture_ids[rows], None if start is None else start[rows]))
        work.progress(f"drawing: {variant.replace('_', ' ')}", min(rows.stop, len(picture_ids)), len(picture_ids))
    return np.concatenate(made)


def _analysis(experiment: Experiment, unit: str) -> Analysis:
    return next(analysis for analysis in experiment.analyses if analysis.label == unit)


def _units(experiment: Experiment) -> tuple[str, ...]:
    return tuple(analysis.label for analysis in experiment.analyses)


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    analysis = _analysis(experiment, unit)
    unknown = [name for name in analysis.needs if name not in STAGE.needs]
    if unknown:
        raise RunError(
            f"analysis {unit} needs {unknown[0]}, which is no stage before analyse: {', '.join(STAGE.needs)} are"
        )
    asked = (*analysis.needs, "prepare", "extract")
    return tuple(step for name, stage in stages().items() if name in asked for step in stage.steps(experiment))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    analysis = _analysis(experiment, unit)
    own = {f"analyses.{unit}": analysis.influences(experiment.device)}
    if not analysis.draws:
        return own
    drawn = experiment.generator.influences(experiment.device)
    return {**own, "seed": experiment.seed, "generator": drawn}


def _checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    analysis = _analysis(experiment, unit)
    own = {f"analyses.{unit}.{name}": folder for name, folder in analysis.checkpoints.items()}
    drawn = experiment.generator.checkpoints if analysis.draws else {}
    return own | {f"generator.{name}": folder for name, folder in drawn.items()}


STAGE = Stage(
    name="analyse",
    does="questions to the decoders, such as the preferred picture of each region",
    reads="decoders, predictions, ROIs",
    writes=("analyses/*.json", "sections/analyse.*.json", "reconstructions/**"),
    needs=("prepare", "extract", "fit", "reconstruct", "evaluate"),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=_units,
    checkpoints=_checkpoints,
)
