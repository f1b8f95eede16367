"""Whether pictures show what was decoded: their own features beside the decoded features that they were drawn from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from braindiffuser.arrays import Matrix
from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.two_way_identification import match_scores

FLAGGED_BELOW = 0.9
"""A picture is flagged if more than a tenth of all other pictures come before its own."""


def agreement_scores(
    decoded: Float[np.ndarray, "n ..."], drawn: Float[np.ndarray, "n ..."], mean: Float64[np.ndarray, " n_targets"]
) -> Matrix:
    """Score every reconstruction as if it had been drawn from the decoded features of every test picture.

        score(i, k) = share of j with corr(ŷ_j − μ, f_k − μ) < corr(ŷ_i − μ, f_k − μ), ties counting half

    with f_k the features that the target group has of reconstruction k, as of a stimulus. The diagonal says whether a picture
    shows what it was drawn from: 1 if it resembles its own decoded features more than all others, 0.5 on average if the generator
    ignores them.

    Args:
        decoded: features ŷ of the test pictures (n, …).
        drawn: features f of their reconstructions (n, …).
        mean: μ of the training targets, flattened.

    Returns:
        Scores (n, n), decoded features in rows.

    Raises:
        ValueError: what `correlation_matrix` and `match_scores` raise.
    """
    own, other = (features.reshape(len(features), -1) - mean.astype(np.float32) for features in (decoded, drawn))
    return match_scores(correlation_matrix(own, other))
