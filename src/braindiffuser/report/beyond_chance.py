"""Which of several comparisons a page may speak of."""

from __future__ import annotations

import math
from collections.abc import Mapping

from braindiffuser.several_tests import holm

ALPHA = 0.05
"""p up to which a page says that something is beyond chance."""
ROUNDING = 1e-9


def beyond_chance(p_values: Mapping[str, float]) -> set[str]:
    """Return the names whose p stays at most .05 when all are tested together, as `holm` adjusts it.

    >>> sorted(beyond_chance({"V1": 0.01, "V2": 0.02, "V3": 0.2})), beyond_chance({"V1": 0.03, "V2": 0.2})
    (['V1', 'V2'], set())
    """
    return {name for name, p in holm(p_values).items() if p <= ALPHA}


def fewest_draws(n_tested: int = 1, sides: int = 1) -> int:
    """Return how many random sets or exchanges a p of .05 needs that is corrected for the number of tests.

    Of n draws no p is below sides / (1 + n): sides is 2 where p is that of the smaller tail, doubled.

    >>> fewest_draws(), fewest_draws(5), fewest_draws(3, sides=2)
    (19, 99, 119)
    """
    return math.ceil(sides * n_tested / ALPHA - ROUNDING) - 1
