"""Score over the number of training pictures: decoders are fitted anew to nested random parts of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from braindiffuser.analyses.analysis import RunData
from braindiffuser.analyses.curves.along import FEWEST_TO_FIT, Along, Decoded, halvings
from braindiffuser.errors import RunError


class TrainingPictures(Along):
    """Fit decoders to some of the training pictures, with the same settings."""

    title: ClassVar[str] = "Score over the number of training pictures"
    axis: ClassVar[str] = "training pictures"
    unit: ClassVar[str] = "training pictures"
    how_to_read: ClassVar[str] = (
        "Decoders were fitted anew, with the run's settings, to nested random parts of the training pictures, and tested on the "
        "same responses."
    )
    doubles: ClassVar[bool] = True

    def __init__(self, data: RunData, n_draws: int | None) -> None:
        """Remember how many training pictures there are."""
        super().__init__(data, n_draws)
        self.n = data.decoders().rows.n_stimuli
        self.own = float(self.n)

    def default_points(self) -> list[float]:
        """Return all pictures, half of them, and so on, as far down as decoders can be fitted."""
        return [point for point in halvings(self.n, FEWEST_TO_FIT) if self._suits(int(point))]

    def settle(self, points: list[float]) -> list[float]:
        """Check that there are such numbers of pictures."""
        wrong = [point for point in points if point % 1 or not FEWEST_TO_FIT <= point <= self.n]
        self.refuse(wrong, f"that are whole numbers from {FEWEST_TO_FIT} to {self.n:,}")
        return super().settle(points)

    def decoded(self, point: float) -> Iterator[Decoded]:
        """Fit decoders to the first pictures in a random order, one for each draw."""
        decoders = self.data.decoders()
        for draw in range(self.n_draws):
            seed = (self.data.seed, self.n, *([draw] if draw else []))
            chosen = np.zeros(self.n, bool)
            chosen[np.random.default_rng(seed).permutation(self.n)[: int(point)]] = True
            yield decoders.fitted_to(chosen).decode(self.test_responses())

    def _suits(self, n: int) -> bool:
        try:
            self.data.decoders().regressor.check_stimuli(n)
        except RunError:  # fewer stimuli than folds
            return False
        return True
