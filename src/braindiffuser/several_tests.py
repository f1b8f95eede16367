"""Several tests that are read together: what each p value counts for then."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjust p values so that all may be read together (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    p̃_(k) = min(1, max_{j ≤ k} (n − j) p_(j)),    p_(0) ≤ … ≤ p_(n−1)

    The chance that any p̃ of a true null hypothesis is at most α is at most α, whatever the tests depend on.

    Args:
        p_values: name of each test → its p value.

    Returns:
        Name → adjusted p value, in the order of `p_values`.

    >>> holm({"V1": 0.01, "V2": 0.04, "V3": 0.03})
    {'V1': 0.03, 'V2': 0.06, 'V3': 0.06}
    """
    largest, adjusted = 0.0, {}
    for n_before, (name, p) in enumerate(sorted(p_values.items(), key=lambda each: each[1])):
        largest = max(largest, p * (len(p_values) - n_before))
        adjusted[name] = min(1.0, largest)
    return {name: adjusted[name] for name in p_values}
