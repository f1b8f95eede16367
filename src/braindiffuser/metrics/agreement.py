"""Whether pictures show what was decoded: their own features beside the decoded features that they were drawn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.places import Places, n_way
from braindiffuser.metrics.two_way_identification import match_scores

FLAGGED_BELOW = 0.9
"""A picture is flagged if more than a tenth of all other pictures come before its own."""


class Agreement(NamedTuple):
    """How well each reconstruction is identified by the decoded features of each test picture.

    Attributes:
        compared: scores (n, n), decoded features in rows; the diagonal says whether a picture shows what it was drawn from.
        left_out: mean of the diagonal without each picture, as target and as distractor (n,).
    """

    compared: Matrix
    left_out: Vector

    @property
    def scores(self) -> Vector:
        """Score of each reconstruction by its own decoded features (n,), in [0, 1]."""
        return np.diagonal(self.compared).copy()


def agreement_scores(
    decoded: Float[np.ndarray, "n ..."], drawn: Float[np.ndarray, "n ..."], mean: Float64[np.ndarray, " n_targets"]
) -> Agreement:
    """Score every reconstruction as if it had been drawn from the decoded features of every test picture.

        score(i, k) = share of j with corr(ŷ_j − μ, f_k − μ) < corr(ŷ_i − μ, f_k − μ), ties counting half

    with f_k the features that the target group has of reconstruction k, as of a stimulus. The diagonal says whether a picture
    shows what it was drawn from: 1 if it resembles its own decoded features more than all others, 0.5 on average if the generator
    ignores them.

    Args:
        decoded: features ŷ of the test pictures (n, …).
        drawn: features f of their reconstructions (n, …).
        mean: μ of the training targets, flattened.

    Raises:
        ValueError: what `correlation_matrix` and `match_scores` raise.
    """
    own, other = (features.reshape(len(features), -1) - mean.astype(np.float32) for features in (decoded, drawn))
    correlations = correlation_matrix(own, other)
    return Agreement(match_scores(correlations), n_way(Places.of(correlations), 2).left_out)
