"""Which of several comparisons a page may speak of."""

from __future__ import annotations

from collections.abc import Mapping

ALPHA = 0.05


def beyond_chance(p_values: Mapping[str, float]) -> set[str]:
    """Return the names whose p stays at most .05 when all are tested (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    In ascending order, the k-th of n values (k = 0 …) is compared with .05 / (n - k); the first that is larger ends it.

    >>> sorted(beyond_chance({"V1": 0.01, "V2": 0.02, "V3": 0.2})), beyond_chance({"V1": 0.03, "V2": 0.2})
    (['V1', 'V2'], set())
    """
    found: set[str] = set()
    for n_before, (name, p) in enumerate(sorted(p_values.items(), key=lambda each: each[1])):
        if p * (len(p_values) - n_before) > ALPHA:
            break
        found.add(name)
    return found


def is_out_of_reach(n_random: int, n_tested: int) -> bool:
    """Return whether the smallest p that n random sets can give, 1 / (1 + n), is above .05 once it is corrected.

    >>> is_out_of_reach(20, 1), is_out_of_reach(18, 1), is_out_of_reach(100, 8)
    (False, True, True)
    """
    return n_tested / (1 + n_random) > ALPHA
