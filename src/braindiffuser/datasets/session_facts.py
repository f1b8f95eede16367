"""What is told of the betas of one session: its units, its furthest betas, its empty trials, and whose copy it may be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from braindiffuser.arrays import Betas
from braindiffuser.datasets.normalisation import COLUMNS_PER_BLOCK, column_statistics

COARSE = 0.05
"""Share of a trial's betas that have one value: where the trial with the fewest has more, such as counts, it tells nothing."""
SPARSE = 0.05
"""Share of betas that are 0: where more are, how far a trial's betas lie from the medians tells nothing."""
FEW_TRIALS, FEW_VOXELS = 10, 50
"""Fewer of them tell too little of each other."""
VOXELS_OF_SAMPLE = 4000
"""Equal values within a trial are counted in about this many voxels, which saves time."""
OUTLIER_DOUBTFUL = 60.0
"""Furthest beta of a voxel from its median, over the usual distance: 3 of 750 normal numbers, 69 standard deviations here."""
FLOOR = 0.01
"""The usual distance of a voxel is at least this share of that of most voxels: some hold next to nothing in most trials."""


class SessionFacts(NamedTuple):
    """What is told of a session's betas.

    Attributes:
        n_trials: trials.
        mean: (n_voxels,), over trials, in the unit of the betas.
        std: (n_voxels,), likewise, ddof 1; 0 where a voxel does not vary.
        tied: share of trials that equal their voxel's median, mean over the voxels that vary; near 0 but for sparse or coarse
            betas.
        outlier: largest ratio, over voxels, of the furthest beta's distance from the median to the usual distance.
        n_outliers: voxels in which it exceeds OUTLIER_DOUBTFUL.
        largest: |beta|, of all.
        emptied: widest gap between trials, in order of their share of voxels that have one value, beside what chance allows.
        sizes: how far the betas of a trial lie from the voxels' medians: largest ratio of one trial to the next, in that order; 1
            for few trials or voxels.
        sha256: of the betas, whatever the order of trials.
    """

    n_trials: int
    mean: Float[np.ndarray, " n_voxels"]
    std: Float[np.ndarray, " n_voxels"]
    tied: float
    outlier: float
    n_outliers: int
    largest: float
    emptied: float
    sizes: float
    sha256: str

    @property
    def spread(self) -> float:
        """Standard deviation over trials, median over the voxels that vary; 0 if none does."""
        return float(np.median(self.std[self.std > 0])) if self.std.any() else 0.0

    @property
    def constant(self) -> Bool[np.ndarray, " n_voxels"]:
        """True where a voxel does not vary."""
        constant: Bool[np.ndarray, " n_voxels"] = self.std == 0
        return constant


def describe(betas: Betas) -> SessionFacts:
    """Describe the betas of one session, (n_trials, n_voxels), of at least two trials."""
    mean, std = column_statistics(betas)
    varying = betas if std.all() else betas[:, std > 0]
    distances, few = Distances.of(varying), len(betas) < FEW_TRIALS
    ratios, shares = distances.ratios(), shares_of_one_value(varying)
    is_sparse = shares is None or (varying == 0).mean() > SPARSE
    return SessionFacts(
        n_trials=len(betas),
        mean=mean,
        std=std,
        tied=float(distances.tied.mean()) if distances.tied.size else 0.0,
        outlier=float(ratios.max(initial=1.0)),
        n_outliers=0 if few else int(np.count_nonzero(ratios > OUTLIER_DOUBTFUL)),
        largest=float(np.abs(betas).max()),
        emptied=0.0 if shares is None else gap(shares)[0] - _by_chance(shares, varying.shape[1]),
        sizes=1.0 if few or is_sparse else distances.widest_ratio()[0],
        sha256=hashlib.sha256(b"".join(sorted(map(digest, np.ascontiguousarray(betas))))).hexdigest(),
    )


def gap(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the widest gap between values, in ascending order, and the value above it."""
    ascending = np.sort(values)
    steps = np.diff(ascending)
    widest = int(np.argmax(steps))
    return float(steps[widest]), float(ascending[widest + 1])


def digest(trial: Float[np.ndarray, " n_voxels"]) -> bytes:
    """Return the SHA-256 of a trial's betas."""
    return hashlib.sha256(trial.data).digest()


class Distances(NamedTuple):
    """Distances |x − m| of betas from the medians m of their voxels, of voxels that vary.

    Attributes:
        usual: third quartile of the distances that are not 0; median of all where fewer than FEW_TRIALS are not 0.
        furthest: largest distance.
        tied: share of distances that are 0.
        weak: True where fewer than FEW_TRIALS are not 0.
        of_trials: (n_trials,) distance over `usual`, with a floor as in `ratios`, mean over voxels in which that is not 0.
    """

    usual: Float[np.ndarray, " n_voxels"]
    furthest: Float[np.ndarray, " n_voxels"]
    tied: Float[np.ndarray, " n_voxels"]
    weak: Bool[np.ndarray, " n_voxels"]
    of_trials: Float[np.ndarray, " n_trials"]

    @classmethod
    def of(cls, betas: Betas) -> Distances:
        """Measure betas, (n_trials, n_voxels)."""
        n_trials, n_voxels = betas.shape
        usual, furthest, of_trials = np.zeros(n_voxels), np.zeros(n_voxels), np.zeros(n_trials)
        n_zero = np.zeros(n_voxels, dtype=np.int64)
        for start in range(0, n_voxels, COLUMNS_PER_BLOCK):
            block = slice(start, start + COLUMNS_PER_BLOCK)
            distance = distances_from_medians(betas[:, block])
            ascending = np.sort(distance, axis=1)
            furthest[block], n_zero[block] = ascending[:, -1], np.count_nonzero(distance == 0, axis=1)
            quartile = n_zero[block] + (3 * (n_trials - n_zero[block] - 1)) // 4
            place = np.where(n_trials - n_zero[block] < FEW_TRIALS, n_trials // 2, quartile)
            usual[block] = np.take_along_axis(ascending, place[:, None], axis=1)[:, 0]
            known = usual[block] > 0
            scale = np.maximum(usual[block], FLOOR * np.median(usual[block]))[known, None]
            of_trials += (distance[known] / scale).sum(axis=0)
        counted = max(1, int(np.count_nonzero(usual)))
        return cls(usual, furthest, n_zero / n_trials, n_trials - n_zero < FEW_TRIALS, of_trials / counted)

    def widest_ratio(self) -> tuple[float, float]:
        """Return the largest ratio of neighbours among `of_trials`, in order, and the upper one; 1 if one is 0."""
        if not self.of_trials.all():
            return 1.0, float(self.of_trials.max())
        step, above = gap(np.log(self.of_trials))
        return float(np.exp(step)), float(np.exp(above))

    def ratios(self) -> Float[np.ndarray, " n_voxels"]:
        """Return `furthest` / `usual`, which is at least FLOOR of the median over voxels, and all of it where it is weak.

        A voxel that is 0 but for one beta thus is judged by the other voxels. Few trials of sparse betas tell nothing: 1.
        """
        n_trials = len(self.of_trials)
        if self.weak.all() and (not self.usual.any() or self.tied.mean() > 1 / n_trials + SPARSE):
            return np.ones_like(self.usual)
        typical = float(np.median(self.usual[self.usual > 0] if self.weak.all() else self.usual[~self.weak]))
        floor = np.where(self.weak, typical, FLOOR * typical)
        ratios: Float[np.ndarray, " n_voxels"] = self.furthest / np.maximum(self.usual, floor)
        return ratios


def distances_from_medians(betas: Betas) -> Float[np.ndarray, "n_voxels n_trials"]:
    """|x − m| with m the median of each voxel; transposed, since sorting is faster so."""
    values = np.ascontiguousarray(betas.T).astype(np.float64)
    values -= np.median(values, axis=1, keepdims=True)
    distances: Float[np.ndarray, "n_voxels n_trials"] = np.abs(values, out=values)
    return distances


def shares_of_one_value(varying: Betas) -> Float[np.ndarray, " n_trials"] | None:
    """Share of voxels that have the most common value of each trial, such as 0 where nothing was written.

    None where that tells nothing, as among few voxels or coarse numbers.
    """
    if varying.shape[1] < FEW_VOXELS:
        return None
    sample = np.sort(varying[:, :: max(1, varying.shape[1] // VOXELS_OF_SAMPLE)], axis=1)
    n_trials, n_voxels = sample.shape
    begins = np.ones((n_trials, n_voxels + 1), bool)
    begins[:, 1:-1] = sample[:, 1:] != sample[:, :-1]
    trial, place = np.nonzero(begins)
    lengths = np.where(np.diff(trial, append=n_trials) == 0, np.diff(place, append=0), 0)
    shares: Float[np.ndarray, " n_trials"] = np.zeros(n_trials, dtype=np.float64)
    np.maximum.at(shares, trial, lengths / n_voxels)
    return shares if float(shares.min()) <= COARSE else None


def _by_chance(shares: Float[np.ndarray, " n_trials"], n_voxels: int) -> float:
    """8 √(p (1 − p) / n), how far apart shares of n voxels may lie, with p the least share, or 1/n if that is more."""
    share = max(float(shares.min()), 1 / n_voxels)
    return 8 * float(np.sqrt(share * (1 - share) / n_voxels))


def as_arrays(sessions: Mapping[int, SessionFacts]) -> dict[str, np.ndarray]:
    """Return facts as arrays, one row per session in their order, to be stored."""
    rows = list(sessions.values())
    return {f"facts_{name}": np.array([getattr(facts, name) for facts in rows]) for name in SessionFacts._fields} | {
        "facts_sessions": np.array(list(sessions), dtype=np.int64)
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[int, SessionFacts]:
    """Return what `as_arrays` was given."""
    columns = (arrays[f"facts_{name}"] for name in SessionFacts._fields)
    rows = [
        SessionFacts(*(value if value.ndim else value.item() for value in row)) for row in zip(*columns, strict=True)
    ]
    return dict(zip(arrays["facts_sessions"].tolist(), rows, strict=True))
