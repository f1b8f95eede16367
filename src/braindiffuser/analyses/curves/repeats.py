"""Score over repeats: test responses averaged over one trial, two, three …, decoded by the run's own decoders."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int

from braindiffuser.analyses.curves.along import Along, Decoded

if TYPE_CHECKING:
    from braindiffuser.datasets.responses import SingleTrials

MOST_POINTS = 8
"""Points that are chosen unless others are asked for."""


class Repeats(Along):
    """Decode test pictures from the average of so many of their trials.

    At every point the same pictures are scored: those that have the trials of the largest one.
    """

    title: ClassVar[str] = "Score over repeats of the test pictures"
    axis: ClassVar[str] = "trials averaged for each test picture"
    unit: ClassVar[str] = "trials"
    how_to_read: ClassVar[str] = (
        "The run's decoders decoded the average of so many trials of each test picture; the same pictures are scored at every "
        "point. Scores of random choices of trials are averaged. Training is not varied."
    )
    is_logarithmic: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("betas",)
    usual_draws: ClassVar[int] = 3

    def default_points(self) -> list[float]:
        """Return numbers of trials up to what half of the test pictures have, eight at most."""
        counts = np.sort(self._counts)[::-1]
        most = int(counts[max(1, (len(counts) - 1) // 2)]) if len(counts) > 1 else 0
        numbers = np.unique(np.rint(np.geomspace(1, most, min(most, MOST_POINTS)))) if most else np.empty(0)
        return [float(number) for number in numbers]

    def lacking(self) -> str:
        """Say so where pictures were shown once."""
        return (
            "Fewer than half of the test pictures were shown more than once" if len(self.default_points()) < 2 else ""
        )

    def settle(self, points: list[float]) -> list[float]:
        """Choose the pictures with the most trials that are asked for, two or more."""
        most = int(np.sort(self._counts)[::-1][:2].min())
        wrong = [point for point in points if point % 1 or not 1 <= point <= most]
        self.refuse(wrong, f"that are whole numbers from 1 to {most}, since two pictures or more must have such trials")
        self.rows = np.flatnonzero(self._counts >= max(points))
        whole = len(self.rows) == len(self._counts) and (self._counts == max(points)).all()
        self.own = float(max(points)) if whole else None
        return super().settle(points)

    def decoded(self, point: float) -> Iterator[Decoded]:
        """Average trials that follow each other in a random order of each picture's, from another one in each draw."""
        decoders = self.data.decoders()
        most = int(self._counts[self.rows].min())
        draws = 1 if point == most and (self._counts[self.rows] == most).all() else min(self.n_draws, most)
        for draw in range(draws):
            yield decoders.decode(np.stack([self._average(int(row), int(point), draw) for row in self.rows]))

    def _average(self, row: int, count: int, draw: int) -> Float32[np.ndarray, " n_voxels"]:
        own = self._of_picture[row]
        order = np.random.default_rng((self.data.seed, row)).permutation(len(own))
        chosen = own[order[(draw + np.arange(count)) % len(own)]]
        average: Float32[np.ndarray, " n_voxels"] = self._trials.responses[chosen].mean(axis=0, dtype=np.float32)
        return average

    @cached_property
    def _trials(self) -> SingleTrials:
        return self.data.trials("test")

    @cached_property
    def _of_picture(self) -> list[Int[np.ndarray, " _"]]:
        places = range(self.first.start, self.first.stop)
        return [np.flatnonzero(self._trials.stimuli == place) for place in places]

    @cached_property
    def _counts(self) -> Any:
        return np.array([len(own) for own in self._of_picture])
