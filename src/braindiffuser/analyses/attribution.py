"""Attribution: which voxels carry a category, a place in the picture, or a feature, by the decoders' patterns.

A direction u over the targets of a group is what is asked for; ẑ = x B uᵀ is what the decoder says of it. A voxel's weight B uᵀ
is no answer, since a decoder also uses voxels to cancel noise. The pattern is (Haufe et al. 2014, NeuroImage 87, 96–110):

    a_v = Cov(x_v, ẑ) / Var(ẑ),   here standardised: a_v · sd(ẑ) / sd(x_v) = Corr(x_v, ẑ)

over training rows. Nothing of the test stimuli enters a map; they only show how well a direction is decoded.

- category: u = mean target of training stimuli that show it − mean target of those that do not.
- place: luminance or contrast of training pictures within a cell of a grid is a target of its own, fitted by the same regressor.
- feature: u = one column of a group's targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from braindiffuser.analyses.analysis import Analysis, Outcome, RunData
from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource, batch_slices
from braindiffuser.report.attribution_section import attribution_section, no_attribution_section

FEWEST = 5
"""Training stimuli that must show a category, and that must not."""
STREAM = 8
"""Second component of the seed of random masks."""
VOXELS_AT_A_TIME = 1024
PLACES = "places"
"""Name of the target group that holds what lies where in the picture."""


@dataclass(frozen=True, eq=False)
class Attributed:
    """The map of one direction.

    Attributes:
        name: unique, such as "category animal".
        kind: what the direction is of.
        group: of the targets.
        n_shown: training stimuli that show it; 0 where that has no meaning.
        pattern: Corr(x_v, ẑ), (n_voxels,).
        decoded: ẑ of the test stimuli (n_test,).
        truth: their own z.
    """

    name: str
    kind: Literal["category", "place", "feature"]
    group: str
    n_shown: int
    pattern: Float[np.ndarray, " n_voxels"]
    decoded: Float[np.ndarray, " n_test"]
    truth: Float[np.ndarray, " n_test"]


class Attribution(Analysis):
    """Map categories, places in the picture, and features back to voxels."""

    takes_seed: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("design", "captions", "stimuli", "regions")

    columns: tuple[str, ...] = Field(
        ("category", "background_category"),
        description="Columns of the table of stimuli whose values are categories; a stimulus shows a category if one of them "
        "holds it. Columns that are not there are passed over.",
    )
    categories: tuple[str, ...] = Field(
        (), description="Values of these columns to map; empty: all that enough training stimuli show."
    )
    words: tuple[str, ...] = Field(
        (), description="Words to map as categories: a stimulus shows one if a caption of its own holds it."
    )
    group: str = Field(
        "", description="Target group in which categories are directions; '' takes vision, or else the first one."
    )
    places: int = Field(3, ge=0, le=16, description="Side of the grid of places in the picture; 0 maps none.")
    place_of: Literal["luminance", "contrast"] = Field(
        "contrast", description="What is looked for at a place: mean luminance, or its standard deviation in the cell."
    )
    features: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        {}, description="Target group → columns of its features to map, counted from 0 in C order."
    )
    n_random: int = Field(
        200,
        ge=0,
        description="Random sets of voxels of equal number and noise ceiling that each region is compared with.",
    )
    drawn: tuple[Literal["mosaic", "glass", "surface"], ...] = Field(
        ("mosaic",),
        description="How maps are drawn on the page: slices (mosaic), or for voxels in MNI space alone, glass brain and surface.",
    )

    def run(self, data: RunData) -> Outcome:
        """Map every direction, and compare regions with random sets of voxels."""
        from braindiffuser.analyses.default_regions import default_regions
        from braindiffuser.datasets.map_files import VoxelMap

        if not data.is_linear:
            return Outcome(
                no_attribution_section(self.label, "Only linear decoders have patterns; this run's are not linear")
            )
        voxels = data.voxels()
        draw = self._drawer(voxels)
        found = [*self._categories(data), *self._features(data), *self._places(data)]
        if not found:
            why = "The stimuli have no category that enough of them show, and no place or feature was asked for"
            return Outcome(no_attribution_section(self.label, why))
        regions = default_regions(data.rois)
        facts = {
            "place_of": self.place_of,
            "grid": self.places,
            "regions": {name: int(mask.sum()) for name, mask in regions.items()},
            "directions": [self._facts(data, each, regions) for each in found],
        }
        what = "Correlation of the voxel's training responses with what the decoder says of {} (Haufe et al. 2014)"
        maps = {each.name: VoxelMap(each.pattern, what.format(each.name)) for each in found}
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

    def _categories(self, data: RunData) -> Iterator[Attributed]:
        """Map the direction of each category.

        Raises:
            RunError: a category or word that is asked for is shown by too few or too many stimuli, or there is no such group.
        """
        shows = self._shown(data)
        if not shows:
            return
        group = self.group or ("vision" if "vision" in data.groups else data.groups[0])
        self._check_group(group, data.groups, "group")
        contrast = np.stack([shown / shown.sum() - ~shown / (~shown).sum() for shown in shows.values()])
        directions = _times_targets(contrast, data.decoders().targets[group], data.device)
        names = [f"category {name}" for name in shows]
        counts = [int(shown.sum()) for shown in shows.values()]
        yield from _attributed(data, "category", group, dict(zip(names, directions, strict=True)), counts)

    def _shown(self, data: RunData) -> dict[str, Bool[np.ndarray, " n_train"]]:
        """Return which training stimuli show each category and word."""
        table = data.stimuli("train")
        there = [column for column in self.columns if column in table]
        values = table[there].astype(str).to_numpy() if there else np.empty((len(table), 0), str)
        every = {str(value): (values == value).any(axis=1) for value in np.unique(values) if value not in ("", "nan")}
        shows = {name: shown for name, shown in every.items() if not self.categories or name in self.categories}
        if self.words:
            captions = ["\n".join(texts) for texts in data.captions("train")]
            for word in self.words:
                pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
                shows[word] = np.array([bool(pattern.search(text)) for text in captions], bool)
        enough = {name: shown for name, shown in shows.items() if FEWEST <= shown.sum() <= len(shown) - FEWEST}
        asked = [name for name in (*self.categories, *self.words) if name not in enough]
        if asked:
            counts = ", ".join(f"{name} {int(shows[name].sum()) if name in shows else 0}" for name in asked)
            raise RunError(
                f"analysis {self.label} maps categories that at least {FEWEST} of {len(table)} training stimuli show, and "
                f"{FEWEST} do not; shown are {counts} times: name others, of {', '.join(every) or 'none'}, or words of captions"
            )
        return enough

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
        decoders = data.decoders()
        targets = {PLACES: own["train"].astype(np.float32)}
        fitted = decoders.regressor.fit(decoders.rows, targets, data.device, data.progress)
        regressor, rows = decoders.regressor, decoders.rows
        cells = {PLACES: np.eye(self.places**2)}
        maps = dict(regressor.direction_weights(fitted, rows, targets, cells, data.device, data.progress))[PLACES]
        responses = {"test": data.responses("test")}
        decoded = dict(regressor.decode(fitted, rows, targets, responses, data.device, data.progress))[PLACES]["test"]
        patterns = standardised(rows.responses, rows.weights, maps.weights, maps.patterns)
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

    def _facts(
        self, data: RunData, each: Attributed, regions: Mapping[str, Bool[np.ndarray, " n_voxels"]]
    ) -> dict[str, Any]:
        """Return how well a direction is decoded, and the mean of its map in each region beside that in random sets."""
        from braindiffuser.analyses.random_masks import random_masks
        from braindiffuser.metrics.inference import permutation_p_value

        said: dict[str, Any] = {}
        for name, mask in regions.items():
            rng = np.random.default_rng([data.seed, STREAM])
            random = random_masks(mask, self.n_random, rng, data.noise_ceiling)
            mean = float(each.pattern[mask].mean())
            null = np.array([each.pattern[own].mean() for own in random], np.float64)
            said[name] = {"mean": mean}
            if len(null):
                said[name] |= {
                    "random": [float(end) for end in np.quantile(null, [0.025, 0.975])],
                    "p": permutation_p_value(mean, null),
                }
        first = next(iter(data.test_sets.values()))
        accuracy = correlation(each.decoded[first], each.truth[first])
        return {
            "name": each.name,
            "kind": each.kind,
            "group": each.group,
            "n_shown": each.n_shown,
            "accuracy": accuracy,
            "regions": said,
        }


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
    from braindiffuser.datasets.map_files import VoxelMap

    patterns = [each.pattern for each in found if each.kind == "place"]
    if side < 2 or not patterns:
        return {}
    right, up = preferred_place(np.stack(patterns), side)
    unit = "in half sides of the picture, from its centre"
    return {
        "place right": VoxelMap(right, f"How far to the right the voxel's patterns of places lie, {unit}"),
        "place up": VoxelMap(up, f"How far up the voxel's patterns of places lie, {unit}"),
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
    found = decoders.regressor.direction_weights(
        decoders.fitted, decoders.rows, decoders.targets, {group: u}, data.device, data.progress
    )
    maps = dict(found)[group]
    patterns = standardised(decoders.rows.responses, decoders.rows.weights, maps.weights, maps.patterns)
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
