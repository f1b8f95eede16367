"""What decoders are fitted to: responses in rows, and targets in memory or on disk. Nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.real_numbers import real_numbers


@runtime_checkable
class TargetArray(Protocol):
    """Targets of stimuli, (n_stimuli, …), in any precision: a numpy array, or a zarr array on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Stimuli first."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a block as a numpy array."""


@dataclass(frozen=True, eq=False)
class ChosenTargets:
    """Targets of some stimuli, read from those of all when they are asked for.

    Attributes:
        targets: of all stimuli.
        chosen: numbers of the stimuli, ascending.

    Examples:
        >>> some = ChosenTargets(np.arange(12).reshape(4, 3), np.array([0, 2, 3]))
        >>> some.shape, some[1:, 1:].tolist()
        ((3, 3), [[7, 8], [10, 11]])
    """

    targets: TargetArray
    chosen: Int[np.ndarray, " n_chosen"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Stimuli first."""
        return (len(self.chosen), *self.targets.shape[1:])

    def __getitem__(self, key: Any, /) -> Any:
        """Return a block, cut out of the rows of `targets` from its first stimulus to its last."""
        rows, *rest = key if isinstance(key, tuple) else (key,)
        wanted = self.chosen[rows]
        first = int(wanted[0]) if len(wanted) else 0
        last = int(wanted[-1]) + 1 if len(wanted) else 0
        return self.targets[(slice(first, last), *rest)][wanted - first]


@dataclass(frozen=True, eq=False)
class ChosenColumns:
    """Some targets of all stimuli: a part of axis 1, read from all targets when it is asked for.

    Attributes:
        targets: of all stimuli.
        start: first along axis 1.
        stop: the one after the last.

    Examples:
        >>> some = ChosenColumns(np.arange(12).reshape(3, 4), 1, 3)
        >>> some.shape, some[1:, :1].tolist()
        ((3, 2), [[5], [9]])
    """

    targets: TargetArray
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Stimuli first."""
        return (self.targets.shape[0], self.stop - self.start, *self.targets.shape[2:])

    def __getitem__(self, key: Any, /) -> Any:
        """Return a block of rows and columns."""
        rows, columns = key
        start, stop, _ = columns.indices(self.stop - self.start)
        return self.targets[rows, self.start + start : self.start + stop]


def n_columns(targets: TargetArray) -> int:
    """Count the targets of one stimulus."""
    return math.prod(targets.shape[1:])


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Responses and which stimulus each belongs to: averages over repeats, or single trials; weighted or not.

    Attributes:
        responses: (n_rows, n_voxels).
        stimuli: row of the targets that each response belongs to, 0 … n_stimuli − 1, each at least once; None: row i shows
            stimulus i. Several rows of one stimulus are single trials.
        weights: of each row, > 0, such as the trials that were averaged into it; None: all 1.

    Raises:
        ValueError: if there is no row, a response is not a finite real number, lengths differ, or a stimulus has no row.
    """

    responses: Float[np.ndarray, "n_rows n_voxels"]
    stimuli: Int[np.ndarray, " n_rows"] | None = None
    weights: Float[np.ndarray, " n_rows"] | None = None

    def __post_init__(self) -> None:
        """Check lengths and numbers."""
        real_numbers(self.responses, "responses came as", (None, None), error=ValueError)
        if not np.isfinite(self.responses).all():
            row = int(np.argmin(np.isfinite(self.responses).all(axis=1)))
            raise ValueError(f"responses hold a value that is not finite, first in row {row}")
        for name in ("stimuli", "weights"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.responses):
                raise ValueError(f"got {len(values)} {name}, expected one for each of {len(self.responses)} rows")
        if self.stimuli is not None:
            found = np.unique(self.stimuli)
            if not np.array_equal(found, np.arange(len(found))):
                raise ValueError(f"stimuli must be 0 … {len(found) - 1}, each at least once; got up to {found.max()}")

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.responses) if self.stimuli is None else int(self.stimuli.max()) + 1

    def select(self, chosen: Bool[np.ndarray, " n_stimuli"]) -> TrainingRows:
        """Return the rows of some stimuli, renumbered from 0 in their order."""
        rows = chosen if self.stimuli is None else chosen[self.stimuli]
        numbers = np.cumsum(chosen) - 1
        return TrainingRows(
            self.responses[rows],
            None if self.stimuli is None else numbers[self.stimuli[rows]],
            None if self.weights is None else self.weights[rows],
        )

    def averages(self) -> Float[np.ndarray, "n_stimuli n_voxels"]:
        """Average each stimulus' rows, as test responses are averaged over their repeats."""
        if self.stimuli is None:
            return self.responses
        sums = np.zeros((self.n_stimuli, self.responses.shape[1]), self.responses.dtype)
        np.add.at(sums, self.stimuli, self.responses)
        averages: Float[np.ndarray, "n_stimuli n_voxels"] = sums / np.bincount(self.stimuli)[:, None].astype(sums.dtype)
        return averages

    def check(self, targets: Mapping[str, TargetArray]) -> None:
        """Check that every group has targets of the same number of stimuli as the responses.

        Raises:
            ValueError: names the group that differs.
        """
        for name, values in targets.items():
            if values.shape[0] != self.n_stimuli:
                raise ValueError(
                    f"got responses of {self.n_stimuli} stimuli and {name} of {values.shape[0]}, expected the same number"
                )
