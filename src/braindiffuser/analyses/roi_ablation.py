"""ROI ablation: which regions carry layout, and which carry content.

A region is left out, or kept alone, and the same test pictures are decoded, drawn and scored again. Two ways to leave voxels out:

- `masking`: their responses are replaced by the training mean; the decoder that was fitted to all voxels stays as it is.
- `refitting`: decoders are fitted anew to the other voxels. Information that left-out voxels share with kept ones is then not
  lost.

Masked responses vary less, so that their predictions lie nearer to the mean; the calibration `inductive` keeps the statistics
of the whole decoder. Some of the loss by masking is this. Random sets of equally many voxels lose it too.

Scores saturate differently, so that any loss of voxels costs layout and content unequal shares. What a region carries is
therefore read from how far its shares lie from those of random sets of equally many voxels: more of one score must be lost than
by these, and less of the other, each beyond their spread and beyond pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.analyses.chosen_regions import RegionChoice, expressions_of, regions_of
from braindiffuser.analyses.default_regions import default_regions
from braindiffuser.arrays import Vector
from braindiffuser.errors import RunError
from braindiffuser.report.ablation_section import ablation_section, no_ablation_section
from braindiffuser.spacing import evenly_spaced

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.analyses.losses import Resampled
    from braindiffuser.analyses.run_decoders import RunDecoders

How = Literal["without", "only"]
By = Literal["masking", "refitting"]

BYTES_AT_ONCE = 2_000_000_000
"""Room for features and pictures of conditions that are decoded and drawn together."""
BYTES_PER_PICTURE = 3_200_000
"""Of 512 × 512 pixels in float32."""
N_EXAMPLES = 3
"""Pictures of each condition that are kept."""
STREAM = 7
"""Second component of the seed of random masks and resamples."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Voxels that are kept, and what is found with them.

    Attributes:
        region: whose voxels are left out or kept; "" for the whole decoder and for nothing at all.
        how: whether the region is left out or kept alone.
        by: how voxels are left out.
        kept: mask over the voxels.
        n_random: number of the random set, from 1; 0 for the region itself.
        is_drawn: whether pictures are drawn.
        scores: name → score of each picture (n,), filled when they are computed: "features.<group>", and metrics by key.
        pictures: the first few that were drawn.
    """

    region: str
    how: How
    by: By
    kept: Bool[np.ndarray, " n_voxels"]
    n_random: int = 0
    is_drawn: bool = True
    scores: dict[str, Vector] = field(default_factory=dict)
    pictures: list[Any] = field(default_factory=list)


class ROIAblation(Analysis):
    """Leave a region out, or keep only it, and say what each score loses."""

    draws: ClassVar[bool] = True
    scores: ClassVar[bool] = True

    regions: RegionChoice = Field(
        None,
        description="Regions by expression, such as [V1-V4, faces & !V4], or NAME → expression; null takes V1–V4 together and "
        "each, and each category-selective region and all together.",
    )
    how: Annotated[tuple[How, ...], Field(min_length=1), EACH_ONCE] = Field(
        ("without", "only"), description="Whether a region is left out (without), or all other voxels are (only)."
    )
    by: Annotated[tuple[By, ...], Field(min_length=1), EACH_ONCE] = Field(
        ("masking",),
        description="How voxels are left out: by their training mean in the fitted decoder (masking), or from the fit "
        "(refitting).",
    )
    n_images: Annotated[int, Field(ge=2)] | None = Field(
        30, description="Test pictures, evenly spaced; each is drawn once for each region. null takes all."
    )
    n_random: int = Field(
        20, ge=0, description="Random sets of equally many voxels beside each region, whose features alone are scored."
    )
    n_random_drawn: int = Field(
        10,
        ge=0,
        description="Of these, those whose pictures are drawn and scored too; not more than n_random. With fewer than 10 "
        "the page does not say what a region carries.",
    )
    layout: str = Field("pixcorr", description="Key of the score that stands for layout.")
    content: str = Field(
        "",
        description="Key of the score that stands for content; '' takes the last one of the profile that has a chance level, "
        "such as CLIP's two-way identification.",
    )

    @property
    def region_expressions(self) -> Mapping[str, str]:
        """Name → expression of the regions to leave out; {} for the default ones."""
        return expressions_of(self.regions)

    def run(self, data: RunData) -> Outcome:
        """Decode, draw and score the same test pictures without each region, and with it alone."""
        regions = regions_of(self.regions, default_regions, data, self.label)
        masks = regions.masks
        if not masks:
            return Outcome(no_ablation_section(self.label, regions.remarks))
        metrics = data.metrics()
        layout, content = self._chosen_scores(metrics)
        name, rows = next(iter(data.test_sets.items()))
        chosen = evenly_spaced(rows.stop - rows.start, self.n_images)
        conditions = self._conditions(masks, np.random.default_rng([data.seed, STREAM]))
        n_drawn = sum(each.is_drawn for each in conditions)
        data.progress(
            f"ROI ablation draws {n_drawn * len(chosen):,} pictures: {len(chosen)} of each of {n_drawn} sets of voxels",
            1,
            1,
        )
        for done, _ in enumerate(self._filled(data, conditions, name, rows.start + chosen, chosen), start=1):
            data.progress("ablating regions", done, len(conditions))
        facts = {
            "n_images": len(chosen),
            "n_test_images": rows.stop - rows.start,
            "test_set": name,
            "calibration": getattr(data.decoders().regressor, "calibration", ""),
            "layout": {"key": layout, "label": metrics[layout]["label"]},
            "content": {"key": content, "label": metrics[content]["label"]},
            "labels": {key: own["label"] for key, own in metrics.items()},
            "whole": _means(conditions[0].scores),
            "nothing": _means(conditions[1].scores),
            "remarks": list(regions.remarks),
            "regions": [
                {"name": region, "n_voxels": int(mask.sum())}
                | self._region_facts(data, conditions, region, layout, content)
                for region, mask in masks.items()
            ],
        }
        kinds, pictures = self._pictures(conditions)
        section = ablation_section(self.label, facts, kinds, min(N_EXAMPLES, len(chosen)))
        ids = data.stimulus_ids("test")[rows.start + chosen]
        return Outcome(section, pictures, facts, tables={"per_image": _per_image(conditions, ids)})

    def _conditions(
        self, masks: Mapping[str, Bool[np.ndarray, " n_voxels"]], rng: np.random.Generator
    ) -> list[Condition]:
        """Return the whole decoder, nothing at all, and each region with its random sets, as they are drawn."""
        from braindiffuser.analyses.random_masks import random_masks

        n_voxels = len(next(iter(masks.values())))
        every = np.ones(n_voxels, bool)
        made = [Condition("", "without", "masking", every), Condition("", "only", "masking", ~every)]
        for region, mask in masks.items():
            random = random_masks(mask, self.n_random, rng)
            for how in self.how:
                sides = [~mask if how == "without" else mask, *(~random if how == "without" else random)]
                for by in self.by:
                    made += [
                        Condition(region, how, by, kept, number, number <= self.n_random_drawn)
                        for number, kept in enumerate(sides)
                        if kept.any() and (by == "masking" or number <= self.n_random_drawn)
                    ]
        return made

    def _filled(
        self,
        data: RunData,
        conditions: Sequence[Condition],
        name: str,
        rows: Int[np.ndarray, " n"],
        chosen: Int[np.ndarray, " n"],
    ) -> Iterator[Condition]:
        """Score conditions, several at a time, and yield each."""
        from braindiffuser.metrics.nearest_rows import mean_row

        decoders = data.decoders()
        responses, ids = data.responses("test")[rows], data.stimulus_ids("test")[rows]
        truth = {group: data.truth(group)[rows] for group in data.groups}
        means = {group: mean_row(decoders.targets[group]) for group in data.groups}
        room = len(rows) * (4 * decoders.n_targets + BYTES_PER_PICTURE)
        for some in _blocks(conditions, max(1, BYTES_AT_ONCE // room)):
            features = _decoded(decoders, responses, some)
            for condition, decoded in zip(some, features, strict=True):
                condition.scores.update(_score_features(decoded, truth, means, decoders))
            drawn = [number for number, condition in enumerate(some) if condition.is_drawn]
            if drawn:
                together = {
                    group: np.concatenate([features[number][group] for number in drawn]) for group in data.drawn_groups
                }
                pictures = data.draw(together, np.tile(ids, len(drawn)))["full"]
                for number, own in zip(drawn, np.split(pictures, len(drawn)), strict=True):
                    some[number].scores.update(data.score(own, name, chosen))
                    some[number].pictures.extend(own[evenly_spaced(len(own), N_EXAMPLES)])
            yield from some

    def _chosen_scores(self, metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
        """Return the keys of the scores of layout and content.

        Raises:
            RunError: the profile has no such score, or its network is not here.
        """
        with_chance = [key for key, facts in metrics.items() if facts.get("chance") is not None]
        wanted = {"layout": self.layout, "content": self.content or (with_chance or [""])[-1]}
        for entry, key in wanted.items():
            if key not in metrics:
                raise RunError(
                    f"analyses.{self.label}.{entry} names the score {key or 'with a chance level'!r}, which the run's profile "
                    f"does not give here; it gives {', '.join(metrics) or 'none'}: name one"
                )
        return wanted["layout"], wanted["content"]

    def _region_facts(
        self, data: RunData, conditions: Sequence[Condition], region: str, layout: str, content: str
    ) -> dict[str, Any]:
        whole, nothing = conditions[0].scores, conditions[1].scores
        found: dict[str, Any] = {}
        for how in self.how:
            for by in self.by:
                own = [each for each in conditions if (each.region, each.how, each.by) == (region, how, by)]
                if own and own[0].n_random == 0:
                    found[f"{how} by {by}"] = _losses(
                        whole, nothing, own, (layout, content), self._better_higher(data, whole), data.seed
                    )
        return {"ablations": found}

    def _better_higher(self, data: RunData, scores: Mapping[str, Vector]) -> dict[str, bool]:
        """Return of each score whether a higher one is better; identification by features is."""
        metrics = data.metrics()
        return {key: key not in metrics or bool(metrics[key]["higher_is_better"]) for key in scores}

    def _pictures(self, conditions: Sequence[Condition]) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """Return the examples of conditions by kind, and of each region the kinds that show it."""
        pictures: dict[str, Any] = {}
        kinds: dict[str, list[str]] = {}
        for number, each in enumerate(conditions):
            if each.is_drawn and each.n_random == 0:
                name = (
                    "whole"
                    if number == 0
                    else "nothing"
                    if number == 1
                    else f"{each.how}_{each.by}_{_slug(each.region)}"
                )
                kind = (
                    f"{self.label}_{name}"
                    if f"{self.label}_{name}" not in pictures
                    else f"{self.label}_{name}_{number}"
                )
                pictures[kind] = np.stack(each.pictures)
                kinds.setdefault(f"{each.how} by {each.by}" if each.region else "", []).append(kind)
        return kinds, pictures


def _blocks(conditions: Sequence[Condition], most: int) -> Iterator[list[Condition]]:
    """Cut conditions into blocks: masked ones several at a time; a refitted one alone, since its decoders are its own."""
    block: list[Condition] = []
    for condition in conditions:
        if block and (len(block) == most or "refitting" in (condition.by, block[-1].by)):
            yield block
            block = []
        block.append(condition)
    yield block


def _decoded(
    decoders: RunDecoders, responses: Float[np.ndarray, "n n_voxels"], conditions: Sequence[Condition]
) -> list[dict[str, Any]]:
    """Return the features of the same responses under each condition."""
    from braindiffuser.analyses.run_decoders import silenced

    if conditions[0].by == "refitting":
        kept = conditions[0].kept
        return [decoders.refitted(kept).decode(np.ascontiguousarray(responses[:, kept]))]
    sets = {str(number): silenced(responses, each.kept, decoders.rows) for number, each in enumerate(conditions)}
    made = decoders.decode_sets(sets)
    return [made[name] for name in sets]


def _score_features(
    decoded: Mapping[str, Any], truth: Mapping[str, Any], means: Mapping[str, Any], decoders: RunDecoders
) -> dict[str, Vector]:
    """Identify each stimulus by its decoded features less the training mean among the others, group by group."""
    from braindiffuser.metrics.feature_scores import centred
    from braindiffuser.metrics.two_way_identification import two_way_identification

    scores = {}
    for group, values in decoded.items():
        made, own = centred(values, truth[group], means[group], decoders.targets[group])
        scores[f"features.{group}"] = two_way_identification(own, made)
    return scores


def _losses(
    whole: Mapping[str, Vector],
    nothing: Mapping[str, Vector],
    conditions: Sequence[Condition],
    compared: tuple[str, str],
    higher_is_better: Mapping[str, bool],
    seed: int,
) -> dict[str, Any]:
    """Return what each score loses by a region and by random sets, and what layout loses more than content.

    Args:
        whole: name → score of each picture (n,), by all voxels.
        nothing: the same without any voxel.
        conditions: the region, then its random sets, which may lack scores of pictures.
        compared: names of the scores of layout and content.
        higher_is_better: name → whether a higher score is a better one.
        seed: of the resamples.
    """
    from braindiffuser.analyses.losses import (
        beside_random_sets,
        draw_resamples,
        resampled_share,
        share_difference,
        share_lost,
    )

    own, random = conditions[0].scores, [each.scores for each in conditions[1:]]
    resamples = draw_resamples(len(next(iter(own.values()))), np.random.default_rng([seed, STREAM, 1]))

    def share(key: str, scores: Mapping[str, Vector]) -> Resampled | None:
        return resampled_share(whole[key], scores[key], nothing[key], resamples, higher_is_better[key])

    def compare(scores: Mapping[str, Vector]) -> Resampled | None:
        first, second = ((whole[key], scores[key], nothing[key]) for key in compared)
        return share_difference(
            first, second, resamples, (higher_is_better[compared[0]], higher_is_better[compared[1]])
        )

    def beside(found: Resampled | None, sets: Sequence[Resampled | None]) -> dict[str, Any] | None:
        return None if found is None else beside_random_sets(found, [each for each in sets if each is not None])

    lost = {}
    for key in whole:
        loss = share_lost(whole[key], own[key], nothing[key], resamples, higher_is_better[key])
        sets = [share(key, scores) for scores in random if key in scores]
        lost[key] = loss._asdict() | {"value": float(own[key].mean()), "random": beside(share(key, own), sets)}
    found, difference = compare(own), None
    if found is not None:
        low, high = found.interval
        sets = [compare(scores) for scores in random if all(key in scores for key in compared)]
        difference = {"value": found.value, "low": low, "high": high, "random": beside(found, sets)}
    return {"n_kept": int(conditions[0].kept.sum()), "lost": lost, "layout_minus_content": difference}


def _means(scores: Mapping[str, Vector]) -> dict[str, float]:
    return {key: float(values.mean()) for key, values in scores.items()}


def _per_image(conditions: Sequence[Condition], ids: Int[np.ndarray, " n"]) -> pd.DataFrame:
    """Return a row for each condition and picture."""
    import pandas as pd

    tables = []
    for number, each in enumerate(conditions):
        names = ("whole", "nothing")[number] if number < 2 else each.how
        facts = {"region": each.region, "how": names, "by": each.by, "random": each.n_random, "stimulus_id": ids}
        tables.append(pd.DataFrame(facts | each.scores))
    return pd.concat(tables, ignore_index=True)


def _slug(name: str) -> str:
    """Return a name in the letters that kinds of pictures may have.

    >>> _slug("V1v | V1d"), _slug("ecc_4+")
    ('v1v-v1d', 'ecc_4')
    """
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-") or "region"
