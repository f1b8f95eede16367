"""Settings compared on the same subjects and pictures: the difference of each subject's scores, joined over subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from braindiffuser.arrays import Vector
from braindiffuser.metrics.joined_intervals import joined_mean_interval
from braindiffuser.metrics.paired_comparison import PictureScores, compare_paired, contributions, sign_flip_p
from braindiffuser.metrics.subjects import interval_over_subjects


@dataclass(frozen=True)
class SettingDifference:
    """How much one setting scores above another on a metric.

    Attributes:
        value: mean over subjects of the mean difference over pictures.
        ci95: its interval over pictures, of these subjects.
        ci95_subjects: its interval over subjects; None of one subject.
        subjects: mean difference of each subject, in order.
        p: of the sign-flip test over pictures, two-sided.
    """

    value: float
    ci95: tuple[float, float]
    ci95_subjects: tuple[float, float] | None
    subjects: tuple[float, ...]
    p: float


def compare_settings(
    first: Sequence[PictureScores], second: Sequence[PictureScores], rng: np.random.Generator, *, shared: bool = True
) -> SettingDifference:
    """Compare two settings on one metric: each subject's pictures by both, in the same order.

        d̄ = 1/K Σ_k 1/n_k Σ_i (a_ki − b_ki)

    Where all K subjects saw the same pictures, a picture's difference is its mean over subjects, since a picture that one setting
    draws better is likely to be so for several: interval and test are those of `compare_paired`. Where they saw different ones,
    the interval is `joined_mean_interval` of what each picture contributes (`PictureScores.independent`), and signs are drawn for
    every picture of every subject, whose difference counts 1/(K n_k).

    Args:
        first: a setting's scores of each subject.
        second: those of the setting that it is compared with.
        rng: source of random signs.
        shared: whether all subjects saw the same pictures, in the same order.

    Returns:
        Differences first − second.

    Raises:
        ValueError: there is no subject, settings have other subjects or pictures, subjects that share pictures have other
            numbers of them, or one has fewer than two.

    >>> scores = [PictureScores(np.array([0.1, 0.2])), PictureScores(np.array([0.3, 0.6]))]
    >>> compare_settings(scores, scores, np.random.default_rng(0)).value
    0.0
    """
    if not first or len(first) != len(second):
        raise ValueError(
            f"got scores of {len(first)} and {len(second)} subjects; both settings need the same, one or more"
        )
    for one, other in zip(first, second, strict=True):
        if one.scores.shape != other.scores.shape or len(one.scores) < 2:
            raise ValueError(
                f"got {len(one.scores)} and {len(other.scores)} scores of a subject; both settings need the same pictures, two "
                "or more"
            )
    own = [one.scores - other.scores for one, other in zip(first, second, strict=True)]
    means = np.array([float(each.mean()) for each in own])
    over_subjects = interval_over_subjects(means)
    if shared:
        found = compare_paired(_mean(first), _mean(second), rng)
        ends, p = (found.low, found.high), found.p
    else:
        values = [contributions(one, other) for one, other in zip(first, second, strict=True)]
        moved = [each - each.mean() + mean for each, mean in zip(values, means, strict=True)]
        ends = joined_mean_interval(moved, [1 / len(own)] * len(own))
        n = sum(map(len, own))
        p = sign_flip_p(np.concatenate([each * (n / (len(own) * len(each))) for each in own]), rng)
    return SettingDifference(float(means.mean()), ends, over_subjects, tuple(means.tolist()), p)


def compare_all_settings(
    scores: Mapping[str, Sequence[Mapping[str, PictureScores]]],
    against: str,
    seed: int,
    *,
    shared: bool = True,
) -> dict[str, dict[str, SettingDifference]]:
    """Compare every other setting with one, on each metric that all of them have.

    Args:
        scores: setting → subject by subject, metric → scores.
        against: the setting that others are compared with.
        seed: of random signs, anew for each comparison, so that none depends on the others.
        shared: whether all subjects saw the same pictures.

    Returns:
        Setting → metric → difference.

    Raises:
        ValueError: what `compare_settings` raises.
    """
    every = [own for subjects in scores.values() for own in subjects]
    keys = [key for key in every[0] if all(key in own for own in every)]

    def of(setting: str, key: str) -> list[PictureScores]:
        return [own[key] for own in scores[setting]]

    return {
        setting: {
            key: compare_settings(of(setting, key), of(against, key), np.random.default_rng(seed), shared=shared)
            for key in keys
        }
        for setting in scores
        if setting != against
    }


def _mean(scores: Sequence[PictureScores]) -> PictureScores:
    """Average the scores of each picture over subjects, and those without each picture."""
    if len({len(own.scores) for own in scores}) > 1:
        raise ValueError(
            f"subjects share pictures, but have {', '.join(str(len(own.scores)) for own in scores)} scores"
        )
    left_out: list[Vector] = [own.left_out for own in scores if own.left_out is not None]
    mean: Vector = np.mean([own.scores for own in scores], axis=0)
    return PictureScores(mean, np.mean(left_out, axis=0) if len(left_out) == len(scores) else None)
