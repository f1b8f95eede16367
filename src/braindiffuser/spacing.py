"""Some of many, evenly spaced."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def evenly_spaced(n: int, at_most: int | None) -> Int[np.ndarray, " m"]:
    """Return the numbers of at most so many of n pictures, evenly spaced from the first to the last; None: all.

    Of m pictures, number k is k (n - 1) / (m - 1), rounded; one alone is the first.

    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(7, 3).tolist(), evenly_spaced(2, 3).tolist()
    ([0, 3, 6, 9], [0, 3, 6], [0, 1])
    """
    return np.rint(np.linspace(0, n - 1, n if at_most is None else min(n, at_most))).astype(np.int64)
