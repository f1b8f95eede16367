"""What decoders are fitted to: responses in rows, and targets in memory or on disk. Nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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


@runtime_checkable
class ResponseArray(TargetArray, Protocol):
    """Responses (n_rows, n_voxels): a numpy array, or a zarr array on disk. `responses[:]` is all of it, in memory."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""


ROWS_PER_BLOCK = 4096
"""Rows of responses that are read at a time: 258 MB of 15,724 voxels in float32."""


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of ROWS_PER_BLOCK rows, which cover an array of this shape.

    >>> list(row_blocks((5000, 3)))
    [slice(0, 4096, None), slice(4096, 5000, None)]
    """
    for start in range(0, shape[0], ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, shape[0]))


@dataclass(frozen=True, eq=False)
class ChosenTargets:
    """Targets or responses of some stimuli, read from those of all when they are asked for.

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

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(self.targets.dtype)  # type: ignore[attr-defined]

    def __getitem__(self, key: Any, /) -> Any:
        """Return some rows, read with those between them, but no more than ROWS_PER_BLOCK at once."""
        rows, *rest = key if isinstance(key, tuple) else (key,)
        wanted = self.chosen[rows]
        pieces = np.split(wanted, np.flatnonzero(np.diff(wanted // ROWS_PER_BLOCK)) + 1)
        if len(pieces) == 1:
            return self._rows(wanted, rest)
        made, done = None, 0
        for piece in pieces:
            values = self._rows(piece, rest)
            if made is None:
                made = np.empty((len(wanted), *values.shape[1:]), values.dtype)
            made[done : done + len(piece)] = values
            done += len(piece)
        return made

    def _rows(self, wanted: Int[np.ndarray, " n"], rest: Sequence[Any]) -> Any:
        first, last = (int(wanted[0]), int(wanted[-1]) + 1) if len(wanted) else (0, 0)
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


def _check_responses(responses: ResponseArray) -> None:
    """Raise ValueError if responses are no array of finite real numbers; they are read in blocks."""
    if not isinstance(responses, ResponseArray):
        raise ValueError(f"responses came as {type(responses).__name__}, expected an array: take np.asarray of them")
    unread = np.broadcast_to(np.empty((), responses.dtype), responses.shape)
    real_numbers(unread, "responses came as", (None, None), error=ValueError)
    for rows in row_blocks(responses.shape):
        are_finite = np.isfinite(responses[rows]).all(axis=1)
        if not are_finite.all():
            row = rows.start + int(np.argmin(are_finite))
            raise ValueError(f"responses hold a value that is not finite, first in row {row}")


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Responses and which stimulus each belongs to: averages over repeats, or single trials; weighted or not.

    Attributes:
        responses: (n_rows, n_voxels), in memory or on disk; `responses[:]` reads all.
        stimuli: row of the targets that each response belongs to, 0 … n_stimuli − 1, each at least once; None: row i shows
            stimulus i. Several rows of one stimulus are single trials.
        weights: of each row, > 0, such as the trials that were averaged into it; None: all 1.

    Raises:
        ValueError: if there is no row, a response is not a finite real number, lengths differ, or a stimulus has no row.
    """

    responses: ResponseArray
    stimuli: Int[np.ndarray, " n_rows"] | None = None
    weights: Float[np.ndarray, " n_rows"] | None = None

    def __post_init__(self) -> None:
        """Check lengths and numbers."""
        if not isinstance(self.responses, ChosenTargets):  # which were checked before some were chosen
            _check_responses(self.responses)
        for name in ("stimuli", "weights"):
            values = getattr(self, name)
            n_rows = self.responses.shape[0]
            if values is not None and len(values) != n_rows:
                raise ValueError(f"got {len(values)} {name}, expected one for each of {n_rows} rows")
        if self.stimuli is not None:
            found = np.unique(self.stimuli)
            if not np.array_equal(found, np.arange(len(found))):
                raise ValueError(f"stimuli must be 0 … {len(found) - 1}, each at least once; got up to {found.max()}")

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return self.responses.shape[0] if self.stimuli is None else int(self.stimuli.max()) + 1

    def select(self, chosen: Bool[np.ndarray, " n_stimuli"]) -> TrainingRows:
        """Return the rows of some stimuli, renumbered from 0 in their order; their responses are read when they are asked for."""
        rows = chosen if self.stimuli is None else chosen[self.stimuli]
        numbers = np.cumsum(chosen) - 1
        return TrainingRows(
            ChosenTargets(self.responses, np.flatnonzero(rows)),
            None if self.stimuli is None else numbers[self.stimuli[rows]],
            None if self.weights is None else self.weights[rows],
        )

    def averages(self) -> Float[np.ndarray, "n_stimuli n_voxels"]:
        """Average each stimulus' rows, as test responses are averaged over their repeats."""
        if self.stimuli is None:
            return np.asarray(self.responses[:])
        sums = np.zeros((self.n_stimuli, self.responses.shape[1]), self.responses.dtype)
        for rows in row_blocks(self.responses.shape):
            np.add.at(sums, self.stimuli[rows], self.responses[rows])
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
