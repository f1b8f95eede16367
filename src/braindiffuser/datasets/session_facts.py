"""What is told of the betas of one session: its units, its furthest betas, its empty trials, and what tells its trials apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.equal_trials import TrialFacts
from braindiffuser.datasets.normalisation import COLUMNS_PER_BLOCK, column_statistics

COARSE = 0.05
"""Share of a trial's betas that have one value: where the trial with the fewest has more, such as counts, gaps tell nothing."""
SPARSE = 0.05
"""Share of betas that equal their voxel's median: where more do, few trials tell no outliers."""
FEW_TRIALS, FEW_VOXELS = 10, 50
"""With fewer trials or voxels, these statistics are too noisy to judge by, but for what is far beyond the limits."""
FEWEST_TRIALS = 5
"""With fewer trials, their units and those of the session tell nothing."""
BETAS_OF_TRIAL = 30
"""Betas of a trial that differ from the voxels' medians, from which their mean distance tells the trial's unit."""
FEWEST_LOST = 10
"""Voxels without data, and with data, from which their places in a trial tell whether something was lost."""
IN_ONE_BLOCK, SAME_VOXELS = 0.9, 0.9
"""Share of a trial's voxels with one value that lie in a row; and |A ∩ B| / |A ∪ B| of two trials, of voxels with it, without."""
VOXELS_OF_SAMPLE = 4000
"""Equal values within a trial are counted in 4,000 to 7,999 voxels where there are more, which saves time."""
OUTLIER_DOUBTFUL = 60.0
"""Furthest beta of a voxel from its median, over the usual distance: 3 of 750 normal numbers, 69 standard deviations here."""
FLOOR = 0.01
"""The usual distance of a voxel is at least this share of that of most voxels: some hold next to nothing in most trials."""
STORED = "facts_"
"""Beginning of the names of arrays that hold facts."""


class SessionFacts(NamedTuple):
    """What is told of a session's betas.

    Attributes:
        n_trials: trials.
        mean: (n_voxels,), over trials, in the unit of the betas.
        std: (n_voxels,), likewise, ddof 1; 0 where a voxel does not vary.
        tied: share of trials that equal their voxel's median, mean over the voxels that vary; near 0 but for sparse or coarse
            betas.
        outlier: largest ratio, over voxels, of the furthest beta's distance from the median to the usual distance.
        outlier_gap: ratio of distances between the betas that stand apart and the next ones, as in `Distances.outlier_gap`.
        n_outliers: voxels in which `outlier` exceeds OUTLIER_DOUBTFUL.
        largest: |beta|, of all.
        one_value: share of voxels that have one value in a trial, median over trials; 0 for few voxels.
        one_value_error: its standard error.
        one_value_gap: widest gap between trials, in order of that share, less what chance allows; 0 for few voxels and where all
            trials have a large one.
        incomplete: share of voxels that a trial lacks beside the fullest one, as their places tell, most of all trials.
        trial_spread_gap: how far the betas of a trial lie from the voxels' medians: largest ratio of one trial to the next, in
            that order; 1 for few trials or voxels.
        trials: what tells its trials apart.
    """

    n_trials: int
    mean: Float[np.ndarray, " n_voxels"]
    std: Float[np.ndarray, " n_voxels"]
    tied: float
    outlier: float
    outlier_gap: float
    n_outliers: int
    largest: float
    one_value: float
    one_value_error: float
    one_value_gap: float
    incomplete: float
    trial_spread_gap: float
    trials: TrialFacts

    @property
    def spread(self) -> float:
        """Standard deviation over trials, median over the voxels that vary; 0 if none does."""
        return float(np.median(self.std[self.std > 0])) if self.std.any() else 0.0

    @property
    def constant(self) -> Bool[np.ndarray, " n_voxels"]:
        """True where a voxel does not vary."""
        constant: Bool[np.ndarray, " n_voxels"] = self.std == 0
        return constant


def describe(betas: Betas, stimulus_ids: Int[np.ndarray, " n_trials"]) -> SessionFacts:
    """Describe the betas of one session, (n_trials, n_voxels), of at least two trials, and the stimuli that these showed."""
    mean, std = column_statistics(betas)
    varying = betas if std.all() else betas[:, std > 0]
    distances, few = Distances.of(varying), len(betas) < FEW_TRIALS
    ratios, shares, trials = distances.ratios(), shares_of_one_value(varying), TrialFacts.of(betas, stimulus_ids)
    wide = shares is not None and varying.shape[1] >= FEW_VOXELS
    of_trials = shares.of_trials if shares is not None and wide else np.zeros(len(betas))
    return SessionFacts(
        n_trials=len(betas),
        mean=mean,
        std=std,
        tied=float(distances.tied.mean()) if distances.tied.size else 0.0,
        outlier=float(ratios.max(initial=1.0)),
        outlier_gap=distances.outlier_gap(),
        n_outliers=0 if few else int(np.count_nonzero(ratios > OUTLIER_DOUBTFUL)),
        largest=float(np.abs(betas).max()),
        one_value=float(np.median(of_trials)),
        one_value_error=float(np.sqrt(np.pi / 2) * of_trials.std(ddof=1) / np.sqrt(len(betas))),
        one_value_gap=gap(of_trials)[0] - by_chance(shares)
        if shares is not None and shares.tell_gaps and wide
        else 0.0,
        incomplete=0.0 if shares is None else float(lost_voxels(varying, shares, trials).max()),
        trial_spread_gap=distances.widest_ratio()[0],
        trials=trials,
    )


def gap(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the widest gap between values, in ascending order, and the value above it."""
    ascending = np.sort(values)
    steps = np.diff(ascending)
    widest = int(np.argmax(steps))
    return float(steps[widest]), float(ascending[widest + 1])


def distances_from_median(values: Float[np.ndarray, " n_trials"]) -> Float[np.ndarray, " n_trials"]:
    """|x − m|, with m the median of the betas of one voxel."""
    distances: Float[np.ndarray, " n_trials"] = np.abs(values.astype(np.float64) - np.median(values.astype(np.float64)))
    return distances


class Distances(NamedTuple):
    """Distances |x − m| of betas from the medians m of their voxels, of voxels that vary.

    Attributes:
        usual: third quartile of the distances that are not 0; median of all where fewer than FEW_TRIALS are not 0.
        furthest: largest distance.
        next_below: distance below the largest ratio of neighbours among those from `usual` up, in ascending order.
        tied: share of distances that are 0.
        weak: True where fewer than FEW_TRIALS are not 0.
        of_trials: (n_trials,) distance over `scale`, mean over the voxels in which neither it nor `usual` is 0; NaN where
            these are fewer than BETAS_OF_TRIAL.
    """

    usual: Float[np.ndarray, " n_voxels"]
    furthest: Float[np.ndarray, " n_voxels"]
    next_below: Float[np.ndarray, " n_voxels"]
    tied: Float[np.ndarray, " n_voxels"]
    weak: Bool[np.ndarray, " n_voxels"]
    of_trials: Float[np.ndarray, " n_trials"]

    @classmethod
    def of(cls, betas: Betas) -> Distances:
        """Measure betas, (n_trials, n_voxels)."""
        n_trials, n_voxels = betas.shape
        medians, usual, furthest, next_below = np.zeros((4, n_voxels))
        n_zero = np.zeros(n_voxels, dtype=np.int64)
        for start in range(0, n_voxels, COLUMNS_PER_BLOCK):
            block = slice(start, start + COLUMNS_PER_BLOCK)
            values = np.ascontiguousarray(betas[:, block].T).astype(np.float64)
            medians[block] = np.median(values, axis=1)
            ascending = np.sort(np.abs(values - medians[block, None]), axis=1)
            furthest[block], n_zero[block] = ascending[:, -1], np.count_nonzero(ascending == 0, axis=1)
            quartile = n_zero[block] + (3 * (n_trials - n_zero[block] - 1)) // 4
            place = np.where(n_trials - n_zero[block] < FEW_TRIALS, n_trials // 2, quartile)
            usual[block] = np.take_along_axis(ascending, place[:, None], axis=1)[:, 0]
            next_below[block] = _below_widest_step(ascending, place)
        found = cls(usual, furthest, next_below, n_zero / n_trials, n_trials - n_zero < FEW_TRIALS, np.zeros(n_trials))
        return found._replace(of_trials=found._mean_of_trials(betas, medians))

    def _mean_of_trials(self, betas: Betas, medians: Float[np.ndarray, " n_voxels"]) -> Float[np.ndarray, " n_trials"]:
        known = self.usual > 0
        weights, total = np.where(known, 1 / np.where(known, self.scale(), 1.0), 0.0), np.zeros(len(betas))
        counts = np.zeros(len(betas), dtype=np.int64)
        for start in range(0, len(medians), COLUMNS_PER_BLOCK):
            block = slice(start, start + COLUMNS_PER_BLOCK)
            distances = np.abs(betas[:, block] - medians[block])
            total += distances @ weights[block]
            counts += np.count_nonzero((distances > 0) & known[block], axis=1)
        return np.where(counts >= BETAS_OF_TRIAL, total / np.maximum(counts, 1), np.nan)

    def widest_ratio(self) -> tuple[float, float]:
        """Sort `of_trials`; return the largest ratio of neighbours and the larger of the two.

        The ratio is 1 for fewer than FEWEST_TRIALS, and where less than half of the trials have enough betas.
        """
        own = self.of_trials[~np.isnan(self.of_trials)]
        if len(own) < max(FEWEST_TRIALS, len(self.of_trials) / 2):
            return 1.0, np.inf
        step, above = gap(np.log(own))
        return float(np.exp(step)), float(np.exp(above))

    def scale(self) -> Float[np.ndarray, " n_voxels"]:
        """Return `usual`, but no less than FLOOR × its median over voxels; where it is weak, no less than that median."""
        strong = self.usual[~self.weak] if not self.weak.all() else self.usual[self.usual > 0]
        typical = float(np.median(strong)) if strong.size else 0.0
        scale: Float[np.ndarray, " n_voxels"] = np.maximum(self.usual, np.where(self.weak, typical, FLOOR * typical))
        return scale

    @property
    def tells_nothing(self) -> bool:
        """Whether few trials of sparse betas were measured."""
        limit = 1 / len(self.of_trials) + SPARSE
        return bool(self.weak.all() and (not self.usual.any() or self.tied.mean() > limit))

    def ratios(self) -> Float[np.ndarray, " n_voxels"]:
        """Divide `furthest` by `usual`, but by no less than FLOOR × its median over voxels.

        Where a voxel has too few values that differ from its median, divide by that median over voxels; 1 for few trials of
        sparse betas.
        """
        if self.tells_nothing:
            return np.ones_like(self.usual)
        ratios: Float[np.ndarray, " n_voxels"] = self.furthest / self.scale()
        return ratios

    def outlier_gap(self) -> float:
        """Return how much further than all others the furthest betas lie, whatever the distribution.

        Sort `furthest` and `next_below` of all voxels, over `scale` and at least 1, and return the largest ratio of neighbours.
        Heavy tails have no gap there. A single damaged beta makes one, as does a damaged trial, or several.
        """
        if self.tells_nothing or not self.usual.size:
            return 1.0
        pooled = np.concatenate([self.furthest, self.next_below]) / np.tile(self.scale(), 2)
        return float(np.exp(gap(np.log(np.maximum(pooled, 1.0)))[0]))


def _below_widest_step(
    ascending: Float[np.ndarray, "n_voxels n_trials"], place: Int[np.ndarray, " n_voxels"]
) -> Float[np.ndarray, " n_voxels"]:
    """Return the value below the largest ratio of neighbours, from `place` up; the last value where there is no neighbour."""
    first = int(place.min())
    upper = ascending[:, first:]
    if upper.shape[1] < 2:
        return ascending[:, -1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.nan_to_num(upper[:, 1:] / upper[:, :-1], nan=1.0, posinf=np.inf)
    ratios[np.arange(first, ascending.shape[1] - 1) < place[:, None]] = 0.0
    widest = np.argmax(ratios, axis=1)[:, None]
    below: Float[np.ndarray, " n_voxels"] = np.take_along_axis(upper, widest, axis=1)[:, 0]
    return np.where(ratios.max(axis=1) > 0, below, ascending[:, -1])


class Shares(NamedTuple):
    """How many voxels have one value in each trial.

    Attributes:
        of_trials: (n_trials,) share of voxels that have the trial's most common value, such as 0 where nothing was written.
        values: (n_trials,) that value.
        step: every how many voxels one was counted.
        n_voxels: voxels that were counted.
    """

    of_trials: Float[np.ndarray, " n_trials"]
    values: Float[np.ndarray, " n_trials"]
    step: int
    n_voxels: int

    @property
    def tell_gaps(self) -> bool:
        """Whether a trial without that value is there; else betas may be coarse or sparse, with any share of one value."""
        return float(self.of_trials.min()) <= COARSE


def shares_of_one_value(varying: Betas) -> Shares | None:
    """Count, in a sample of voxels, how many have the most common value of each trial; None for fewer than 4 × FEWEST_LOST."""
    if varying.shape[1] < 4 * FEWEST_LOST:
        return None
    step = max(1, varying.shape[1] // VOXELS_OF_SAMPLE)
    sample = np.sort(varying[:, ::step], axis=1)
    n_trials, n_voxels = sample.shape
    begins = np.ones((n_trials, n_voxels + 1), bool)
    begins[:, 1:-1] = sample[:, 1:] != sample[:, :-1]
    trial, place = np.nonzero(begins)
    lengths = np.where(np.diff(trial, append=n_trials) == 0, np.diff(place, append=0), 0)
    longest, values = np.zeros(n_trials, dtype=np.int64), np.zeros(n_trials, dtype=sample.dtype)
    np.maximum.at(longest, trial, lengths)
    chosen = lengths == longest[trial]
    values[trial[chosen]] = sample[trial[chosen], place[chosen]]
    return Shares(longest / n_voxels, values, step, n_voxels)


def lost_voxels(varying: Betas, shares: Shares, trials: TrialFacts) -> Float[np.ndarray, " n_trials"]:
    """Return the share of voxels that each trial lacks beside the fullest one, (n_trials,); 0 unless their places say so.

    What was not written is a block, or lacks in the same voxels of several trials. Betas that a threshold or a rectification set
    to one value lie anywhere.
    """
    beyond = shares.of_trials - shares.of_trials.min()
    _, distinct = np.unique(trials.digests, axis=0, return_index=True)
    n_lost = np.rint(shares.of_trials * shares.n_voxels)
    enough = (n_lost >= FEWEST_LOST) & (shares.n_voxels - n_lost >= FEWEST_LOST) & (beyond > by_chance(shares))
    rows = np.intersect1d(distinct, np.flatnonzero(enough))
    lost = np.zeros(len(varying))
    is_lost = varying[rows, :: shares.step] == shares.values[rows, None]
    structured = _are_blocks(is_lost) | _have_equals(is_lost)
    lost[rows[structured]] = beyond[rows[structured]]
    return lost


def _are_blocks(is_lost: Bool[np.ndarray, "n_rows n_voxels"]) -> Bool[np.ndarray, " n_rows"]:
    """Whether most voxels that are True lie in a row."""
    places = np.arange(is_lost.shape[1])
    lengths = places - np.maximum.accumulate(np.where(is_lost, -1, places), axis=1)
    are_blocks: Bool[np.ndarray, " n_rows"] = lengths.max(axis=1, initial=0) >= IN_ONE_BLOCK * is_lost.sum(axis=1)
    return are_blocks


def _have_equals(is_lost: Bool[np.ndarray, "n_rows n_voxels"]) -> Bool[np.ndarray, " n_rows"]:
    """Whether another row is True and False in nearly the same voxels."""
    counts, n_voxels = is_lost.sum(axis=1), is_lost.shape[1]
    both = is_lost.astype(np.float32) @ is_lost.T.astype(np.float32)
    either = counts[:, None] + counts - both
    same = (both >= SAME_VOXELS * either) & (n_voxels - either >= SAME_VOXELS * (n_voxels - both))
    np.fill_diagonal(same, val=False)
    have_equals: Bool[np.ndarray, " n_rows"] = same.any(axis=1)
    return have_equals


def by_chance(shares: Shares) -> float:
    """8 √(p (1 − p) / n), how far apart shares of n voxels may lie, with p the least share, or 1/n if that is more."""
    share = max(float(shares.of_trials.min()), 1 / shares.n_voxels)
    return 8 * float(np.sqrt(share * (1 - share) / shares.n_voxels))


def as_arrays(sessions: Mapping[int, SessionFacts]) -> dict[str, np.ndarray]:
    """Return facts as arrays, one row per session in their order, and one per trial, to be stored."""
    rows = list(sessions.values())
    columns = {name: np.array([getattr(facts, name) for facts in rows]) for name in _OF_SESSIONS}
    for name in ("stimulus_ids", "digests", "telling"):
        columns[name] = np.concatenate([getattr(facts.trials, name) for facts in rows]) if rows else np.zeros(0)
    columns |= {
        "chance": np.array([facts.trials.chance for facts in rows]),
        "sessions": np.array(list(sessions), dtype=np.int64),
    }
    return {f"{STORED}{name}": column for name, column in columns.items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[int, SessionFacts]:
    """Return what `as_arrays` was given."""
    ends = np.cumsum(arrays[f"{STORED}n_trials"].astype(np.int64))
    sessions = {}
    for row, number in enumerate(arrays[f"{STORED}sessions"].tolist()):
        own = {name: arrays[f"{STORED}{name}"][row] for name in _OF_SESSIONS}
        rows = slice(ends[row - 1] if row else 0, ends[row])
        ids, digests, telling = (arrays[f"{STORED}{name}"][rows] for name in ("stimulus_ids", "digests", "telling"))
        trials = TrialFacts(ids, digests, telling, float(arrays[f"{STORED}chance"][row]))
        values = {name: value if value.ndim else value.item() for name, value in own.items()}
        sessions[number] = SessionFacts(**values, trials=trials)
    return sessions


_OF_SESSIONS = tuple(name for name in SessionFacts._fields if name != "trials")
