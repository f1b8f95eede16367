"""Identification among n: what follows from the places of the true matches among all candidates, and without each picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, check_pairs, correlation_matrix, cross_correlation
from braindiffuser.metrics.two_way_identification import TIE_DECIMALS, Direction

Counts = Int[np.ndarray, " n"]
"""Number of candidates, one a picture."""


class Identified(NamedTuple):
    """A share of identified pictures.

    Attributes:
        scores: of each picture (n,), in [0, 1].
        left_out: mean score of all others when a picture is left out, as target and as distractor (n,).
    """

    scores: Vector
    left_out: Vector


MOST_AT_ONCE = 2**26
"""Pairs of pictures that are compared at once, those of 8,192 pictures: about a gigabyte in all."""


class Block(NamedTuple):
    """Which candidates beat the true matches of some pictures.

    Attributes:
        rows: numbers of these pictures.
        better: whether candidate i (column) correlates more with a picture (row) than its true match does.
        tied: whether it correlates equally; no picture is tied with itself.
    """

    rows: slice
    better: Bool[np.ndarray, "m n"]
    tied: Bool[np.ndarray, "m n"]


class Ranking(ABC):
    """Places of the true matches of all pictures, of which some rows are looked at at a time."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of pictures."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Yield all rows, in order."""

    @cached_property
    def _counts(self) -> tuple[Counts, Counts]:
        counted = [(block.better.sum(axis=1), block.tied.sum(axis=1)) for block in self.blocks()]
        better, tied = (np.concatenate(each) for each in zip(*counted, strict=True))
        return better, tied

    @property
    def n_better(self) -> Counts:
        """Number of candidates that beat the true match of each picture."""
        return self._counts[0]

    @property
    def n_tied(self) -> Counts:
        """Number of candidates that are tied with it."""
        return self._counts[1]

    @property
    def ranks(self) -> Vector:
        """Rank of the true match of each picture from 1, the mean rank of those that are tied."""
        ranks: Vector = 1 + self.n_better + self.n_tied / 2
        return ranks


@dataclass(frozen=True, eq=False)
class RankedFeatures(Ranking):
    """The same from features, which are correlated anew whenever places are asked for: no matrix of all pairs is held.

    Attributes:
        pictures: features (n, d) of what is looked up: reconstructions, or stimuli.
        candidates: features (n, d) of what it is looked up among, in the same order.
    """

    pictures: FeatureRows
    candidates: FeatureRows

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def blocks(self) -> Iterator[Block]:
        """Correlate and yield some rows at a time."""
        step = max(1, MOST_AT_ONCE // len(self))
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            correlations = np.round(cross_correlation(self.pictures[rows], self.candidates), TIE_DECIMALS)
            own_columns = np.arange(rows.start, rows.stop)
            own = correlations[np.arange(len(own_columns)), own_columns][:, None]
            tied = correlations == own
            tied[np.arange(len(own_columns)), own_columns] = False
            yield Block(rows, correlations > own, tied)


def rankings_of(seen: FeatureRows, made: FeatureRows, directions: Sequence[Direction]) -> list[Ranking]:
    """Find the places of the true matches from features in each direction, block by block where there are many pictures.

    Args:
        seen: features of the stimuli (n, d).
        made: features of the reconstructions, or decoded ones, in the same order (n, d).
        directions: as in `two_way_identification`.

    Raises:
        ValueError: if there are fewer than two pictures, shapes differ, or a value is not finite.
    """
    if len(seen) ** 2 <= MOST_AT_ONCE:
        correlations = correlation_matrix(seen, made)
        return [Places.of(correlations, direction) for direction in directions]
    check_pairs(seen, made)
    sides = {"per_reconstruction": (made, seen), "per_stimulus": (seen, made)}
    return [RankedFeatures(*sides[direction]) for direction in directions]


@dataclass(frozen=True, eq=False)
class Places(Ranking):
    """Which candidates beat the true match of each picture, all at once.

    Attributes:
        better: whether candidate i (column) correlates more with picture k (row) than its true match does.
        tied: whether it correlates equally; no picture is tied with itself.
    """

    better: Bool[np.ndarray, "n n"]
    tied: Bool[np.ndarray, "n n"]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.better)

    def blocks(self) -> Iterator[Block]:
        """Yield all rows together."""
        yield Block(slice(0, len(self)), self.better, self.tied)

    @classmethod
    def of(cls, correlations: Matrix, direction: Direction = "per_reconstruction") -> Places:
        """Compare all candidates with the true matches, which are the diagonal.

        Args:
            correlations: (n, n), stimuli in rows and what was decoded from their responses in columns.
            direction: as in `two_way_identification`.

        Raises:
            ValueError: if there are fewer than two pictures.
        """
        n = len(correlations)
        if correlations.shape != (n, n) or n < 2:
            raise ValueError(f"identification needs n stimuli by n others, at least 2, got shape {correlations.shape}")
        rounded = np.round(correlations, TIE_DECIMALS)
        of_pictures = rounded.T if direction == "per_reconstruction" else rounded
        own = np.diagonal(rounded)[:, None]
        return cls(of_pictures > own, (of_pictures == own) & ~np.eye(n, dtype=bool))


def n_way(places: Ranking, n_choices: int) -> Identified:
    """Score how likely the true match is the best of itself and n_choices − 1 distractors, by `share_of_draws`.

    It is the expectation over all draws, so nothing is drawn. Of two choices it is two-way identification; of all candidates,
    whether the true match is the best. Chance is 1/n_choices.

    Raises:
        ValueError: if there are fewer than 2 choices, or more than candidates.

    >>> correlations = np.array([[0.9, 0.1, 0.2], [0.3, 0.4, 0.8], [0.1, 0.5, 0.6]])
    >>> n_way(Places.of(correlations), 2).scores.tolist(), n_way(Places.of(correlations), 3).scores.tolist()
    ([1.0, 0.5, 0.5], [1.0, 0.0, 0.0])
    """
    n = len(places)
    if not 2 <= n_choices <= n:
        raise ValueError(f"got {n_choices} choices among {n} candidates: 2 to {n} can be drawn")

    def score(better: Counts, tied: Counts, n_candidates: int) -> Vector:
        worse = np.maximum(n_candidates - 1 - better - tied, 0)  # what no candidate could have gives any number
        return share_of_draws(worse, tied, n_candidates, min(n_choices, n_candidates))

    return Identified(score(places.n_better, places.n_tied, n), _left_out(places, score))


def top_k(places: Ranking, k: int) -> Identified:
    """Score whether the true match is among the k best of all n candidates: the chance of it where it is tied.

    score = min(max((k − g)/(t + 1), 0), 1),  g candidates better and t tied

    Chance is k/n.

    >>> top_k(Places.of(np.array([[0.9, 0.1, 0.2], [0.3, 0.4, 0.8], [0.1, 0.5, 0.6]])), 2).scores.tolist()
    [1.0, 1.0, 1.0]
    """

    def score(better: Counts, tied: Counts, n_candidates: int) -> Vector:
        scores: Vector = np.clip((k - better) / (tied + 1), 0, 1)
        return scores

    return Identified(score(places.n_better, places.n_tied, len(places)), _left_out(places, score))


def two_way_within(places: Places, groups: Int[np.ndarray, " n"]) -> Identified | None:
    """Score two-way identification among candidates of the same group: what a decoder that knows only the group leaves at ½.

    Args:
        places: of all candidates.
        groups: number of each picture's group (n,); negative: it has none and is left out.

    Returns:
        Scores of the pictures whose group has two or more (m,), and means without each of these; None if there are fewer than
        two.
    """
    chosen = np.flatnonzero((groups >= 0) & (np.bincount(groups.clip(0), groups >= 0)[groups.clip(0)] > 1))
    if len(chosen) < 2:
        return None
    same = groups[chosen, None] == groups[chosen]
    np.fill_diagonal(same, False)
    one_another = np.ix_(chosen, chosen)
    won = np.where(same, np.where(places.tied[one_another], 0.5, ~places.better[one_another]), 0.0)
    sums, sizes = won.sum(axis=1), same.sum(axis=1)
    scores: Vector = sums / sizes
    fewer = same & (sizes > 1)[:, None]  # alone in its group without that candidate, a picture has no score
    without = np.divide(sums[:, None] - won, sizes[:, None] - 1, out=np.zeros_like(won), where=fewer)
    kept = np.where(same, without, scores[:, None])
    counted = ~same | fewer
    np.fill_diagonal(counted, False)
    n_counted = counted.sum(axis=0)
    left_out = np.divide(
        np.where(counted, kept, 0).sum(axis=0), n_counted, out=np.full(len(chosen), scores.mean()), where=n_counted > 0
    )
    return Identified(scores, left_out)


def _left_out(places: Ranking, score: Callable[[Counts, Counts, int], Vector]) -> Vector:
    """Return the mean score of all pictures but one, among candidates without it, for each.

    A picture's score without a candidate depends only on whether that one was better, tied or worse.
    """
    n = len(places)
    better, tied = places.n_better, places.n_tied
    if n < 3:
        return np.full(n, float(score(better, tied, n).mean()))
    worse_left: Float64[np.ndarray, " n"] = score(better, tied, n - 1)
    better_left = np.where(better > 0, score(np.maximum(better - 1, 0), tied, n - 1), 0)
    tied_left = np.where(tied > 0, score(better, np.maximum(tied - 1, 0), n - 1), 0)
    changed = np.zeros(n)
    for block in places.blocks():
        changed += (better_left - worse_left)[block.rows] @ block.better
        changed += (tied_left - worse_left)[block.rows] @ block.tied
    left_out: Vector = (worse_left.sum() - worse_left + changed) / (n - 1)
    return left_out


def share_of_draws(
    n_worse: Int[np.ndarray, "*shape"], n_tied: Int[np.ndarray, "*shape"], n_pictures: int, n: int
) -> Float[np.ndarray, "*shape"]:
    """Return in which share of draws of n − 1 distractors the true match is the best of n.

        P = Σ_j C(t, j) C(w, n − 1 − j) / C(N − 1, n − 1) / (j + 1)
          = [C(w + t + 1, n) − C(w, n)] / [(t + 1) · C(N − 1, n − 1)]

    with w of the N − 1 other pictures worse than the true match and t tied with it; those that tie for the best share. Without
    ties this is C(w, n − 1) / C(N − 1, n − 1): all n − 1 distractors come from the worse ones. n = 2 is two-way identification,
    n = N the top-1 accuracy. Its expectation is 1 / n where the true match is of random rank.

    Args:
        n_worse: w, of any shape.
        n_tied: t, of the same shape.
        n_pictures: N.
        n: pictures to choose from.

    Returns:
        Shares in [0, 1], of the shape of `n_worse`.

    Raises:
        ValueError: if n is not in 2 … N.

    >>> share_of_draws(np.array([3, 2, 1]), np.zeros(3, int), 4, 3)
    array([1.        , 0.33333333, 0.        ])
    """
    if not 2 <= n <= n_pictures:
        raise ValueError(f"n is {n}, expected 2 to {n_pictures}, the number of pictures")
    pairs, place = np.unique(np.stack([np.ravel(n_worse), np.ravel(n_tied)]), axis=1, return_inverse=True)
    draws = comb(n_pictures - 1, n - 1)
    shares = [(comb(w + t + 1, n) - comb(w, n)) / ((t + 1) * draws) for w, t in pairs.T.tolist()]
    found: Float[np.ndarray, "*shape"] = np.array(shares)[np.ravel(place)].reshape(np.shape(n_worse))
    return found
