"""Identification among many: how often a reconstruction correlates best with its own stimulus among n of them.

Two-way scores saturate: a decoder that knows only in which of ten equal categories a picture is reaches 95 %. Among fifty
pictures the same decoder is right in a fifth of cases.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.errors import RunError
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.metric import Citation, Compared, FeatureMetric
from braindiffuser.metrics.places import n_way, rankings_of, share_of_draws
from braindiffuser.metrics.two_way_identification import TIE_DECIMALS, Direction, check_square


class ManyWayIdentification(FeatureMetric):
    """Expected share of draws of distractors in which the true match correlates best.

    Example:
        >>> metric = ManyWayIdentification(n=3, network="pixels", layer="all", label="Pixels", description="Of all values.")
        >>> features = np.eye(4)
        >>> metric.compare(features, features[[0, 1, 3, 2]]).round(2)
        array([1.  , 1.  , 0.11, 0.11])
        >>> metric.chance
        0.333...
    """

    citation: Citation = (
        "n-way identification: Kay et al. 2008, doi 10.1038/nature06713; expectation over distractors: this package"
    )
    direction: Direction = Field(
        "per_reconstruction",
        description="Direction. per_reconstruction: each reconstruction against stimuli; per_stimulus: each stimulus against "
        "reconstructions.",
    )
    n: Annotated[int, Field(ge=2)] | Literal["all"] = Field(
        50,
        description="Pictures to choose from: the true one and n − 1 others, averaged over all choices of them; all: every "
        "picture that is scored (top-1).",
    )

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def chance(self) -> float | None:  # type: ignore[override]  # of a class with `n` it is not one number
        """1 / n; None among all pictures, whose number is not known here."""
        return None if self.n == "all" else 1 / self.n

    @property
    def fewest_pictures(self) -> int:
        """Pictures to choose from."""
        return 2 if self.n == "all" else self.n

    def compare(self, seen: Matrix, made: Matrix) -> Vector:
        """Score features (n, d) by `many_way_matches` in this metric's direction.

        Raises:
            RunError: if there are fewer pictures than to choose from.
        """
        return np.diagonal(self.matches(seen, made)).copy()

    def compare_among(self, seen: Matrix, made: Matrix) -> Compared:
        """Score features, and without each picture; raises what `compare` raises."""
        if type(self).compare is not ManyWayIdentification.compare:  # another score, of a class that derives from this
            return super().compare_among(seen, made)
        self._check_number(len(seen))
        (ranking,) = rankings_of(seen, made, (self.direction,))
        return Compared(*n_way(ranking, len(seen) if self.n == "all" else self.n))

    def matches(self, seen: FeatureRows, made: FeatureRows) -> Matrix:
        """Score every stimulus as if it were the match of every reconstruction; raises what `compare` raises."""
        self._check_number(len(seen))
        return many_way_matches(correlation_matrix(seen, made), self.n, self.direction)

    def _check_number(self, n_pictures: int) -> None:
        if n_pictures < self.fewest_pictures:
            raise RunError(
                f"{self.label} identifies each picture among {self.n}, but {n_pictures} are scored together: choose another "
                "profile, or score more pictures together"
            )


def many_way_matches(
    correlations: Matrix, n: int | Literal["all"], direction: Direction = "per_reconstruction"
) -> Matrix:
    """Score every stimulus as if it were the match of every reconstruction, among n.

    score(i, j) = `share_of_draws` of the numbers of other stimuli that correlate less with reconstruction j than i does, and
    equally (per_reconstruction), or of other reconstructions that correlate less with stimulus i than j does (per_stimulus).
    The diagonal is the identification of each picture.

    Args:
        correlations: (n_pictures, n_pictures), stimuli in rows and reconstructions in columns.
        n: pictures to choose from, 2 to n_pictures, or all.
        direction: which of the two.

    Returns:
        Scores (n_pictures, n_pictures) in [0, 1].

    Raises:
        ValueError: if there are fewer than n pictures, or n is below 2.
    """
    from scipy.stats import rankdata

    check_square(correlations, direction)
    axis = 0 if direction == "per_reconstruction" else 1
    rounded = np.round(correlations, TIE_DECIMALS)
    lower, upper = (rankdata(rounded, method=method, axis=axis).astype(np.int64) for method in ("min", "max"))
    n_pictures = len(correlations)
    return share_of_draws(lower - 1, upper - lower, n_pictures, n_pictures if n == "all" else n)
