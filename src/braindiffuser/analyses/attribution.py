"""Attribution: which voxels carry a category, a place in the picture, or a feature, by the decoders' patterns.

u: a direction in target space; ẑ = x B uᵀ: its decoded value. A voxel's weight B uᵀ does not say what the voxel carries, since a
decoder also uses voxels to cancel noise. The pattern is (Haufe et al. 2014, NeuroImage 87, 96–110):

    a_v = Cov(x_v, ẑ) / Var(ẑ),   here standardised: a_v · sd(ẑ) / sd(x_v) = Corr(x_v, ẑ)

over training rows. Nothing of the test stimuli enters a map; they only show how well a direction is decoded.

Every direction has a map, a category that the brain knows nothing of too: any mean of targets is a mix of features that can be
decoded. So two questions are asked of a category before a region is said to carry it. Does ẑ tell test stimuli that show it from
others? And is the region's mean beyond that of exchanged labels, where as many other training stimuli are said to show it?

- category: u = mean target of training stimuli that show it − mean target of those that do not.
- place: luminance or contrast of training pictures within a cell of a grid is a target of its own, fitted by the same regressor.
- feature: u = one column of a group's targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.analyses.chosen_regions import RegionChoice, expressions_of, regions_of
from braindiffuser.analyses.default_regions import default_regions
from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource, batch_slices
from braindiffuser.report.attribution_section import attribution_section, no_attribution_section

if TYPE_CHECKING:
    from braindiffuser.analyses.chosen_regions import Masks

FEWEST = 5
"""Training stimuli that must show a category, and that must not."""
STREAM = 8
"""Second component of the seed of random masks and exchanged labels."""
TIE_DECIMALS = 10
"""Means that differ by less are tied: sums depend on the order of what is added."""
CONTRASTS_AT_A_TIME = 1000
"""Contrasts that share a pass over the targets: 35 MB a block of 8,859 stimuli."""
VOXELS_AT_A_TIME = 1024
PLACES = "places"
"""Name of the target group that holds what lies where in the picture."""


@dataclass(frozen=True, eq=False)
class Attributed:
    """The map of one direction.

    Attributes:
        name: unique, such as "category animal".
        kind: category, place or feature.
        group: of the targets.
        n_shown: training stimuli that show it; 0 where that has no meaning.
        correlation: Corr(x_v, ẑ), (n_voxels,): the standardised pattern.
        decoded: ẑ of the test stimuli (n_test,).
        truth: what ẑ should tell: whether they show the category (0 or 1), or their own z.
        shuffled: mean in each region of maps whose category is said to be shown by other stimuli; None where none was made.
    """

    name: str
    kind: Literal["category", "place", "feature"]
    group: str
    n_shown: int
    correlation: Float[np.ndarray, " n_voxels"]
    decoded: Float[np.ndarray, " n_test"]
    truth: Float[np.ndarray, " n_test"]
    shuffled: Float[np.ndarray, "n_shuffled n_regions"] | None = None


class Attribution(Analysis):
    """Map categories, places in the picture, and features back to voxels."""

    reads: ClassVar[tuple[str, ...]] = ("design", "captions", "stimuli", "regions")

    columns: tuple[str, ...] = Field(
        ("category", "background_category"),
        description="Columns of the table of stimuli whose values are categories; a stimulus shows a category if one of them "
        "holds it. Columns that are not there are passed over.",
    )
    categories: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        (), description="Values of these columns to map; empty: all that enough training stimuli show."
    )
    words: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        (), description="Words to map as categories: a stimulus shows one if a caption of its own holds it."
    )
    group: str = Field(
        "", description="Target group in which categories are directions; '' takes vision, or else the first one."
    )
    places: int = Field(3, ge=0, le=16, description="Side of the grid of places in the picture; 0 maps none.")
    place_of: Literal["luminance", "contrast"] = Field(
        "contrast", description="What is looked for at a place: mean luminance, or its standard deviation in the cell."
    )
    features: dict[str, Annotated[tuple[Annotated[int, Field(ge=0)], ...], EACH_ONCE]] = Field(
        {}, description="Target group → columns of its features to map, counted from 0 in C order."
    )
    regions: RegionChoice = Field(
        None,
        description="Regions whose mean of each map is shown, by expression, such as [V1-V4, faces & !V4], or NAME → expression; "
        "null takes V1–V4 and category-selective regions, each and together.",
    )
    n_random: int = Field(
        500,
        ge=0,
        description="Random sets of voxels of equal number and noise ceiling that each region is compared with.",
    )
    n_shuffled: int = Field(
        500,
        ge=0,
        description="Exchanges of which training stimuli show a category; regions are compared with their maps too.",
    )
    drawn: Annotated[tuple[Literal["mosaic", "glass", "surface"], ...], EACH_ONCE] = Field(
        ("mosaic",),
        description="How maps are drawn on the page: slices (mosaic), or for voxels in MNI space alone, glass brain and surface.",
    )

    @property
    def region_expressions(self) -> Mapping[str, str]:
        """Name → expression of the regions whose means are shown; {} for the default ones."""
        return expressions_of(self.regions)

    def run(self, data: RunData) -> Outcome:
        """Map every direction, and compare regions with random sets of voxels, and with maps of exchanged labels."""
        from braindiffuser.datasets.statmaps import StatMap

        if not data.is_linear:
            return Outcome(
                no_attribution_section(self.label, "Only linear decoders have patterns; this run's are not linear")
            )
        voxels = data.voxels()
        draw = self._drawer(voxels)
        regions = regions_of(self.regions, default_regions, data, self.label)
        masks = regions.masks
        found = [*self._categories(data, masks), *self._features(data), *self._places(data)]
        if not found:
            why = "The stimuli have no category that enough of them show, and no place or feature was asked for"
            return Outcome(no_attribution_section(self.label, why))
        facts = {
            "place_of": self.place_of,
            "grid": self.places,
            "regions": {name: int(mask.sum()) for name, mask in masks.items()},
            "n_shuffled": self.n_shuffled,
            "remarks": list(regions.remarks),
            "directions": self._facts(data, found, masks),
        }
        what = "Correlation of the voxel's training responses with what the decoder says of {} (Haufe et al. 2014)"
        maps = {each.name: StatMap(each.correlation, what.format(each.name)) for each in found}
        maps |= _preferred_places(found, self.places)
        return Outcome(attribution_section(self.label, facts, draw(maps)), facts=facts, maps=maps)

    def _drawer(self, voxels: Any) -> Any:
        """Return a function from maps to figures; it fails now, not later, if what draws them is not installed.

        Raises:
            DependencyError: nilearn is not installed.
        """
        if voxels.mask is None or not self.drawn:
            return lambda maps: {}
        from braindiffuser.report.brain_figures import brain_figure, require_nilearn

        require_nilearn(f"the maps of {self.label}")

        def draw(maps: Mapping[str, Any]) -> dict[str, str]:
            shown = {name: each for name, each in maps.items() if not name.startswith("place row")}
            return {
                name if how == self.drawn[0] else f"{name} ({how})": brain_figure(
                    voxels.unmask(each.values.astype(np.float32), np.nan), voxels.affine, how, name
                )
                for name, each in shown.items()
                for how in self.drawn
            }

        return draw

    def _categories(self, data: RunData, regions: Masks) -> Iterator[Attributed]:
        """Map the direction of each category.

        Raises:
            RunError: a category or word that is asked for is shown by too few or too many stimuli, or there is no such group.
        """
        shows = self._shown(data)
        if not shows:
            return
        group = self.group or ("vision" if "vision" in data.groups else data.groups[0])
        self._check_group(group, data.groups, "group")
        contrasts = np.stack([_contrast(shown) for shown in shows.values()])
        directions = _times_targets(contrasts, data.decoders().targets[group], data.device)
        names = [f"category {name}" for name in shows]
        counts = [int(shown.sum()) for shown in shows.values()]
        made = _attributed(data, "category", group, dict(zip(names, directions, strict=True)), counts)
        in_test = self._every_category(data, "test")
        nobody = np.zeros(len(data.stimulus_ids("test")), bool)
        for name, each, shuffled in zip(shows, made, self._shuffled(data, group, shows, regions), strict=True):
            yield replace(each, truth=in_test.get(name, nobody).astype(np.float64), shuffled=shuffled)

    def _shuffled(
        self, data: RunData, group: str, shows: Mapping[str, Bool[np.ndarray, " n_train"]], regions: Masks
    ) -> Iterator[Float[np.ndarray, "n_shuffled n_regions"] | None]:
        """Yield for each category the means in regions of maps with exchanged labels; None if there are none."""
        if not (self.n_shuffled and regions):
            yield from [None] * len(shows)
            return
        rng, decoders = np.random.default_rng([data.seed, STREAM, 1]), data.decoders()
        n = len(next(iter(shows.values())))
        orders = np.stack([rng.permutation(n) for _ in range(self.n_shuffled)])
        rows = decoders.rows
        every, step = list(shows.values()), max(1, CONTRASTS_AT_A_TIME // self.n_shuffled)
        for some in (every[start : start + step] for start in range(0, len(every), step)):
            contrasts = np.concatenate([_contrast(shown)[orders] for shown in some])
            found = decoders.regressor.contrast_weights(
                decoders.fitted, rows, decoders.targets, {group: contrasts}, data.device, data.progress
            )
            maps = dict(found)[group]
            patterns = standardised(rows.responses[:], rows.weights, maps.weights, maps.patterns)
            means = np.stack([patterns[:, mask].mean(axis=1, dtype=np.float64) for mask in regions.values()], axis=1)
            yield from np.split(means, len(some))

    def _shown(self, data: RunData) -> dict[str, Bool[np.ndarray, " n_train"]]:
        """Return which training stimuli show each category and word."""
        every = self._every_category(data, "train")
        values = self._values(data, "train")
        other = [word for word in self.words if word in values and not np.array_equal(values[word], every[word])]
        if other:
            raise RunError(
                f"analysis {self.label}: {other[0]} of `words` is also a category, a value of the columns "
                f"{', '.join(self.columns)}, which other stimuli show than have the word in a caption: leave it out of `words`, "
                "or name other columns"
            )
        wanted = (*self.categories, *self.words) if self.categories else every
        shows = {name: shown for name, shown in every.items() if name in wanted}
        enough = {name: shown for name, shown in shows.items() if FEWEST <= shown.sum() <= len(shown) - FEWEST}
        asked = [name for name in (*self.categories, *self.words) if name not in enough]
        if asked:
            counts = ", ".join(f"{name} {int(shows[name].sum()) if name in shows else 0}" for name in asked)
            n_train = len(data.stimulus_ids("train"))
            others = ", ".join(name for name in every if name not in self.words) or "none"
            raise RunError(
                f"analysis {self.label} maps categories that at least {FEWEST} of {n_train} training stimuli show, and "
                f"{FEWEST} do not; shown are {counts} times: name others, of {others}, or words of captions"
            )
        return enough

    def _every_category(self, data: RunData, split: str) -> dict[str, Bool[np.ndarray, " n"]]:
        """Return which stimuli show each value of the columns, and each word."""
        every = self._values(data, split)
        if self.words:
            captions = ["\n".join(texts) for texts in data.captions(split)]
            for word in self.words:
                pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
                every[word] = np.array([bool(pattern.search(text)) for text in captions], bool)
        return every

    def _values(self, data: RunData, split: str) -> dict[str, Bool[np.ndarray, " n"]]:
        """Return which stimuli show each value of the columns."""
        table = data.stimuli(split)
        there = [column for column in self.columns if column in table]
        values = table[there].astype(str).to_numpy() if there else np.empty((len(table), 0), str)
        return {str(value): (values == value).any(axis=1) for value in np.unique(values) if value not in ("", "nan")}

    def _features(self, data: RunData) -> Iterator[Attributed]:
        for group, columns in self.features.items():
            self._check_group(group, data.groups, "features")
            n_targets = int(np.prod(data.truth(group).shape[1:]))
            beyond = [column for column in columns if column >= n_targets]
            if beyond:
                raise RunError(
                    f"analysis {self.label} maps feature {beyond[0]} of {group}, which has {n_targets}: name a lower one"
                )
            directions = {f"feature {group} {column}": np.eye(1, n_targets, column)[0] for column in columns}
            yield from _attributed(data, "feature", group, directions, [0] * len(columns))

    def _places(self, data: RunData) -> Iterator[Attributed]:
        if not self.places:
            return
        own = {split: self._local_values(data, split) for split in ("train", "test")}
        decoders = data.decoders().refitted_to({PLACES: own["train"].astype(np.float32)})
        maps = decoders.direction_weights({PLACES: np.eye(self.places**2)})[PLACES]
        decoded = decoders.decode(data.responses("test"))[PLACES]
        patterns = standardised(decoders.rows.responses[:], decoders.rows.weights, maps.weights, maps.patterns)
        for cell, pattern in enumerate(patterns):
            row, column = divmod(cell, self.places)
            name = f"place row {row + 1} column {column + 1}"
            yield Attributed(name, "place", PLACES, 0, pattern, decoded[:, cell], own["test"][:, cell])

    def _local_values(self, data: RunData, split: str) -> Float[np.ndarray, "n cells"]:
        from braindiffuser.analyses.picture_measures import cell_means, local_contrast, luminance

        pictures: PictureSource = data.seen(split)
        values = []
        for rows in batch_slices(len(pictures)):
            batch = pictures[rows]
            measured = (
                local_contrast(batch, self.places)
                if self.place_of == "contrast"
                else cell_means(luminance(batch), self.places)
            )
            values.append(measured)
            data.progress(f"places in {split} pictures", rows.stop, len(pictures))
        return np.concatenate(values)

    def _check_group(self, group: str, groups: Sequence[str], entry: str) -> None:
        if group not in groups:
            raise RunError(
                f"analyses.{self.label}.{entry} names {group}, which is no target group; there are {', '.join(groups)}"
            )

    def _facts(self, data: RunData, found: Sequence[Attributed], regions: Masks) -> list[dict[str, Any]]:
        """Return how well each direction is decoded, and the mean of its map in each region beside what chance gives."""
        first = next(iter(data.test_sets.values()))
        beside = self._random_means(data, found, regions) if regions and self.n_random else [None] * len(found)
        return [
            {
                "name": each.name,
                "kind": each.kind,
                "group": each.group,
                "n_shown": each.n_shown,
                "accuracy": correlation(each.decoded[first], each.truth[first]),
                "regions": _of_regions(each, regions, random),
            }
            for each, random in zip(found, beside, strict=True)
        ]

    def _random_means(
        self, data: RunData, found: Sequence[Attributed], regions: Masks
    ) -> list[Float[np.ndarray, "n_random n_regions"]]:
        """Return the means of each map in random sets of voxels, drawn for all regions together."""
        from braindiffuser.analyses.random_masks import shuffled_masks

        rng, masks = np.random.default_rng([data.seed, STREAM]), np.stack(list(regions.values()))
        patterns = np.stack([each.correlation for each in found], axis=1).astype(np.float64)
        drawn = shuffled_masks(masks, self.n_random, rng, data.noise_ceiling)
        means = np.stack([random @ patterns for random in drawn]) / masks.sum(axis=1)[:, None]
        return list(np.moveaxis(means, 2, 0))


def _contrast(shown: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Mean of those that show it less mean of the others, as a row of factors."""
    row: Float[np.ndarray, " n"] = shown / shown.sum() - ~shown / (~shown).sum()
    return row


def _of_regions(
    each: Attributed, regions: Masks, random: Float[np.ndarray, "n_random n_regions"] | None
) -> dict[str, dict[str, Any]]:
    """Return a map's mean in each region, and the middle 95 % and p of each null, p also corrected over regions."""
    said: dict[str, dict[str, Any]] = {
        name: {"mean": float(each.correlation[mask].mean(dtype=np.float64))} for name, mask in regions.items()
    }
    means = np.array([own["mean"] for own in said.values()])
    for what, null in (("random", random), ("shuffled", each.shuffled)):
        if null is not None:
            ends, p = np.quantile(null, [0.025, 0.975], axis=0).T, p_values_of_regions(means, null)
            for own, end, alone, corrected in zip(said.values(), ends, *p, strict=True):
                own[what] = {"middle_95": end.tolist(), "p": float(alone), "p_corrected": float(corrected)}
    return said


def p_values_of_regions(
    means: Float[np.ndarray, " n_regions"], null: Float[np.ndarray, "n_draws n_regions"]
) -> tuple[Float[np.ndarray, " n_regions"], Float[np.ndarray, " n_regions"]]:
    """Return p of as large a mean in each region, alone and corrected over regions.

        p_ir = #{j : m_jr ≥ m_ir} / (1 + n),  corrected p_r = #{i : min_s p_is ≤ p_0r} / (1 + n)

    for draws i, j = 0 … n, of which 0 is the observed one.

    Means of small regions vary more, so the smallest p is corrected for, not the largest mean (Westfall & Young 1993).

    Args:
        means: observed.
        null: means of the same regions under the hypothesis.
    """
    from scipy.stats import rankdata

    every = np.concatenate([means[None], null]).round(TIE_DECIMALS)
    p = rankdata(-every, method="max", axis=0) / len(every)
    corrected = (p.min(axis=1)[:, None] <= p[0]).mean(axis=0)
    return p[0], corrected


def standardised(
    responses: Float[np.ndarray, "n_rows n_voxels"],
    weights: Float[np.ndarray, " n_rows"] | None,
    coefficients: Float[np.ndarray, "k n_voxels"],
    patterns: Float[np.ndarray, "k n_voxels"],
) -> Float[np.ndarray, "k n_voxels"]:
    """Scale patterns by standard deviations of rows: a · sd(ẑ) / sd(x) = Corr(x, ẑ); 0 where a voxel does not vary.

    Args:
        responses: x, training rows.
        weights: of the rows; None: all 1.
        coefficients: B uᵀ of each direction.
        patterns: a = Cov(x, ẑ) / Var(ẑ), with ẑ = x B uᵀ.
    """
    decoded = responses @ coefficients.T
    spread = np.sqrt(_variances(decoded, weights))
    own = np.concatenate(
        [
            np.sqrt(_variances(responses[:, start : start + VOXELS_AT_A_TIME], weights))
            for start in range(0, responses.shape[1], VOXELS_AT_A_TIME)
        ]
    )
    scale = np.divide(1, own, out=np.zeros_like(own), where=own > 0)
    correlations: Float[np.ndarray, "k n_voxels"] = (patterns * spread[:, None] * scale).astype(np.float32)
    return correlations


def correlation(decoded: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"]) -> dict[str, float | None]:
    """Return Pearson's r over stimuli and its 95 % interval (Fisher's z); None where one does not vary, or of under four."""
    from scipy.stats import pearsonr

    if len(truth) < 4 or np.ptp(truth) == 0 or np.ptp(decoded) == 0:
        return {"r": None, "low": None, "high": None}
    found = pearsonr(decoded.astype(np.float64), truth.astype(np.float64))
    low, high = found.confidence_interval()
    return {"r": float(found.statistic), "low": float(low), "high": float(high)}


def preferred_place(
    patterns: Float[np.ndarray, "cells n_voxels"], side: int
) -> tuple[Float[np.ndarray, " n_voxels"], Float[np.ndarray, " n_voxels"]]:
    """Return how far to the right and up a voxel's patterns lie: Σ_c w_c · place_c, w_c ∝ max(a_c, 0)², in half sides.

    NaN where no cell has a positive pattern.
    """
    from braindiffuser.analyses.picture_measures import centres

    weights = np.square(np.maximum(patterns, 0))
    total = weights.sum(axis=0)
    shares = np.divide(weights, total, out=np.full_like(weights, np.nan), where=total > 0)
    right, up = np.tile(centres(side), side), np.repeat(-centres(side), side)
    return right @ shares, up @ shares


def _preferred_places(found: Sequence[Attributed], side: int) -> dict[str, Any]:
    from braindiffuser.datasets.statmaps import StatMap

    patterns = [each.correlation for each in found if each.kind == "place"]
    if side < 2 or not patterns:
        return {}
    right, up = preferred_place(np.stack(patterns), side)
    unit = "in half sides of the picture, from its centre"
    return {
        "place right": StatMap(right, f"How far to the right the voxel's patterns of places lie, {unit}"),
        "place up": StatMap(up, f"How far up the voxel's patterns of places lie, {unit}"),
    }


def _attributed(
    data: RunData,
    kind: Literal["category", "feature"],
    group: str,
    directions: Mapping[str, Float[np.ndarray, " n_targets"]],
    counts: Sequence[int],
) -> Iterator[Attributed]:
    decoders = data.decoders()
    u = np.stack(list(directions.values()))
    maps = decoders.of((group,)).direction_weights({group: u})[group]
    patterns = standardised(decoders.rows.responses[:], decoders.rows.weights, maps.weights, maps.patterns)
    truth, predicted = (
        values.reshape(len(values), -1) @ u.T for values in (data.truth(group), data.predictions(group))
    )
    for number, (name, pattern) in enumerate(zip(directions, patterns, strict=True)):
        yield Attributed(name, kind, group, counts[number], pattern, predicted[:, number], truth[:, number])


def _times_targets(
    matrix: Float[np.ndarray, "k n_train"], targets: Any, device: str
) -> Float[np.ndarray, "k n_targets"]:
    """Multiply a small matrix with targets that stream from disk."""
    import torch

    from braindiffuser.regression.streaming import apply_smoother

    directions: Float[np.ndarray, "k n_targets"] = apply_smoother(
        torch.tensor(matrix, dtype=torch.float32, device=device), targets
    ).values.astype(np.float64)
    return directions


def _variances(values: Float[np.ndarray, "n k"], weights: Float[np.ndarray, " n"] | None) -> Float[np.ndarray, " k"]:
    values = values.astype(np.float64)
    mean = np.average(values, axis=0, weights=weights)
    variances: Float[np.ndarray, " k"] = np.average(np.square(values - mean), axis=0, weights=weights)
    return variances
