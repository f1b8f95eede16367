"""Decoding in folds: every picture is decoded by a decoder that was not fitted to it, and scored inside its fold.

Identification must not be pooled over folds. A weak prediction is about the mean of the training targets, which points away from
what was left out: against pictures of other folds, which trained its decoder, it loses even where responses tell nothing. With
n = 10 pictures, each left out alone, shuffled data score far below chance. Inside a fold all candidates were left out alike, so
chance is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.inference import permutation_p_value
from braindiffuser.metrics.intervals import score_interval
from braindiffuser.metrics.two_way_identification import TIE_DECIMALS

Rows = Int[np.ndarray, "_"]
"""Numbers of rows; lengths are checked in the functions."""

Scores = Float[np.ndarray, "_"]
"""Scores of pictures, or of repetitions."""

Decode: TypeAlias = Callable[[FeatureRows, FeatureRows, FeatureRows], FeatureRows]
"""Fits and predicts: training responses (n_train, n_voxels), their targets (n_train, d), and responses (n_test, n_voxels) to
predictions (n_test, d). Whatever is learnt, such as alpha or the mean of a voxel, must be learnt in here."""

Score: TypeAlias = Callable[[FeatureRows, FeatureRows], Vector]
"""Targets (n, d) and predictions (n, d) to scores (n,), such as `two_way_identification`."""


@dataclass(frozen=True)
class FoldDesign:
    """Which rows of responses are left out together.

    Attributes:
        pictures: picture that each row shows (n_rows,), numbered from 0 as the targets are.
        left_out: rows that are left out, fold by fold; all other rows train.
    """

    pictures: Rows
    left_out: tuple[Rows, ...]

    @property
    def straddles(self) -> bool:
        """Whether pictures that are left out are also trained on, by other repeats of theirs."""
        return any(np.isin(self.pictures[self.kept(rows)], self.pictures[rows]).any() for rows in self.left_out)

    def kept(self, left_out: Rows) -> Bool[np.ndarray, " n_rows"]:
        """Return which rows train while some are left out."""
        kept: Bool[np.ndarray, " n_rows"] = ~np.isin(np.arange(len(self.pictures)), left_out)
        return kept

    def shuffled(self, rng: np.random.Generator) -> Rows:
        """Return a picture for each row under the hypothesis that responses tell nothing of pictures.

        Pictures are exchanged as wholes, so that repeats of one picture stay repeats of one. Where a decoder knows the left-out
        pictures from other repeats, that would only rename them, so they are exchanged inside each fold instead.
        """
        if not self.straddles:
            shown, numbers = np.unique(self.pictures, return_inverse=True)
            renamed: Rows = rng.permutation(shown)[numbers]
            return renamed
        shuffled = self.pictures.copy()
        for rows in self.left_out:
            shuffled[rows] = rng.permutation(self.pictures[rows])
        return shuffled


def leave_repeats_out(pictures: Rows) -> FoldDesign:
    """Leave one repeat of every picture out, in turn: pictures are known, their responses new.

    Args:
        pictures: picture that each row (trial) shows, numbered from 0, in the order of the showings.

    Raises:
        ValueError: if pictures have different numbers of repeats, or one.

    >>> [rows.tolist() for rows in leave_repeats_out(np.array([0, 1, 1, 0])).left_out]
    [[0, 1], [2, 3]]
    """
    counts = np.unique(pictures, return_counts=True)[1]
    if len(set(counts.tolist())) != 1 or counts[0] < 2:
        raise ValueError(
            f"pictures have {counts.min()} to {counts.max()} repeats, expected the same number, two or more: leave out the others"
        )
    order = np.argsort(pictures, kind="stable").reshape(len(counts), -1)
    return FoldDesign(pictures, tuple(np.sort(rows) for rows in order.T))


def leave_pictures_out(pictures: Rows, n_folds: int, rng: np.random.Generator) -> FoldDesign:
    """Shuffle pictures and deal them into folds, of which each is left out in turn, with all repeats of its pictures.

    Args:
        pictures: picture that each row shows, numbered from 0.
        n_folds: number of folds; as many as there are pictures leaves one out at a time.
        rng: source of the order.

    Raises:
        ValueError: if there are fewer pictures than folds, or fewer than two folds.
    """
    n = len(np.unique(pictures))
    if not 2 <= n_folds <= n:
        raise ValueError(f"n_folds is {n_folds}, expected 2 to {n}, the number of pictures")
    fold_of = np.argsort(rng.permutation(n)) % n_folds
    numbers = np.unique(pictures, return_inverse=True)[1]
    return FoldDesign(pictures, tuple(np.flatnonzero(fold_of[numbers] == fold) for fold in range(n_folds)))


def leave_pairs_out(pictures: Rows) -> FoldDesign:
    """Leave every pair of pictures out, in turn, with all their repeats (Mitchell et al. 2008): n (n − 1) / 2 folds.

    Raises:
        ValueError: if there are fewer than three pictures.

    >>> [rows.tolist() for rows in leave_pairs_out(np.array([0, 1, 1, 2])).left_out]
    [[0, 1, 2], [0, 3], [1, 2, 3]]
    """
    known = np.unique(pictures).tolist()
    if len(known) < 3:
        raise ValueError(f"got {len(known)} pictures, expected three or more: two are left out, and the others train")
    return FoldDesign(pictures, tuple(np.flatnonzero(np.isin(pictures, pair)) for pair in combinations(known, 2)))


@dataclass(frozen=True)
class FoldScores:
    """Scores inside folds.

    Attributes:
        per_picture: score of each picture that was left out, averaged over folds, by ascending number.
        value: their mean.
        ci95: interval of the mean over pictures.
        null: means of whole repetitions with shuffled pictures, decoders fitted again (n_permutations,).
    """

    per_picture: Scores
    value: float
    ci95: tuple[float, float]
    null: Scores

    @property
    def p_value(self) -> float:
        """Share of shuffled repetitions that score as high or higher, as `permutation_p_value` counts; 1 if there are none."""
        return permutation_p_value(self.value, self.null) if len(self.null) else 1.0


def score_in_folds(
    responses: Matrix,
    targets: FeatureRows,
    design: FoldDesign,
    decode: Decode,
    score: Score,
    *,
    rng: np.random.Generator,
    n_permutations: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> FoldScores:
    """Fit, decode and score fold by fold; the candidates of identification are the pictures that the fold left out.

    The null repeats everything, fits included, with shuffled pictures (`FoldDesign.shuffled`). Shuffling predictions instead
    would keep what fitted decoders know of the pictures, and so miss the bias of the procedure.

    Args:
        responses: (n_rows, n_voxels), trials or averages over repeats.
        targets: of each picture (n_pictures, d), such as pixels or features.
        design: which rows are left out together.
        decode: fits and predicts.
        score: compares targets with predictions, inside a fold.
        rng: source of the shuffles.
        n_permutations: number of shuffled repetitions.
        bounds: smallest and largest possible score, for the interval, which is that of `score_interval`: without (0, 1), shares
            that are all right would seem certain.

    Raises:
        ValueError: if the shapes do not fit, or `score` refuses a fold, such as identification a fold of one picture.

    >>> rng = np.random.default_rng(0)
    >>> targets = rng.standard_normal((12, 5))
    >>> least_squares = lambda X, Y, X_new: X_new @ np.linalg.pinv(X) @ Y
    >>> pairs, share = leave_pairs_out(np.arange(12)), (0.0, 1.0)
    >>> scores = score_in_folds(targets, targets, pairs, least_squares, n_way_identification, rng=rng, bounds=share)
    >>> scores.value, scores.ci95
    (1.0, (0.712..., 1.0))
    """
    per_picture = _scores(responses, targets, design, design.pictures, decode, score)
    interval = score_interval(per_picture, bounds)
    shuffles = (design.shuffled(rng) for _ in range(n_permutations))
    null = [_scores(responses, targets, design, shown, decode, score).mean() for shown in shuffles]
    return FoldScores(per_picture, float(per_picture.mean()), interval, np.array(null, np.float64))


def decode_in_folds(
    responses: Matrix, targets: FeatureRows, design: FoldDesign, decode: Decode, shown: Rows | None = None
) -> Iterator[tuple[Rows, FeatureRows]]:
    """Yield the pictures that each fold leaves out, ascending, and their decoded targets.

    Left-out rows of one picture are averaged before they are decoded, as test responses are. Predictions of different folds come
    from different decoders: do not identify one among pictures of another fold.

    Args:
        responses: (n_rows, n_voxels).
        targets: of each picture (n_pictures, d).
        design: which rows are left out together.
        decode: fits and predicts.
        shown: picture of each row, if not those of the design, as `FoldDesign.shuffled` draws them.

    Raises:
        ValueError: if the shapes do not fit.
    """
    pictures = design.pictures if shown is None else shown
    if len(responses) != len(pictures) or int(pictures.max()) >= len(targets) or int(pictures.min()) < 0:
        raise ValueError(
            f"got {len(responses)} rows of responses, targets of {len(targets)} pictures, and a design of {len(pictures)} rows "
            f"that show pictures {pictures.min()} to {pictures.max()}: expected a picture for each row, numbered from 0"
        )
    for rows in design.left_out:
        kept, (own, which) = design.kept(rows), np.unique(pictures[rows], return_inverse=True)
        means: Float[np.ndarray, "n_own n_voxels"] = np.stack(
            [responses[rows[which == number]].mean(axis=0) for number in range(len(own))]
        )
        yield own, decode(responses[kept], targets[pictures[kept]], means)


def _scores(
    responses: Matrix, targets: FeatureRows, design: FoldDesign, shown: Rows, decode: Decode, score: Score
) -> Vector:
    """Score each picture inside the folds that leave it out, and average over folds."""
    totals, times = np.zeros(len(targets)), np.zeros(len(targets))
    for pictures, decoded in decode_in_folds(responses, targets, design, decode, shown):
        totals[pictures] += score(targets[pictures], decoded)
        times[pictures] += 1
    scored = times > 0
    means: Vector = totals[scored] / times[scored]
    return means


def n_way_identification(seen: FeatureRows, made: FeatureRows) -> Vector:
    """Score 1 for each reconstruction that correlates most with its own stimulus among all n, and 0 for others.

    With c(i, j) the Pearson correlation of stimulus i and reconstruction j, score(k) = [c(k, k) = max_i c(i, k)] / number of
    stimuli that reach the maximum: ties share. Chance is 1 / n.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.

    Raises:
        ValueError: if the shapes differ, there are fewer than two pictures, or a value is not finite.

    >>> features = np.eye(4)
    >>> n_way_identification(features, features[[0, 2, 1, 3]])
    array([1., 0., 0., 1.])
    """
    if len(seen) < 2:
        raise ValueError(f"identification needs two or more pictures to choose from, got {len(seen)}: leave more out")
    correlations = np.round(correlation_matrix(seen, made), TIE_DECIMALS)
    best = correlations == correlations.max(axis=0)
    scores: Vector = np.diagonal(best) / best.sum(axis=0)
    return scores
