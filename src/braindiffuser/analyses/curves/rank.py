"""Score over the rank of the decoder: how many directions of the decoded features carry what is decoded (BrainBits, 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from braindiffuser.analyses.analysis import RunData
from braindiffuser.analyses.curves.along import Along, Decoded
from braindiffuser.regression.rows import n_columns
from braindiffuser.spacing import evenly_spaced

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Ranks of the curve, below that of the whole decoder, unless others are asked for."""
MOST_BYTES = 1_500_000_000
"""Room for predictions of training stimuli of one group; of fewer stimuli, evenly spaced, where all do not fit."""


class Rank(Along):
    """Move predictions to the few directions in which predictions of training stimuli vary most."""

    title: ClassVar[str] = "Score over the rank of the decoder"
    axis: ClassVar[str] = "rank of the decoder"
    unit: ClassVar[str] = "directions"
    saturates: ClassVar[bool] = True
    how_to_read: ClassVar[str] = (
        "Predictions were projected on the directions in which predictions of training stimuli vary most (singular vectors), "
        "before calibration. A rank of 1 is a single axis; the last point is the whole decoder. r90: smallest of these ranks "
        "with 90 % of the whole decoder's gain, with the range over resampled test pictures."
    )

    def __init__(self, data: RunData, n_draws: int | None) -> None:
        """Take what rank decoders can have at most: the least of stimuli, voxels and targets, of the group with most."""
        super().__init__(data, 1)
        decoders = data.decoders()
        self.most = {
            group: min(
                decoders.rows.n_stimuli - 1, decoders.rows.responses.shape[1], n_columns(decoders.targets[group])
            )
            for group in data.groups
        }
        self.own = float(max(self.most.values()))

    def default_points(self) -> list[float]:
        """Return 1, 2, 5, 10 … and the whole decoder."""
        return [*(float(rank) for rank in STEPS if rank < (self.own or 0)), self.own or 0.0]

    def settle(self, points: list[float]) -> list[float]:
        """Check that there are such ranks, and remember all that are asked for, so that they are computed together."""
        wrong = [point for point in points if point % 1 or not 1 <= point <= (self.own or 0)]
        self.refuse(wrong, f"that are whole numbers from 1 to {self.own:g}")
        settled = super().settle(points)
        self._ranks = [int(point) for point in settled if point != self.own]
        return settled

    def decoded(self, point: float) -> Iterator[Decoded]:
        """Reduce the predictions of every group, and bring them to the scale of the run's own."""
        whole = {group: self.data.predictions(group)[self.first] for group in self.data.groups}
        yield {
            group: whole[group] if point >= self.most[group] else self._reduced[group][int(point)]
            for group in self.data.groups
        }

    @cached_property
    def _reduced(self) -> dict[str, dict[int, Any]]:
        return {group: self._reduce(group) for group in self.data.groups}

    def _reduce(self, group: str) -> dict[int, Float32[np.ndarray, "n ..."]]:
        """Return rank → predictions of the first test set.

        Predictions are reduced before calibration. The run's own calibration, which moves and scales each target, is then applied
        as it was to the whole predictions.
        """
        from braindiffuser.regression.calibration import rescale
        from braindiffuser.regression.reduced_rank import reduce_rank

        decoders = self.data.decoders().uncalibrated().of((group,))
        fit = max(2, MOST_BYTES // (4 * n_columns(decoders.targets[group])))
        averages = decoders.rows.averages()
        training = averages[evenly_spaced(len(averages), fit)]
        made = {
            name: values.reshape(len(values), -1)
            for name, values in (
                ("test", decoders.decode(self.test_responses())[group]),
                ("training", decoders.decode(training)[group]),
            )
        }
        own = self.data.predictions(group)[self.first]
        flat = own.reshape(len(own), -1)
        moments = [
            statistic.astype(np.float64)
            for values in (made["test"], flat)
            for statistic in (values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64))
        ]
        ranks = [rank for rank in self._ranks if rank < self.most[group]]
        reduced = reduce_rank(made["test"], made["training"], ranks)
        return {rank: rescale(values, *moments).reshape(own.shape) for rank, values in zip(ranks, reduced, strict=True)}
