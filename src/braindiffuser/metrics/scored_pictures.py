"""Scores picture by picture, with what an interval of their mean needs where pictures are each other's distractors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from braindiffuser.metrics.metric import Compared

Scores = Float[np.ndarray, "_"]
"""One value a picture, (n,)."""


class ScoredPictures(dict[str, Scores]):
    """Score of each picture by the metric's key.

    Attributes:
        left_out: key → mean scores without each picture, of metrics that identify pictures among each other (see `Compared`).
        other_way: key → scores in the other direction of identification, of the same metrics, where they are known.
    """

    def __init__(
        self,
        scores: Mapping[str, Scores],
        left_out: Mapping[str, Scores],
        other_way: Mapping[str, Compared] | None = None,
    ) -> None:
        """Hold scores."""
        super().__init__(scores)
        self.left_out, self.other_way = dict(left_out), dict(other_way or {})


def left_out_of(scores: Mapping[str, Scores], key: str) -> Scores | None:
    """Return the mean scores without each picture, if three or more pictures are known to be each other's distractors."""
    found = scores.left_out.get(key) if isinstance(scores, ScoredPictures) else None
    return found if found is not None and len(found) > 2 else None
