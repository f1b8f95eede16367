"""What the numbers say of the paper's claims: whether each holds is computed, how far a finding is reproduced is left to readers.

The original made no test of these claims: they are about the order of values and their signs. So is what is computed here,
subject by subject; no p value is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from braindiffuser.datasets.rois import CATEGORY_REGIONS, EARLY_REGIONS
from braindiffuser.reproduction.published import GROUP_NAMES, SIGNS

Values = Mapping[str, float]
"""Variant, region or metric → value."""
Differences = Mapping[str, Mapping[str, Values]]
"""Subject → target group → region → value."""
Position = Literal["within", "above", "below"]

N_SHUFFLED = 200
"""Exchanges of labels that a claim is held against."""
FULL, LOW_LEVEL_ONLY, WITHOUT_LOW_LEVEL = "full", "low_level_only", "without_low_level"


@dataclass(frozen=True)
class RankedMetric:
    """What a claim needs to know of a metric.

    Attributes:
        key: of the profile.
        label: in print.
        higher_is_better: whether more is better.
        is_low_level: whether it measures layout, colour and shape rather than what is shown.
    """

    key: str
    label: str
    higher_is_better: bool
    is_low_level: bool

    def is_better(self, a: float, b: float) -> bool:
        """Return whether a is better than b; equal values are not."""
        return a > b if self.higher_is_better else a < b


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and where it holds.

    Attributes:
        text: the claim, in a sentence without a full stop.
        of_subjects: subject → what it fails on, such as metrics or regions; () if it holds.
        tested: what it was tested on.
        shuffled: in how many comparisons of all subjects it holds if labels of variants or regions are exchanged: mean, and the
            ends of the middle 95 %; None if it was not tried.
        exchanged: how these labels are exchanged, after "where labels exchanged"; "" where they keep together.
    """

    text: str
    of_subjects: Mapping[str, tuple[str, ...]]
    tested: tuple[str, ...]
    shuffled: tuple[float, float, float] | None = None
    exchanged: str = ""

    @property
    def n_held(self) -> int:
        """In how many comparisons it holds, over all subjects."""
        return len(self.of_subjects) * len(self.tested) - sum(map(len, self.of_subjects.values()))

    @property
    def verdict(self) -> Literal["holds", "holds in part", "does not hold", "not tested"]:
        """Whether it holds in all subjects, in some or on some of what was tested, or nowhere."""
        if not self.tested or not self.of_subjects:
            return "not tested"
        failed = [len(own) for own in self.of_subjects.values()]
        if not any(failed):
            return "holds"
        return "does not hold" if all(n == len(self.tested) for n in failed) else "holds in part"

    @property
    def sentence(self) -> str:
        """The claim with its verdict, and what it fails on in which subjects."""
        if self.verdict == "not tested":
            return f"{self.text}: not tested, since the runs have no numbers of it."
        held = [subject for subject, failed in self.of_subjects.items() if not failed]
        chance = ""
        if self.shuffled is not None:
            mean, low, high = self.shuffled
            labels = f"labels exchanged {self.exchanged}" if self.exchanged else "exchanged labels"
            chance = f", where {labels} give {mean:.1f} [{low:.0f}–{high:.0f}]"
        counted = f"{self.n_held} of {len(self.of_subjects) * len(self.tested)} comparisons{chance}"
        said = f"{self.text}: {self.verdict} ({counted}; {len(held)} of {len(self.of_subjects)} subjects)"
        parts = [f"{subject} not on {', '.join(failed)}" for subject, failed in self.of_subjects.items() if failed]
        return f"{said}{'; ' if parts else ''}{'; '.join(parts)}."


def ablation_claims(
    scores: Mapping[str, Mapping[str, Values]], metrics: Sequence[RankedMetric], rng: np.random.Generator
) -> list[Claim]:
    """Return the claims that Table 2 rests on.

    Args:
        scores: subject → metric's key → variant ("full", "low_level_only", …) → value.
        metrics: to test on.
        rng: for exchanges of the variants' labels, in each subject the same for all metrics.

    Returns:
        Five claims: the low level alone is best on low-level metrics and worst on high-level ones; without it, the method is
        worst on low-level ones and better than the low level alone on high-level ones; the whole method has the best mean rank.
    """
    exchanged = [_exchanged_variants(scores, rng) for _ in range(N_SHUFFLED)]
    return [
        replace(claim, shuffled=_counts(others))
        for claim, *others in zip(*(_ablation_claims(each, metrics) for each in (scores, *exchanged)), strict=True)
    ]


def _ablation_claims(scores: Mapping[str, Mapping[str, Values]], metrics: Sequence[RankedMetric]) -> list[Claim]:
    low = [metric for metric in metrics if metric.is_low_level]
    high = [metric for metric in metrics if not metric.is_low_level]
    return [
        _on_metrics(
            "Low level only (the paper's “Only VDVAE”) is best on low-level metrics", scores, low, _best(LOW_LEVEL_ONLY)
        ),
        _on_metrics(
            "Low level only (the paper's “Only VDVAE”) is worst on high-level metrics",
            scores,
            high,
            _worst(LOW_LEVEL_ONLY),
        ),
        _on_metrics(
            "Without the low level (the paper's “Without VDVAE”) the method is worst on low-level metrics",
            scores,
            low,
            _worst(WITHOUT_LOW_LEVEL),
        ),
        _on_metrics(
            "Without the low level the method is better than the low level alone on high-level metrics",
            scores,
            high,
            _better(WITHOUT_LOW_LEVEL, LOW_LEVEL_ONLY),
        ),
        _full_is_best_jointly(scores, metrics),
    ]


def _exchanged_variants(
    scores: Mapping[str, Mapping[str, Values]], rng: np.random.Generator
) -> dict[str, dict[str, Values]]:
    exchanged: dict[str, dict[str, Values]] = {}
    for subject, own in scores.items():
        names = list(dict.fromkeys(name for values in own.values() for name in values))
        labels = dict(zip(names, rng.permutation(names).tolist(), strict=True))
        exchanged[subject] = {key: {labels[name]: value for name, value in own[key].items()} for key in own}
    return exchanged


def _counts(claims: Sequence[Claim]) -> tuple[float, float, float] | None:
    """Return mean and middle 95 % of the comparisons that hold; None where nothing was tested."""
    if not claims or not claims[0].tested or not claims[0].of_subjects:
        return None
    held = np.array([claim.n_held for claim in claims])
    low, high = np.quantile(held, [0.025, 0.975])
    return float(held.mean()), float(low), float(high)


def mean_ranks(scores: Mapping[str, Values], metrics: Sequence[RankedMetric]) -> dict[str, float]:
    """Return the mean rank of each variant over metrics: 1 is best; tied variants share the mean of their ranks.

    Args:
        scores: metric's key → variant → value.
        metrics: to rank by; those that `scores` lacks are left out.
    """
    from scipy.stats import rankdata

    ranked = [metric for metric in metrics if metric.key in scores]
    if not ranked:
        return {}
    variants = list(scores[ranked[0].key])
    values = [
        [(-1 if metric.higher_is_better else 1) * scores[metric.key][name] for name in variants] for metric in ranked
    ]
    return dict(zip(variants, rankdata(values, axis=1).mean(axis=0).tolist(), strict=True))


def _on_metrics(
    text: str,
    scores: Mapping[str, Mapping[str, Values]],
    metrics: Sequence[RankedMetric],
    holds: Callable[[RankedMetric, Values], bool | None],
) -> Claim:
    """Test a claim metric by metric; metrics of which it says nothing (None) in any subject are left out."""
    of_subjects: dict[str, tuple[str, ...]] = {}
    asked = [
        m
        for m in metrics
        if scores and all(m.key in own and holds(m, own[m.key]) is not None for own in scores.values())
    ]
    for subject, own in scores.items() if asked else ():
        of_subjects[subject] = tuple(metric.label for metric in asked if not holds(metric, own[metric.key]))
    return Claim(text, of_subjects, tuple(metric.label for metric in asked))


def _best(variant: str) -> Callable[[RankedMetric, Values], bool | None]:
    def holds(metric: RankedMetric, values: Values) -> bool | None:
        others = [value for name, value in values.items() if name != variant]
        return (
            all(metric.is_better(values[variant], other) for other in others) if variant in values and others else None
        )

    return holds


def _worst(variant: str) -> Callable[[RankedMetric, Values], bool | None]:
    def holds(metric: RankedMetric, values: Values) -> bool | None:
        others = [value for name, value in values.items() if name != variant]
        return (
            all(metric.is_better(other, values[variant]) for other in others) if variant in values and others else None
        )

    return holds


def _better(variant: str, other: str) -> Callable[[RankedMetric, Values], bool | None]:
    def holds(metric: RankedMetric, values: Values) -> bool | None:
        return metric.is_better(values[variant], values[other]) if {variant, other} <= values.keys() else None

    return holds


def _full_is_best_jointly(scores: Mapping[str, Mapping[str, Values]], metrics: Sequence[RankedMetric]) -> Claim:
    """Test that the whole method alone has the best mean rank over all metrics."""
    of_subjects: dict[str, tuple[str, ...]] = {}
    for subject, own in scores.items():
        ranks = mean_ranks(own, metrics)
        if FULL in ranks and len(ranks) > 1:
            ahead = [name.replace("_", " ") for name in ranks if name != FULL and ranks[name] <= ranks[FULL]]
            of_subjects[subject] = (f"mean rank (no better than {', '.join(ahead)})",) if ahead else ()
    tested = ("mean rank",) if of_subjects else ()
    return Claim("The whole method is best jointly (mean rank over all metrics)", of_subjects, tested)


def weight_claims(
    differences: Differences, rng: np.random.Generator, what: Literal["Weights", "Patterns"] = "Weights"
) -> list[Claim]:
    """Return the claims that Figure 8 rests on, of weights or of patterns.

    Args:
        differences: subject → group ("vision", "text") → region → how far its weights' percentile exceeds that of the VDVAE.
        rng: exchanges labels: of regions for signs and order, in each subject the same for all groups; for the last claim, which
            exchanged regions leave as it is, those of text and vision, region by region.
        what: they are of.

    Returns:
        For each group the signs (negative in V1 to V4, positive in regions of categories) and the order (each region of
        categories above each early one); then that differences of text are larger in absolute value than those of vision.
    """
    exchanged = [_exchanged_regions(differences, rng) for _ in range(N_SHUFFLED)]
    claims = [
        replace(claim, shuffled=_counts(others))
        for claim, *others in zip(*(_region_claims(each, what) for each in (differences, *exchanged)), strict=True)
    ]
    sizes = _size_claim(differences, what)
    if sizes is not None:
        others = [_size_claim(_exchanged_groups(differences, rng), what) for _ in range(N_SHUFFLED)]
        claims.append(replace(sizes, shuffled=_counts([each for each in others if each is not None])))
    return claims


def _exchanged_regions(differences: Differences, rng: np.random.Generator) -> Differences:
    """Exchange the labels of the regions that all subjects and groups have."""
    every = [set(values) for own in differences.values() for values in own.values()]
    names = [region for region in SIGNS if all(region in own for own in every)]
    exchanged = {}
    for subject, own in differences.items():
        labels = dict(zip(names, rng.permutation(names).tolist(), strict=True))
        exchanged[subject] = {
            group: {labels.get(region, region): value for region, value in values.items()}
            for group, values in own.items()
        }
    return exchanged


def _exchanged_groups(differences: Differences, rng: np.random.Generator) -> Differences:
    """Exchange text and vision in a random half of the regions of each subject."""
    exchanged = {}
    for subject, own in differences.items():
        text, vision = dict(own.get("text", {})), dict(own.get("vision", {}))
        for region in sorted(text.keys() & vision.keys()):
            if rng.random() < 0.5:
                text[region], vision[region] = vision[region], text[region]
        exchanged[subject] = {**own, **({"text": text, "vision": vision} if {"text", "vision"} <= own.keys() else {})}
    return exchanged


def _region_claims(differences: Differences, what: str) -> list[Claim]:
    """Return the claims on signs and order of regions, group by group."""
    groups = list(dict.fromkeys(group for own in differences.values() for group in own))
    claims = []
    for group in groups:
        name = GROUP_NAMES.get(group, group)
        own = {subject: by_group.get(group, {}) for subject, by_group in differences.items()}
        claims.append(
            _on_regions(
                f"{what} of {name} are below those of the VDVAE in early areas, and above in regions of categories",
                own,
                lambda values, region: np.sign(values[region]) == SIGNS[region],
            )
        )
        claims.append(
            _on_regions(
                f"{what} of {name} over those of the VDVAE rank regions of categories above early areas",
                own,
                _in_order,
            )
        )
    return claims


def _size_claim(differences: Differences, what: str) -> Claim | None:
    """Return the claim that differences of text are larger than those of vision; None without both."""
    both = {subject: own for subject, own in differences.items() if {"vision", "text"} <= own.keys()}
    if not both:
        return None
    sizes = {
        subject: {region: abs(own["text"][region]) - abs(own["vision"][region]) for region in own["vision"]}
        for subject, own in both.items()
    }
    text = f"{what}: differences of CLIP-Text are larger in absolute value than those of CLIP-Vision"
    return replace(_on_regions(text, sizes, lambda values, region: values[region] > 0), exchanged="region by region")


def _in_order(values: Values, region: str) -> bool | None:
    """Return whether a region of categories is above all early areas, or an early area below all those of categories."""
    others = [
        values[name] for name in (CATEGORY_REGIONS if region in EARLY_REGIONS else EARLY_REGIONS) if name in values
    ]
    if not others:
        return None
    return values[region] < min(others) if region in EARLY_REGIONS else values[region] > max(others)


def _on_regions(
    text: str, values: Mapping[str, Values], holds: Callable[[Values, str], bool | np.bool_ | None]
) -> Claim:
    """Test a claim region by region, on the regions that all subjects have."""
    there = [
        region
        for region in SIGNS
        if values and all(region in own and holds(own, region) is not None for own in values.values())
    ]
    of_subjects = (
        {subject: tuple(r for r in there if not holds(own, r)) for subject, own in values.items()} if there else {}
    )
    return Claim(text, of_subjects, tuple(there))


def position(value: float, interval: Sequence[float] | None, published: float) -> Position:
    """Return where a value lies beside a published one: "within" if its 95 % interval holds that, else "above" or "below".

    >>> position(0.254, [0.24, 0.27], 0.25), position(0.3, [0.28, 0.32], 0.25), position(0.2, None, 0.25)
    ('within', 'above', 'below')
    """
    low, high = (value, value) if interval is None else interval
    if low <= published <= high:
        return "within"
    return "above" if value > published else "below"


def count_sentences(subject: str, counts: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    """Return a sentence for each count that is not what the paper has.

    >>> count_sentences("subj01", {"voxels": 15724, "training pictures": 8850}, {"voxels": 15724, "training pictures": 8859})
    ['subj01 has 8,850 training pictures, where the paper has 8,859.']
    """
    return [
        f"{subject} has {counts[name]:,} {name}, where the paper has {wanted:,}."
        for name, wanted in expected.items()
        if counts[name] != wanted
    ]


def mean_and_sem(values: Iterable[float]) -> tuple[float, float | None]:
    """Return the mean over subjects and its standard error, std (ddof 1) / √n; None for a single subject.

    >>> mean_and_sem([1.0, 3.0])
    (2.0, 1.0)
    """
    own = np.array(list(values), np.float64)
    return float(own.mean()), float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else None
