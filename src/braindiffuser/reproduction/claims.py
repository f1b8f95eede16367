"""What the numbers say of the paper's claims: whether each holds is computed, how far a finding is reproduced is left to readers.

The original made no test of these claims: they are about the order of values and their signs. So is what is computed here,
subject by subject; no p value is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from braindiffuser.reproduction.published import CATEGORIES, EARLY, LOW_LEVEL, SIGNS

Values = Mapping[str, float]
"""Variant, region or metric → value."""
Position = Literal["within", "above", "below"]

FULL, LOW_LEVEL_ONLY, WITHOUT_LOW_LEVEL = "full", "low_level_only", "without_low_level"


@dataclass(frozen=True)
class Metric:
    """What a claim needs to know of a metric.

    Attributes:
        key: of the profile.
        label: in print.
        higher_is_better: whether more is better.
    """

    key: str
    label: str
    higher_is_better: bool

    @property
    def is_low_level(self) -> bool:
        """Whether it measures layout, colour and shape rather than what is shown."""
        return self.key in LOW_LEVEL

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
    """

    text: str
    of_subjects: Mapping[str, tuple[str, ...]]
    tested: tuple[str, ...]

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
        said = f"{self.text}: {self.verdict} ({len(held)} of {len(self.of_subjects)} subjects, on {len(self.tested)} comparisons)"
        parts = [f"{subject} not on {', '.join(failed)}" for subject, failed in self.of_subjects.items() if failed]
        return f"{said}{'; ' if parts else ''}{'; '.join(parts)}."


def ablation_claims(scores: Mapping[str, Mapping[str, Values]], metrics: Sequence[Metric]) -> list[Claim]:
    """Return the claims that Table 2 rests on.

    Args:
        scores: subject → metric's key → variant ("full", "low_level_only", …) → value.
        metrics: of the profile.

    Returns:
        Five claims: the low level alone is best on low-level metrics and worst on high-level ones; without it, the method is
        worst on low-level ones and better than the low level alone on high-level ones; the whole method has the best mean rank.
    """
    low = [metric for metric in metrics if metric.is_low_level]
    high = [metric for metric in metrics if not metric.is_low_level]
    return [
        _on_metrics("Only the VDVAE is best on low-level metrics", scores, low, _best(LOW_LEVEL_ONLY)),
        _on_metrics("Only the VDVAE is worst on high-level metrics", scores, high, _worst(LOW_LEVEL_ONLY)),
        _on_metrics(
            "Without the VDVAE the method is worst on low-level metrics", scores, low, _worst(WITHOUT_LOW_LEVEL)
        ),
        _on_metrics(
            "Without the VDVAE the method is better than the VDVAE alone on high-level metrics",
            scores,
            high,
            _better(WITHOUT_LOW_LEVEL, LOW_LEVEL_ONLY),
        ),
        _full_is_best_jointly(scores, metrics),
    ]


def mean_ranks(scores: Mapping[str, Values], metrics: Sequence[Metric]) -> dict[str, float]:
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
    ranks = [
        rankdata([(-1 if metric.higher_is_better else 1) * scores[metric.key][name] for name in variants])
        for metric in ranked
    ]
    return dict(zip(variants, np.mean(ranks, axis=0).tolist(), strict=True))


def _on_metrics(
    text: str,
    scores: Mapping[str, Mapping[str, Values]],
    metrics: Sequence[Metric],
    holds: Callable[[Metric, Values], bool | None],
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


def _best(variant: str) -> Callable[[Metric, Values], bool | None]:
    def holds(metric: Metric, values: Values) -> bool | None:
        others = [value for name, value in values.items() if name != variant]
        return (
            all(metric.is_better(values[variant], other) for other in others) if variant in values and others else None
        )

    return holds


def _worst(variant: str) -> Callable[[Metric, Values], bool | None]:
    def holds(metric: Metric, values: Values) -> bool | None:
        others = [value for name, value in values.items() if name != variant]
        return (
            all(metric.is_better(other, values[variant]) for other in others) if variant in values and others else None
        )

    return holds


def _better(variant: str, other: str) -> Callable[[Metric, Values], bool | None]:
    def holds(metric: Metric, values: Values) -> bool | None:
        return metric.is_better(values[variant], values[other]) if {variant, other} <= values.keys() else None

    return holds


def _full_is_best_jointly(scores: Mapping[str, Mapping[str, Values]], metrics: Sequence[Metric]) -> Claim:
    """Test that no variant has a better mean rank over all metrics than the whole method."""
    of_subjects: dict[str, tuple[str, ...]] = {}
    others: list[str] = []
    for subject, own in scores.items():
        ranks = mean_ranks(own, metrics)
        if FULL not in ranks or len(ranks) < 2:
            continue
        others = [name for name in ranks if name != FULL]
        of_subjects[subject] = tuple(name.replace("_", " ") for name in others if ranks[name] <= ranks[FULL])
    return Claim("The whole method is best jointly (mean rank over all metrics)", of_subjects, tuple(others))


def weight_claims(
    differences: Mapping[str, Mapping[str, Mapping[str, float]]], what: Literal["Weights", "Patterns"] = "Weights"
) -> list[Claim]:
    """Return the claims that Figure 8 rests on, of weights or of patterns.

    Args:
        differences: subject → group ("vision", "text") → region → how far its weights' percentile exceeds that of the VDVAE.
        what: they are of.

    Returns:
        For each group the signs (negative in V1 to V4, positive in regions of categories) and the order (each region of
        categories above each early one); then that differences of text are larger than those of vision.
    """
    groups = list(dict.fromkeys(group for own in differences.values() for group in own))
    claims = []
    for group in groups:
        name = {"vision": "CLIP-Vision", "text": "CLIP-Text"}.get(group, group)
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
    if {"vision", "text"} <= set(groups):
        sizes = {
            subject: {region: abs(own["text"][region]) - abs(own["vision"][region]) for region in own["vision"]}
            for subject, own in differences.items()
            if {"vision", "text"} <= own.keys()
        }
        text = f"{what}: differences of CLIP-Text are larger than those of CLIP-Vision"
        claims.append(_on_regions(text, sizes, lambda values, region: values[region] > 0))
    return claims


def _in_order(values: Values, region: str) -> bool | None:
    """Return whether a region of categories is above all early areas, or an early area below all those of categories."""
    others = [values[name] for name in (CATEGORIES if region in EARLY else EARLY) if name in values]
    if not others:
        return None
    return values[region] < min(others) if region in EARLY else values[region] > max(others)


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
