"""Several pictures of one response, drawn with other noise: their mean score, their spread, and whose the variance is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.metric import Metric
from braindiffuser.metrics.places import Identified, Places, n_way
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scored_pictures import ScoredPictures, left_out_of
from braindiffuser.metrics.summary import PerPicture, facts_of, interval_of


class VarianceShare(NamedTuple):
    """How much of the variance of single scores is the generator's.

    Attributes:
        seed: σ²_seed, variance of scores of one picture over samples.
        picture: σ²_picture, variance of expected scores over pictures.
        share: σ²_seed / (σ²_seed + σ²_picture), in [0, 1]; None if no score differs from another.
        low: lower end of its 95 % interval; None as `share`.
        high: upper end.
    """

    seed: float
    picture: float
    share: float | None
    low: float | None
    high: float | None


def variance_share(scores: Float[np.ndarray, "n_pictures n_samples"]) -> VarianceShare:
    """Split the variance of scores into that of the generator's noise and that of pictures.

        score(i, s) = μ + picture_i + seed_is
        σ²_seed = MS_within,  σ²_picture = max(0, (MS_between − MS_within) / S)
        share = σ²_seed / (σ²_seed + σ²_picture)

    with MS the mean squares of a one-way analysis of variance. The share is 1 − ICC(1,1); its interval is that of the ICC by
    the F distribution (Shrout & Fleiss 1979, Psychological Bulletin 86, 420–428), which takes both parts as normal.

    Args:
        scores: of S samples of each picture, two or more of both.

    Raises:
        ValueError: if there are fewer, or a score is not finite.

    >>> round(variance_share(np.array([[0.0, 2.0], [10.0, 12.0]])).share, 3)
    0.039
    """
    from scipy.stats import f

    n, n_samples = scores.shape
    if n < 2 or n_samples < 2 or not np.isfinite(scores).all():
        raise ValueError(f"a share of variance needs finite scores of two pictures and two samples, got {scores.shape}")
    means = scores.mean(axis=1)
    within = float(np.square(scores - means[:, None]).sum() / (n * (n_samples - 1)))
    between = float(n_samples * means.var(ddof=1))
    picture = max(0.0, (between - within) / n_samples)
    if within + picture == 0:
        return VarianceShare(0.0, 0.0, None, None, None)
    if within == 0:
        return VarianceShare(0.0, picture, 0.0, 0.0, 0.0)
    ratio, inside, across = between / within, n * (n_samples - 1), n - 1
    ends = (ratio / f.ppf(0.975, across, inside), ratio * f.ppf(0.975, inside, across))
    high, low = (float(np.clip(1 - (end - 1) / (end + n_samples - 1), 0, 1)) for end in ends)
    return VarianceShare(within, picture, within / (within + picture), low, high)


def sample_agreement(features: Sequence[FeatureRows]) -> Identified:
    """Return how well one sample of a picture is identified by another among the samples of other pictures.

        agreement(i) = mean over s ≠ t of two-way identification of picture i of sample t among all pictures of sample s

    Args:
        features: of each sample (n, d), two samples or more.

    Returns:
        Scores (n,) in [0, 1]: 1 where samples resemble each other more than any other picture, 0.5 where they are unrelated;
        and their means without each picture, in all samples.

    Raises:
        ValueError: if there are fewer than two samples; what `correlation_matrix` and `Places.of` raise.
    """
    if len(features) < 2:
        raise ValueError(f"samples are compared with each other, two or more; got {len(features)}")
    pairs = [n_way(Places.of(correlation_matrix(first, second)), 2) for first, second in permutations(features, 2)]
    scores, left_out = [pair.scores for pair in pairs], [pair.left_out for pair in pairs]
    return Identified(np.mean(scores, axis=0), np.mean(left_out, axis=0))


def summarise_samples(profile: Profile, samples: Sequence[PerPicture]) -> dict[str, Any]:
    """Put the scores of several samples of each picture together.

    Args:
        profile: the metrics, in order.
        samples: scores picture by picture (n,) by the metric's key, of each sample.

    Returns:
        `n_samples`, `n_images` and, by metric key, `metrics`: what is known of the metric; `mean` over samples, and
        `mean_ci95` over pictures; `best_of`, the mean of the best sample of each picture, no score, since the truth chooses it;
        `by_sample`; `generator_share` with `seed`, `picture`, `share` and `ci95` as in `variance_share`.
    """
    metrics = {}
    for key, metric in profile.metrics.items():
        scores = np.stack([sample[key] for sample in samples], axis=1)
        found = variance_share(scores)
        best = scores.max(axis=1) if metric.higher_is_better else scores.min(axis=1)
        metrics[key] = {
            **facts_of(metric),
            "mean": float(scores.mean()),
            "mean_ci95": _interval_of_mean(metric, key, samples),
            "best_of": float(best.mean()),
            "by_sample": scores.mean(axis=0).tolist(),
            "generator_share": {
                "seed": found.seed,
                "picture": found.picture,
                "share": found.share,
                "ci95": None if found.low is None or found.high is None else [found.low, found.high],
            },
        }
    n_images = len(next(iter(samples[0].values())))
    return {"n_samples": len(samples), "n_images": n_images, "metrics": metrics}


def _interval_of_mean(metric: Metric, key: str, samples: Sequence[PerPicture]) -> list[float]:
    """Return the interval over pictures of their mean score over samples, which allows for other distractors."""
    means = {key: np.mean([sample[key] for sample in samples], axis=0)}
    without = [own for own in (left_out_of(sample, key) for sample in samples) if own is not None]
    known = {key: np.mean(without, axis=0)} if len(without) == len(samples) else {}
    return interval_of(metric, key, ScoredPictures(means, known))
