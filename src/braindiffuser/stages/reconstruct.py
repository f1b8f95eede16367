"""Decoded features → pictures; the same from true features, and with a part of the method left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from braindiffuser.arrays import Pictures
from braindiffuser.batches import Batches
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import Draw, GroupFeatures
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results

Source: TypeAlias = Literal["predictions", "truth"]
"""Whose features pictures are drawn from: those decoded from responses, or the stimuli's own."""


class PictureKind(NamedTuple):
    """Variant and features of one kind of pictures.

    Attributes:
        variant: of the generator.
        source: of the features.
        start: kind of the pictures that these start from; None if they start from none.
    """

    variant: str
    source: Source
    start: str | None


def picture_kinds(experiment: Experiment) -> dict[str, PictureKind]:
    """Return the kinds of pictures that an experiment draws, each after the one that it starts from.

    "final" is the reconstruction, "from_true_features" its ceiling; another variant has its own name, with the same ending
    if it is drawn from true features.
    """
    generator = experiment.generator
    wanted: dict[Source, set[str]] = {
        "predictions": {
            name for variant in ("full", *experiment.ablations.values()) for name in generator.chain(variant)
        },
        "truth": set(generator.chain("full")) if experiment.pictures.ceiling else set(),
    }
    kinds: dict[str, PictureKind] = {}
    for variant, facts in generator.variants.items():
        for source, variants in wanted.items():
            if variant in variants:
                start = None if facts.start is None else kind_name(facts.start, source)
                kinds[kind_name(variant, source)] = PictureKind(variant, source, start)
    return kinds


def kind_name(variant: str, source: Source) -> str:
    """Name the pictures of a variant that are drawn from predictions or from truth."""
    if source == "truth":
        return "from_true_features" if variant == "full" else f"{variant}_from_true_features"
    return "final" if variant == "full" else variant


def null_features(results: Results, groups: Iterable[str]) -> GroupFeatures:
    """Read unconditional features of some groups; a group may have none."""
    return {group: results.read_array(f"null/{group}") for group in groups if results.has_array(f"null/{group}")}


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    for kind, draft in drafts.items():
        _draw_missing(context, draft, kind, picture_kinds(context.experiment)[kind])
        yield kind


def _draw_missing(context: StageContext, draft: Draft, kind: str, facts: PictureKind) -> None:
    """Draw batch by batch; networks that only an earlier kind needs are gone before this kind's are loaded."""
    ids, generator, results = (
        context.results.read_array("stimuli/test_ids"),
        context.experiment.generator,
        context.results,
    )
    missing = set(draft.missing_pictures(kind, len(ids)))
    if not missing:
        return
    features = {group: results.read_array(f"{facts.source}/{group}") for group in generator.groups_of(facts.variant)}
    starts = None if facts.start is None else results.open_pictures(facts.start, len(ids))
    context.networks.keep(generator.checkpoints_of(facts.variant).values())
    null = null_features(results, features)
    draw = generator.open(facts.variant, null, context.networks, context.experiment.seed)

    def draw_rows(rows: slice) -> Pictures | None:
        if missing.isdisjoint(range(rows.start, rows.stop)):
            return None
        return draw_batch(draw, _rows(features, rows), ids[rows], None if starts is None else starts[rows])

    for rows, made in Batches(generator.batch_size, context.progress).over(len(ids), draw_rows):
        if made is not None:
            lacking = [number for number in range(rows.start, rows.stop) if number in missing]
            draft.write_pictures(kind, lacking, made[np.array(lacking) - rows.start])
            context.progress(f"reconstructing: {kind.replace('_', ' ')}", rows.stop, len(ids))


def draw_batch(draw: Draw, features: GroupFeatures, ids: Int[np.ndarray, " n"], start: Pictures | None) -> Pictures:
    """Draw, and check that there is a picture for each id.

    Raises:
        RunError: if not.
    """
    made = draw(features, ids, start)
    if len(made) != len(ids):
        raise RunError(f"the generator drew {len(made)} pictures of {len(ids)} features: it must draw one for each row")
    return made


def _rows(features: GroupFeatures, rows: slice) -> dict[str, Float[np.ndarray, "n_chosen ..."]]:
    return {group: values[rows] for group, values in features.items()}


def _units(experiment: Experiment) -> tuple[str, ...]:
    return tuple(picture_kinds(experiment))


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    kind = picture_kinds(experiment)[unit]
    groups = experiment.generator.groups_of(kind.variant)
    source = "fit" if kind.source == "predictions" else "extract"
    start = () if kind.start is None else (Step("reconstruct", kind.start),)
    null = tuple(Step("extract", group) for group in groups)  # unconditional features
    needed = (Step("prepare", "stimuli"), *(Step(source, group) for group in groups), *null, *start)
    return tuple(dict.fromkeys(needed))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    variant = picture_kinds(experiment)[unit].variant
    return {"seed": experiment.seed, "generator": experiment.generator.influences_of(variant, experiment.device)}


def _checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    folders = experiment.generator.checkpoints_of(picture_kinds(experiment)[unit].variant)
    return {f"generator.{name}": folder for name, folder in folders.items()}


STAGE = Stage(
    name="reconstruct",
    does="draw pictures from decoded features, from true features, and without parts of the method",
    reads="predictions; truth for pictures named …from_true_features alone",
    writes=("reconstructions/**",),
    needs=("extract", "fit"),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=_units,
    checkpoints=_checkpoints,
)
