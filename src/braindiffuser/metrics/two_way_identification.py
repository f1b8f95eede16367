"""Two-way identification: how often a reconstruction correlates more with its own stimulus than with another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.metric import OZCELIK_VANRULLEN_2023, Citation, Compared, FeatureMetric

if TYPE_CHECKING:
    from braindiffuser.metrics.places import Identified

Direction = Literal["per_reconstruction", "per_stimulus"]
"""per_reconstruction (published): each reconstruction against all stimuli; per_stimulus: each stimulus against all
reconstructions."""

TIE_DECIMALS = 10
"""Correlations that are equal to this number of decimals count as tied, so that rounding of sums breaks no tie."""


class TwoWayIdentification(FeatureMetric):
    """Share of distractors whose features correlate less than those of the true match.

    Example:
        >>> metric = TwoWayIdentification(network="pixels", layer="all", label="Pixels", description="Of all values.")
        >>> features = np.eye(4)
        >>> metric.compare(features, features)
        array([1., 1., 1., 1.])
    """

    citation: Citation = OZCELIK_VANRULLEN_2023
    direction: Direction = Field(
        "per_reconstruction",
        description="Direction. per_reconstruction (published): each reconstruction against all stimuli; per_stimulus: each "
        "stimulus against all reconstructions.",
    )

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    chance: ClassVar[float | None] = 0.5

    @property
    def fewest_pictures(self) -> int:
        """Two: a picture and one other."""
        return 2

    def compare(self, seen: Matrix, made: Matrix) -> Vector:
        """Score features (n, d) by `two_way_identification` in this metric's direction."""
        return two_way_identification(seen, made, self.direction)

    def compare_among(self, seen: Matrix, made: Matrix) -> Compared:
        """Score features, without each picture, and in the other direction."""
        from braindiffuser.metrics.places import n_way, rankings_of

        if type(self).compare is not TwoWayIdentification.compare:  # another score, of a class that derives from this
            return super().compare_among(seen, made)
        rankings = rankings_of(seen, made, (self.direction, self.other_direction))
        own, other = (Compared(*n_way(ranking, 2)) for ranking in rankings)
        return own._replace(other_way=other)

    @property
    def other_direction(self) -> Direction:
        """The direction that its scores are not of."""
        return "per_stimulus" if self.direction == "per_reconstruction" else "per_reconstruction"


def two_way_identified(seen: FeatureRows, made: FeatureRows, direction: Direction = "per_reconstruction") -> Identified:
    """Return `two_way_identification` of each picture, and its mean without each, as target and as distractor.

    Args:
        seen: features of the stimuli (n, d).
        made: features of the reconstructions, or decoded ones, in the same order (n, d).
        direction: as in `two_way_identification`.

    Raises:
        ValueError: if there are fewer than 2 pictures, or shapes differ.
    """
    from braindiffuser.metrics.places import n_way, rankings_of

    (ranking,) = rankings_of(seen, made, (direction,))
    return n_way(ranking, 2)


def two_way_estimate(
    seen: FeatureRows, made: FeatureRows, direction: Direction = "per_reconstruction"
) -> tuple[float, float, float]:
    """Return mean two-way identification and the ends of its 95 % interval, which allows for other distractors.

    Args:
        seen: features of the stimuli (n, d).
        made: features of the reconstructions, or decoded ones, in the same order (n, d).
        direction: as in `two_way_identification`.

    Raises:
        ValueError: if there are fewer than 2 pictures, or shapes differ.

    >>> two_way_estimate(np.eye(4), np.eye(4))
    (1.0, 0.641..., 1.0)
    """
    from braindiffuser.metrics.intervals import share_interval

    found = two_way_identified(seen, made, direction)
    value = float(found.scores.mean())
    return value, *share_interval(value, found.left_out, 0.5, graded=True)


def two_way_identification(seen: FeatureRows, made: FeatureRows, direction: Direction = "per_reconstruction") -> Vector:
    """Score, for each picture, how often the true match beats one distractor.

    With c(i, j) the Pearson correlation of the features of stimulus i and of reconstruction j,

        score(k) = 1/(n − 1) · Σ_{i≠k} [c(i, k) < c(k, k)] + ½ [c(i, k) = c(k, k)]     per_reconstruction
        score(k) = 1/(n − 1) · Σ_{j≠k} [c(k, j) < c(k, k)] + ½ [c(k, j) = c(k, k)]     per_stimulus

    Brain-Diffuser and MindEye publish the mean of the first, Takagi & Nishimoto that of the second. They differ where
    some reconstructions resemble every stimulus.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.
        direction: which of the two.

    Returns:
        Score of each picture (n,) in [0, 1]; chance is 0.5.

    Raises:
        ValueError: if the shapes differ, there are fewer than two pictures, or a value is not finite.

    >>> features = np.eye(4)
    >>> two_way_identification(features, features)
    array([1., 1., 1., 1.])
    >>> two_way_identification(features, features[[1, 0, 3, 2]]).mean()
    np.float64(0.333...)
    """
    return np.diagonal(match_scores(correlation_matrix(seen, made), direction)).copy()


def correlations_of_samples(seen: FeatureRows, samples: Sequence[FeatureRows]) -> Matrix:
    """Correlate every stimulus with every reconstruction where each stimulus has several.

    c(i, j) = 1/S · Σ_s Pearson(f(i), g_s(j)) over the S samples that were drawn for stimulus j

    `match_scores(..., "per_stimulus")` of it is what Takagi & Nishimoto (2023) publish, with S = 5.

    Args:
        seen: features (n, d) of the stimuli.
        samples: features (n, d) of the reconstructions, one array for each sample.

    Returns:
        (n, n) in [−1, 1], stimuli in rows and reconstructions in columns.

    Raises:
        ValueError: if there is no sample; what `correlation_matrix` raises.
    """
    if not samples:
        raise ValueError("got no sample of the reconstructions, expected one or more")
    mean: Matrix = np.mean([correlation_matrix(seen, made) for made in samples], axis=0)
    return mean


def match_scores(correlations: Matrix, direction: Direction = "per_reconstruction") -> Matrix:
    """Score every stimulus as if it were the match of every reconstruction.

    per_reconstruction: score(i, j) = (rank of c(i, j) among all c(·, j) − 1) / (n − 1), ties sharing their mean rank;
    per_stimulus: the rank is among all c(i, ·). The diagonal is two-way identification; any other pairing is a draw
    from its null distribution.

    Args:
        correlations: (n, n), stimuli in rows and reconstructions in columns.
        direction: which of the two.

    Returns:
        Scores (n, n) in [0, 1].
    """
    from scipy.stats import rankdata

    check_square(correlations, direction)
    n = len(correlations)
    axis = 0 if direction == "per_reconstruction" else 1
    ranks = rankdata(np.round(correlations, TIE_DECIMALS), method="average", axis=axis)
    scores: Matrix = (ranks - 1) / (n - 1)
    return scores


def check_square(correlations: Matrix, direction: Direction) -> None:
    """Check that correlations are of two pictures or more with their reconstructions, and the direction is known.

    Raises:
        ValueError: if not.
    """
    n = len(correlations)
    if correlations.shape != (n, n) or n < 2:
        raise ValueError(
            f"identification needs n stimuli by n reconstructions, at least 2, got shape {correlations.shape}"
        )
    if direction not in ("per_reconstruction", "per_stimulus"):
        raise ValueError(f"direction must be per_reconstruction or per_stimulus, got {direction!r}")
