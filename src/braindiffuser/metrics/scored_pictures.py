"""Scores picture by picture, with what an interval of their mean needs where pictures are each other's distractors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from braindiffuser.metrics.metric import Compared

Scores = Float[np.ndarray, "_"]
"""One value a picture, (n,)."""


@dataclass(frozen=True, eq=False)
class ScoredPictures(Mapping[str, Scores]):
    """Score of each picture by the metric's key.

    It is no dict: one that is copied or put together key by key would lose the rest, and with it the intervals of identification.

    Attributes:
        scores: key → scores (n,).
        left_out: key → mean scores without each picture, of metrics that identify pictures among each other (see `Compared`).
        other_way: key → scores in the other direction of identification, of the same metrics, where they are known.
    """

    scores: Mapping[str, Scores] = field(default_factory=dict)
    left_out: Mapping[str, Scores] = field(default_factory=dict)
    other_way: Mapping[str, Compared] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Scores:
        """Return the scores by one metric."""
        return self.scores[key]

    def __iter__(self) -> Iterator[str]:
        """Go through the keys of the metrics, in order."""
        return iter(self.scores)

    def __len__(self) -> int:
        """Return the number of metrics."""
        return len(self.scores)

    def joined(self, other: ScoredPictures) -> ScoredPictures:
        """Add the scores of the same pictures by other metrics; those of `other` take the place of equal keys."""
        return ScoredPictures(
            {**self.scores, **other.scores},
            {key: own for key, own in self.left_out.items() if key not in other} | dict(other.left_out),
            {key: own for key, own in self.other_way.items() if key not in other} | dict(other.other_way),
        )

    def limited_to(self, keys: Collection[str]) -> ScoredPictures:
        """Return the scores by some metrics, in the order of `keys`.

        Raises:
            KeyError: if there is no score by one of them.
        """
        return ScoredPictures(
            {key: self.scores[key] for key in keys},
            {key: self.left_out[key] for key in keys if key in self.left_out},
            {key: self.other_way[key] for key in keys if key in self.other_way},
        )


def left_out_of(scores: Mapping[str, Scores], key: str) -> Scores | None:
    """Return the mean scores without each picture, if three or more pictures are known to be each other's distractors."""
    found = scores.left_out.get(key) if isinstance(scores, ScoredPictures) else None
    return found if found is not None and len(found) > 2 else None
