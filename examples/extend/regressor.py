"""A regressor of one's own: k nearest neighbours, which is not linear.

A test response is decoded as the mean of the targets of the k training stimuli whose responses correlate most with it. For
each target group, k is the one that decodes the training stimuli best, each from all others.

This line of an experiment file uses it:

    regression: {kind: regressor:NearestNeighbours}

Run in this folder:

    braindiffuser run --config regressor.yaml --with regressor --out RUN
"""

from collections.abc import Iterator, Mapping

import numpy as np
from pydantic import Field, PositiveInt

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, silent
from braindiffuser.regression import Decoded, FittedDecoder, Regressor, TargetArray, TestSets, TrainingRows


class NearestNeighbours(Regressor):
    """Mean targets of the training stimuli whose responses correlate most."""

    k: tuple[PositiveInt, ...] = Field(
        (1, 3, 10, 30), min_length=1, description="Numbers of neighbours to choose from."
    )

    def check_stimuli(self, n_stimuli: int) -> None:
        """Check that there are more training stimuli than neighbours."""
        if n_stimuli <= max(self.k):
            raise RunError(
                f"regression.k goes up to {max(self.k)}, but there are {n_stimuli} training stimuli: use fewer"
            )

    def fit(
        self,
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> dict[str, FittedDecoder]:
        """Choose k for each group by the squared error of training stimuli, each decoded from all others."""
        order = _neighbours(rows, max(self.k))
        fitted = {}
        for group in targets:
            values = _flat(targets[group])
            errors = {k: float(((_mean(values, order, k) - values) ** 2).mean()) for k in self.k}
            fitted[group] = FittedDecoder(
                {"k": np.array(min(errors, key=errors.__getitem__))}, {"squared_error": errors}
            )
        return fitted

    def decode(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        responses: TestSets,
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, Decoded]]:
        """Average the targets of each test response's neighbours."""
        order = {name: _neighbours(rows, max(self.k), values) for name, values in responses.items()}
        for group, found in fitted.items():
            values = _flat(targets[group])
            yield group, {name: _mean(values, own, int(found.arrays["k"])) for name, own in order.items()}


def _neighbours(rows: TrainingRows, n: int, responses: np.ndarray | None = None) -> np.ndarray:
    """List the n training stimuli nearest to each response, nearest first; of training stimuli, all but itself."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=n, metric="correlation").fit(rows.averages())
    return np.asarray(search.kneighbors(responses, return_distance=False))


def _flat(targets: TargetArray) -> np.ndarray:
    """Read targets of one group, one row per stimulus."""
    return np.asarray(targets[:], np.float32).reshape(targets.shape[0], -1)


def _mean(values: np.ndarray, order: np.ndarray, k: int) -> np.ndarray:
    """Average the first k neighbours' targets: (n, n_targets); added one by one, since n · k rows may not fit in memory."""
    total = np.zeros((len(order), values.shape[1]), np.float32)
    for neighbours in order[:, :k].T:
        total += values[neighbours]
    return total / np.float32(k)
