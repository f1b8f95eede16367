"""Score over sessions: what the run would have found if scanning had stopped after the first one, two, four."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int

from braindiffuser.analyses.analysis import RunData
from braindiffuser.analyses.curves.along import FEWEST_TO_FIT, Along, Decoded
from braindiffuser.regression.rows import TrainingRows

if TYPE_CHECKING:
    from braindiffuser.datasets.responses import SingleTrials


class Sessions(Along):
    """Fit decoders to the training trials of the first sessions, averaged and z-scored anew; test responses stay whole."""

    title: ClassVar[str] = "How long must one scan? Score over sessions"
    axis: ClassVar[str] = "sessions"
    unit: ClassVar[str] = "sessions"
    how_to_read: ClassVar[str] = (
        "Decoders were fitted anew, with the run's settings, to the training trials of the first sessions, averaged and z-scored "
        "without the later ones. Test responses are those of all sessions at every point."
    )
    doubles: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("betas",)

    def __init__(self, data: RunData, n_draws: int | None) -> None:
        """Count the sessions; there is one draw, the sessions as they came."""
        super().__init__(data, 1)
        self.own = float(len(self._numbers))

    def default_points(self) -> list[float]:
        """Return 1, 2, 4 … sessions and all, of those with which decoders can be fitted."""
        n = len(self._numbers)
        counts = sorted({*(2**power for power in range(n.bit_length())), n})
        return [float(count) for count in counts if count <= n and self._suits(count)]

    def lacking(self) -> str:
        """Say so where there is a single session."""
        return "Training trials are of one session" if len(self._numbers) < 2 else ""

    def settle(self, points: list[float]) -> list[float]:
        """Check that there are such numbers of sessions, with pictures to fit to."""
        n = len(self._numbers)
        self.refuse(
            [point for point in points if point % 1 or not 1 <= point <= n], f"that are whole numbers from 1 to {n}"
        )
        few = [point for point in points if not self._suits(int(point))]
        self.refuse(few, f"with {FEWEST_TO_FIT} training pictures or more, and one for each fold")
        return super().settle(points)

    def facts(self, point: float) -> Mapping[str, Any]:
        """Return how many training trials and pictures there are after so many sessions."""
        inside = self._inside(int(point))
        return {"n_trials": int(inside.sum()), "n_stimuli": len(np.unique(self._trials.stimuli[inside]))}

    def decoded(self, point: float) -> Iterator[Decoded]:
        """Average, z-score and fit the trials of the first sessions."""
        from braindiffuser.datasets.normalisation import column_statistics, standardise

        inside, decoders = self._inside(int(point)), self.data.decoders()
        trials = self._trials.responses[inside]
        numbers, stimuli = np.unique(self._trials.stimuli[inside], return_inverse=True)
        single = TrainingRows(trials, stimuli.astype(np.int64))
        averages, test = single.averages(), self.test_responses()
        if self._trials.is_standardised:
            mean, std = column_statistics(averages)
            averages, trials, test = (
                standardise(values.astype(np.float32), mean, std) for values in (averages, trials, test)
            )
        weights = None if decoders.rows.weights is None else np.bincount(stimuli).astype(np.float64)
        averaged = decoders.rows.stimuli is None
        rows = TrainingRows(averages, weights=weights) if averaged else TrainingRows(trials, single.stimuli)
        yield decoders.fitted_on(rows, numbers).decode(test)

    @cached_property
    def _trials(self) -> SingleTrials:
        return self.data.trials("train")

    @cached_property
    def _numbers(self) -> Int[np.ndarray, " n_sessions"]:
        numbers: Int[np.ndarray, " n_sessions"] = np.unique(self._trials.sessions)
        return numbers

    def _inside(self, count: int) -> Bool[np.ndarray, " n_trials"]:
        inside: Bool[np.ndarray, " n_trials"] = np.isin(self._trials.sessions, self._numbers[:count])
        return inside

    def _suits(self, count: int) -> bool:
        from braindiffuser.errors import RunError

        n = len(np.unique(self._trials.stimuli[self._inside(count)]))
        try:
            self.data.decoders().regressor.check_stimuli(n)
        except RunError:  # fewer stimuli than folds
            return False
        return n >= FEWEST_TO_FIT
