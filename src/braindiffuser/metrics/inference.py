"""What chance gives: the permutation null of scores, and p values."""

from __future__ import annotations

import numpy as np

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.two_way_identification import TIE_DECIMALS, Direction, match_scores

TIE = 10.0**-TIE_DECIMALS
"""Mean scores that differ by less, absolutely or as a share, are tied: sums depend on the order of what is added."""


def permutation_null(
    seen: FeatureRows,
    made: FeatureRows,
    rng: np.random.Generator,
    n_permutations: int = 1000,
    direction: Direction = "per_reconstruction",
) -> Vector:
    """Draw mean two-way identification scores of reconstructions and stimuli under the hypothesis that they are unrelated.

    null(p) = 1/n · Σ_i score(i, π_p(i)) with π_p a random permutation, score as in `match_scores`.

    Unlike a binomial test on the n (n − 1) comparisons, which are not independent, this keeps their dependence.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.
        rng: source of the permutations.
        n_permutations: how many to draw.
        direction: as in `two_way_identification`.

    Returns:
        Mean scores (n_permutations,), about 0.5 on average.
    """
    return exchanged_means(match_scores(correlation_matrix(seen, made), direction), rng, n_permutations)


def exchanged_means(scores: Matrix, rng: np.random.Generator, n_permutations: int = 1000) -> Vector:
    """Draw mean scores of reconstructions that are each held against a stimulus drawn without replacement.

    null(p) = 1/n · Σ_i score(i, π_p(i)) with π_p a random permutation

    Args:
        scores: of every stimulus with every reconstruction (n, n), stimuli in rows; their own pairs are the diagonal.
        rng: source of the permutations.
        n_permutations: how many to draw.

    Returns:
        (n_permutations,)

    >>> exchanged_means(np.full((3, 3), 0.5), np.random.default_rng(0), 2)
    array([0.5, 0.5])
    """
    stimuli = np.arange(len(scores))
    return np.array([scores[stimuli, rng.permutation(len(scores))].mean() for _ in range(n_permutations)])


def permutation_p_value(observed: float, null: Vector) -> float:
    """Return p = (1 + number of null scores ≥ observed) / (1 + number of null scores) (Phipson & Smyth 2010).

    Scores that differ by less than 1e-10, absolutely or as a share of the observed one, are equal: means of the same scores
    differ in their last bits by the order in which they were added.

    Raises:
        ValueError: if there is no null score, or a score is not finite: NaN would count as the most significant of all.

    >>> permutation_p_value(0.9, np.array([0.4, 0.5, 0.6])), permutation_p_value(0.3, np.array([0.1 + 0.2]))
    (0.25, 1.0)
    """
    if len(null) == 0 or not np.isfinite([observed, *null]).all():
        raise ValueError(
            f"a p value needs finite scores, at least one under the null; got {observed!r} and {null!r:.100}"
        )
    as_good = (null > observed) | np.isclose(null, observed, rtol=TIE, atol=TIE)
    return float((1 + np.count_nonzero(as_good)) / (1 + len(null)))
