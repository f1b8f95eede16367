"""Decoded features → pictures; the same from true features or random responses, and with a part of the method left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from braindiffuser.arrays import Pictures
from braindiffuser.batches import Batches
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import Generator, GroupFeatures
from braindiffuser.images import PictureSource
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.spacing import evenly_spaced
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.store.draft import Draft, check_pictures

LESS_MEMORY = "generator.diffusion.precision: half or generator.diffusion.offload: true (of brain_diffuser)"
"""Settings with which drawing takes less memory of a GPU, besides smaller batches, which come by themselves."""

Source: TypeAlias = Literal["predictions", "truth", "random_responses"]
"""Whose features pictures are drawn from: those decoded from responses, the stimuli's own, or those decoded from random ones."""
ENDINGS: Mapping[Source, str] = {"truth": "from_true_features", "random_responses": "from_random_responses"}
"""How kinds of pictures are called that are drawn from other features than those decoded from the test responses."""
STREAM = 15
"""Third component of the seed of random responses, which keeps them independent of the noise of pictures."""


class PictureKind(NamedTuple):
    """Variant and features of one kind of pictures.

    Attributes:
        variant: of the generator.
        source: of the features.
        start: kind of the pictures that these start from; None if they start from none.
        sample: number of the sample, which is drawn with its own noise; 0 is the reconstruction.
    """

    variant: str
    source: Source
    start: str | None
    sample: int = 0


def picture_kinds(experiment: Experiment) -> dict[str, PictureKind]:
    """Return the kinds of pictures that an experiment draws, each after the one that it starts from.

    "final" is the reconstruction, "from_true_features" its ceiling, "from_random_responses" what random responses give; another
    variant has its own name, with the same ending if it is drawn from true features or random responses.
    """
    generator = experiment.generator
    wanted: dict[Source, set[str]] = {
        "predictions": {
            name for variant in ("full", *experiment.ablations.values()) for name in generator.chain(variant)
        },
        "truth": set(generator.chain("full")) if experiment.pictures.ceiling else set(),
    }
    kinds: dict[str, PictureKind] = {}
    for variant in generator.variants:
        for source, variants in wanted.items():
            if variant in variants:
                kinds[kind_name(variant, source)] = _kind(experiment, variant, source)
    for variant, source, sample in _further_kinds(experiment):
        kinds.setdefault(kind_name(variant, source, sample), _kind(experiment, variant, source, sample))
    return kinds


def _kind(experiment: Experiment, variant: str, source: Source, sample: int = 0) -> PictureKind:
    start = experiment.generator.variants[variant].start
    return PictureKind(variant, source, None if start is None else kind_name(start, source, sample), sample)


def _further_kinds(experiment: Experiment) -> Iterator[tuple[str, Source, int]]:
    """Yield variant, source and sample of what is drawn for the recovery by branch, from random responses, and again."""
    generator, pictures = experiment.generator, experiment.pictures
    if recovers_branches(experiment):
        for variant in ("full", *generator.branches):
            yield from ((name, "truth", 0) for name in generator.chain(variant))
    if pictures.n_random_responses != 0:
        yield from ((name, "random_responses", 0) for name in generator.chain("full"))
    for sample in range(1, n_samples(experiment)):
        yield from ((name, "predictions", sample) for name in generator.chain("full"))


def n_samples(experiment: Experiment) -> int:
    """Return how many pictures are drawn of a response."""
    return 1 if experiment.pictures.n_sampled == 0 else experiment.pictures.n_samples


def recovers_branches(experiment: Experiment) -> bool:
    """Return whether pictures are drawn from one branch of the true features alone."""
    return experiment.pictures.n_recovered != 0 and bool(experiment.generator.branches)


def kind_name(variant: str, source: Source, sample: int = 0) -> str:
    """Name the pictures of a variant that are drawn from predictions, from truth, or from random responses."""
    if source in ENDINGS:
        return ENDINGS[source] if variant == "full" else f"{variant}_{ENDINGS[source]}"
    name = "final" if variant == "full" else variant
    return f"{name}_sample_{sample}" if sample else name


def sample_seed(seed: int, sample: int) -> int:
    """Return the seed of the noise of one sample: that of the experiment for the first, which is the reconstruction."""
    if sample == 0:
        return seed
    return int(np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def entry_of_rows(experiment: Experiment, kind: str) -> str | None:
    """Return the entry of `pictures` that says how many test pictures a kind is drawn for; None: it is drawn for all.

    A kind that another result needs of all test pictures, such as the ceiling, is drawn for all.
    """
    pictures, facts = experiment.pictures, picture_kinds(experiment)[kind]
    of_whole = facts.variant in experiment.generator.chain("full")
    if facts.source == "random_responses":
        entry = "n_random_responses"
    elif facts.sample:
        entry = "n_sampled"
    elif facts.source == "truth":
        entry = "" if pictures.ceiling and of_whole else "n_recovered"
    else:
        entry = "" if of_whole else "n_ablated"
    return entry if entry and getattr(pictures, entry) not in (None, "all") else None


def ablated_rows(experiment: Experiment, first: int, stop: int) -> list[int]:
    """Return the rows of the test pictures, first … stop − 1 of one test set, that ablations are compared on.

    They are evenly spaced, the same for all ablations, and of the analysis `roi_ablation` for as many pictures.
    """
    return rows_of_some(experiment.pictures.n_ablated, first, stop)


def rows_of_some(n: int | Literal["all"] | None, first: int, stop: int) -> list[int]:
    """Return the rows of n evenly spaced test pictures among first … stop − 1 of one test set; None: all."""
    rows: list[int] = (first + evenly_spaced(stop - first, None if n == "all" else n)).tolist()
    return rows


def _rows_of(context: StageContext, kind: str) -> list[int]:
    """Return the rows of the test pictures that a kind is drawn for."""
    entry = entry_of_rows(context.experiment, kind)
    if entry is None:
        return list(range(len(context.results.read_array("stimuli/test_ids"))))
    n, sets = getattr(context.experiment.pictures, entry), context.results.read_json("test_sets.json").values()
    return sorted(row for first, stop in sets for row in rows_of_some(n, first, stop))


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    for kind, draft in drafts.items():
        rows = _rows_of(context, kind)
        _draw_missing(context, draft, kind, picture_kinds(context.experiment)[kind], np.array(rows))
        draft.refuse_blank(kind, rows)
        yield kind


def inputs_of(experiment: Experiment, kind: str) -> dict[str, str]:
    """Return all of the run that the generator is given to draw a kind of pictures: name in print → where it lies.

    Features of random responses lie nowhere, since they are decoded when they are drawn.
    """
    facts = picture_kinds(experiment)[kind]
    groups = experiment.generator.groups_of(facts.variant)
    said = {"predictions": "decoded", "truth": "true"}.get(facts.source)
    return {
        **({f"{said} {group}": f"arrays/{facts.source}/{group}" for group in groups} if said else {}),
        **{f"{group} of nothing, which guidance leads away from": f"arrays/null/{group}" for group in groups},
        "ids of the stimuli, which fix the noise": "arrays/stimuli/test_ids",
        **({"pictures that it starts from": f"reconstructions/{facts.start}"} if facts.start else {}),
    }


def _draw_missing(
    context: StageContext, draft: Draft, kind: str, facts: PictureKind, numbers: Int[np.ndarray, " n"]
) -> None:
    """Draw the pictures of some numbers, which are rows of the test stimuli."""
    results = context.results
    ids = results.read_array("stimuli/test_ids")
    lacks = set(draft.missing_pictures(kind, len(ids)))
    if lacks.isdisjoint(numbers.tolist()):
        return
    size = context.experiment.generator.batch_size
    slices = [slice(start, start + size) for start in range(0, len(numbers), size)]
    parts = [_Part(numbers[rows]) for rows in slices]
    if facts.source == "random_responses":
        groups = context.experiment.generator.groups_of(facts.variant)
        features = next(made for _, made in context.each(partial(_decoded_random, groups=groups), [numbers]))
        parts = [_Part(numbers[rows], {group: values[rows] for group, values in features.items()}) for rows in slices]
    wanted = [part for part in parts if not lacks.isdisjoint(part.numbers.tolist())]
    done = sum(len(part.numbers) for part in parts) - sum(len(part.numbers) for part in wanted)
    for part, made in context.each(partial(_drawn_part, kind=kind), wanted):
        lacking = [place for place, number in enumerate(part.numbers.tolist()) if number in lacks]
        draft.write_pictures(kind, part.numbers[lacking].tolist(), made[lacking])
        done += len(part.numbers)
        context.progress(f"reconstructing: {kind}".replace("_", " "), done, len(numbers))


class _Part(NamedTuple):
    """Pictures that are drawn together: rows of the test stimuli, and their features if these lie nowhere."""

    numbers: Int[np.ndarray, " n"]
    features: GroupFeatures | None = None


def _drawn_part(context: StageContext, part: _Part, kind: str) -> Pictures:
    """Draw the pictures of some rows of the test stimuli."""
    experiment, results = context.experiment, context.results
    facts = picture_kinds(experiment)[kind]
    groups, ids = experiment.generator.groups_of(facts.variant), results.read_array("stimuli/test_ids")
    features = part.features or {
        group: np.asarray(results.open_array(f"{facts.source}/{group}").oindex[part.numbers]) for group in groups
    }
    start = None if facts.start is None else results.open_pictures(facts.start, part.numbers.tolist())
    seed = sample_seed(experiment.seed, facts.sample)
    drawn = draw(context, facts.variant, features, ids[part.numbers], start, "", seed, part.numbers.tolist())
    return np.concatenate([made for _, made in drawn])


def _decoded_random(
    context: StageContext, numbers: Int[np.ndarray, " n"], groups: tuple[str, ...]
) -> dict[str, Float[np.ndarray, "n ..."]]:
    """Decode random responses of the training mean and covariance, one for each row of the test stimuli, set by set."""
    from braindiffuser.metrics.baselines import random_responses
    from braindiffuser.stages.fit import read_decoder, training_rows

    experiment, results = context.experiment, context.results
    rows, ids = training_rows(experiment, results), results.read_array("stimuli/test_ids")
    drawn = random_responses(
        rows.averages(), [np.random.default_rng([experiment.seed, int(number), STREAM]) for number in ids[numbers]]
    )
    sets = {
        name: drawn[(first <= numbers) & (numbers < stop)]
        for name, (first, stop) in results.read_json("test_sets.json").items()
    }
    wanted = {name: own for name, own in sets.items() if len(own)}
    targets = {group: results.open_array(f"targets/{group}") for group in groups}
    fitted = {group: read_decoder(results, group) for group in groups}
    made = experiment.regression.decode(fitted, rows, targets, wanted, context.networks.device, context.progress)
    return {
        group: np.concatenate([decoded[name] for name in wanted]).reshape(len(numbers), *targets[group].shape[1:])
        for group, decoded in made
    }


def draw(
    context: StageContext,
    variant: str,
    features: GroupFeatures,
    ids: Int[np.ndarray, " n"],
    start: PictureSource | None,
    label: str = "",
    seed: int | None = None,
    numbers: Sequence[int] | None = None,
) -> Iterator[tuple[slice, Pictures]]:
    """Draw batch by batch; networks that this variant does not need are released first.

    Args:
        context: of the stage.
        variant: of the generator.
        features: target group → features, one row per picture.
        ids: stimulus of each row.
        start: pictures that these start from, one per row; None if they start from none.
        label: says what is drawn, for the progress; empty: no progress is told.
        seed: of all noise; None: the experiment's.
        numbers: what messages call the pictures; None: their rows.

    Yields:
        A slice of rows with their pictures.

    Raises:
        RunError: if the generator draws another number of pictures than it is given features, or what no picture is.
    """
    generator, results = context.experiment.generator, context.results
    groups = generator.groups_of(variant)
    null = {group: results.read_array(f"null/{group}") for group in groups if results.has_array(f"null/{group}")}
    batches = context.batches(f"drawing {variant}", generator.batch_size)
    own = context.experiment.seed if seed is None else seed
    for rows, made in draw_variant(
        generator, variant, features, null, ids, start, context.networks, batches, own, numbers
    ):
        yield rows, made
        if label:
            context.progress(label.replace("_", " "), rows.stop, len(ids))


def draw_variant(  # noqa: PLR0913, PLR0917  all that pictures depend on
    generator: Generator,
    variant: str,
    features: GroupFeatures,
    null: Mapping[str, Float[np.ndarray, "1 ..."]],
    ids: Int[np.ndarray, " n"],
    start: PictureSource | None,
    networks: NetworkCache,
    batches: Batches,
    seed: int,
    numbers: Sequence[int] | None = None,
) -> Iterator[tuple[slice, Pictures]]:
    """Do what `draw` does, for a generator that need not be a run's.

    Args:
        generator: that draws.
        variant: of the generator.
        features: target group → features, one row per picture.
        null: target group → unconditional feature, of those that have one.
        ids: stimulus of each row.
        start: pictures that these start from, one per row; None if they start from none.
        networks: loads networks; those that this variant does not need are released first.
        batches: divides the rows.
        seed: of all noise.
        numbers: what messages call the pictures; None: their rows.
    """
    groups = generator.groups_of(variant)
    networks.keep(generator.checkpoints_of(variant).values())
    own = {group: null[group] for group in groups if group in null}
    drawn = generator.open(variant, own, networks, seed)

    def draw_rows(rows: slice) -> Pictures:
        chosen = {group: features[group][rows] for group in groups}
        names = [f"{variant} {number}" for number in (numbers or range(len(ids)))[rows]]
        return check_pictures(names, drawn(chosen, ids[rows], None if start is None else start[rows]))

    yield from batches.over(len(ids), draw_rows)


def _units(experiment: Experiment) -> tuple[str, ...]:
    return tuple(picture_kinds(experiment))


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    kind = picture_kinds(experiment)[unit]
    groups = experiment.generator.groups_of(kind.variant)
    source = "extract" if kind.source == "truth" else "fit"
    start = () if kind.start is None else (Step("reconstruct", kind.start),)
    null = tuple(Step("extract", group) for group in groups)  # unconditional features
    decoded = (Step("prepare", "responses"),) if kind.source == "random_responses" else ()
    needed = (Step("prepare", "stimuli"), *decoded, *(Step(source, group) for group in groups), *null, *start)
    return tuple(dict.fromkeys(needed))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    kind, entry = picture_kinds(experiment)[unit], entry_of_rows(experiment, unit)
    part = {} if entry is None else {f"pictures.{entry}": getattr(experiment.pictures, entry)}
    sample = {"sample": kind.sample} if kind.sample else {}
    return {
        "seed": experiment.seed,
        "generator": experiment.generator.influences_of(kind.variant, experiment.device),
        **part,
        **sample,
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
    workers="all",
    less_memory=LESS_MEMORY,
)
