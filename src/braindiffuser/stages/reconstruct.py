"""Decoded features → pictures; the same from true features, and with a part of the method left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Pictures
from braindiffuser.batches import Batches, evenly_spaced
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import GroupFeatures
from braindiffuser.images import PictureSource
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.store.draft import Draft, check_pictures

LESS_MEMORY = "generator.diffusion.precision: half or generator.diffusion.offload: true (of brain_diffuser)"
"""Settings with which drawing takes less memory of a GPU, besides smaller batches, which come by themselves."""

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


def is_drawn_in_part(experiment: Experiment, kind: str) -> bool:
    """Return whether a kind of pictures is drawn for some test pictures alone: what no other result than an ablation needs."""
    facts = picture_kinds(experiment)[kind]
    on_the_way = facts.source == "truth" or facts.variant in experiment.generator.chain("full")
    return experiment.pictures.n_ablated is not None and not on_the_way


def ablated_rows(experiment: Experiment, first: int, stop: int) -> list[int]:
    """Return the rows of the test pictures, first … stop − 1 of one test set, that ablations are compared on.

    They are evenly spaced, the same for all ablations, and of the analysis `roi_ablation` for as many pictures.
    """
    rows: list[int] = (first + evenly_spaced(stop - first, experiment.pictures.n_ablated)).tolist()
    return rows


def _rows_of(context: StageContext, kind: str) -> list[int]:
    """Return the rows of the test pictures that a kind is drawn for."""
    if not is_drawn_in_part(context.experiment, kind):
        return list(range(len(context.results.read_array("stimuli/test_ids"))))
    sets = context.results.read_json("test_sets.json").values()
    return sorted(row for first, stop in sets for row in ablated_rows(context.experiment, first, stop))


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    for kind, draft in drafts.items():
        rows = _rows_of(context, kind)
        _draw_missing(context, draft, kind, picture_kinds(context.experiment)[kind], np.array(rows))
        draft.refuse_blank(kind, rows)
        yield kind


def _draw_missing(
    context: StageContext, draft: Draft, kind: str, facts: PictureKind, numbers: Int[np.ndarray, " n"]
) -> None:
    """Draw the pictures of some numbers, which are rows of the test stimuli."""
    results = context.results
    ids = results.read_array("stimuli/test_ids")
    lacks = set(draft.missing_pictures(kind, len(ids)))
    missing = {place for place, number in enumerate(numbers.tolist()) if number in lacks}
    if not missing:
        return
    groups = context.experiment.generator.groups_of(facts.variant)
    features = {group: results.read_array(f"{facts.source}/{group}")[numbers] for group in groups}
    start = None if facts.start is None else results.open_pictures(facts.start, numbers.tolist())
    for rows, made in draw(context, facts.variant, features, ids[numbers], start, f"reconstructing: {kind}", missing):
        lacking = [place for place in range(rows.start, rows.stop) if place in missing]
        draft.write_pictures(kind, numbers[lacking].tolist(), made[np.array(lacking) - rows.start])


def draw(
    context: StageContext,
    variant: str,
    features: GroupFeatures,
    ids: Int[np.ndarray, " n"],
    start: PictureSource | None,
    label: str,
    wanted: Set[int] | None = None,
) -> Iterator[tuple[slice, Pictures]]:
    """Draw batch by batch; networks that this variant does not need are released first.

    Args:
        context: of the stage.
        variant: of the generator.
        features: target group → features, one row per picture.
        ids: stimulus of each row.
        start: pictures that these start from, one per row; None if they start from none.
        label: says what is drawn, for the progress.
        wanted: rows; batches without one of them are skipped. None: all rows.

    Yields:
        A slice of rows with their pictures.

    Raises:
        RunError: if the generator draws another number of pictures than it is given features, or what no picture is.
    """
    generator, results = context.experiment.generator, context.results
    groups = generator.groups_of(variant)
    null = {group: results.read_array(f"null/{group}") for group in groups if results.has_array(f"null/{group}")}
    context.networks.keep(generator.checkpoints_of(variant).values())
    drawn = generator.open(variant, null, context.networks, context.experiment.seed)

    def draw_rows(rows: slice) -> Pictures | None:
        if wanted is not None and wanted.isdisjoint(range(rows.start, rows.stop)):
            return None
        chosen = {group: features[group][rows] for group in groups}
        names = [f"{variant} {number}" for number in range(rows.start, rows.stop)]
        return check_pictures(names, drawn(chosen, ids[rows], None if start is None else start[rows]))

    for rows, made in Batches(generator.batch_size, context.progress).over(len(ids), draw_rows):
        if made is not None:
            yield rows, made
            context.progress(label.replace("_", " "), rows.stop, len(ids))


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
    part = {"pictures.n_ablated": experiment.pictures.n_ablated} if is_drawn_in_part(experiment, unit) else {}
    return {
        "seed": experiment.seed,
        "generator": experiment.generator.influences_of(variant, experiment.device),
        **part,
    }


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
    less_memory=LESS_MEMORY,
)
