"""Voxels of two recordings that are one: they have the same mean and standard deviation in a session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int

from braindiffuser.datasets.equal_trials import BY_CHANCE, COPIED
from braindiffuser.datasets.session_facts import COARSE, SessionFacts

STEPS = 2.0**30
"""μ / σ and log σ are compared in steps of 2⁻³⁰: their last digits depend on the order in which betas were added."""
AT_MOST = 3.0
"""Where no pair of different voxels was equal, fewer than 3 are expected of as many pairs, with 95 % confidence."""


@dataclass(frozen=True, eq=False)
class VoxelKeys:
    """What tells the voxels of a recording apart, one entry per voxel and session.

    Attributes:
        values: μ / σ + i log σ over trials, in steps of 2⁻³⁰, ascending, each once.
        counts: entries that have each value.
        coarse: whether betas have so few values that σ may follow from μ.
    """

    values: Complex[np.ndarray, " n_different"]
    counts: Int[np.ndarray, " n_different"]
    coarse: bool

    @classmethod
    def of(cls, sessions: Iterable[SessionFacts]) -> VoxelKeys:
        """Take the voxels that vary in each session."""
        known = list(sessions)
        std = np.concatenate([np.zeros(0), *(facts.std for facts in known)])
        mean = np.concatenate([np.zeros(0), *(facts.mean for facts in known)])[std > 0]
        std = std[std > 0]
        values, counts = np.unique(
            np.round(mean / std * STEPS) + 1j * np.round(np.log(std) * STEPS), return_counts=True
        )
        return cls(values, counts, any(facts.tied > COARSE for facts in known))

    @property
    def n(self) -> float:
        """Entries in all."""
        return float(self.counts.sum())

    def equal_pairs(self, part: Float[np.ndarray, " n_different"] | None = None) -> float:
        """Count the pairs of entries that are equal, or that have an equal part."""
        if part is None:
            return _n_pairs(self.counts)
        return _n_pairs(np.bincount(np.unique(part, return_inverse=True)[1].ravel(), self.counts))


def share_voxels(one: VoxelKeys, other: VoxelKeys) -> bool:
    """Return whether two recordings have voxels in common: COPIED or more, and more than chance makes equal.

    So have those of one person, whichever voxels of a session were read, in whatever order of trials.
    """
    n_equal = int(np.isin(one.values, other.values, assume_unique=True).sum())
    if n_equal < COPIED:
        return False
    from scipy.special import pdtrc

    return bool(pdtrc(n_equal - 1, equal_by_chance(one, other)) <= BY_CHANCE)


def equal_by_chance(one: VoxelKeys, other: VoxelKeys) -> float:
    """Return a bound of how many pairs of different voxels, one of each recording, are expected to be equal.

    For any distributions p and q of values Σ p q ≤ (Σ p² + Σ q²) / 2, so pairs within a recording tell. Where these are few, the
    shares that are equal in μ / σ and in σ are multiplied; one pair more is counted in each, since none may be seen.
    """
    sides = one, other
    seen = 2 * sum(own.equal_pairs() for own in sides)
    if one.coarse or other.coarse:
        return seen + AT_MOST
    in_mean, in_std = (1 + sum(own.equal_pairs(part(own.values)) for own in sides) for part in (np.real, np.imag))
    within = sum(own.n * (own.n - 1) / 2 for own in sides)
    return seen + one.n * other.n * (in_mean / within) * (in_std / within)


def _n_pairs(counts: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]) -> float:
    wide = counts.astype(np.float64)
    return float((wide * (wide - 1) / 2).sum())
