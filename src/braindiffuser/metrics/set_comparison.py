"""Sets of pictures of the same stimuli, perhaps of some test pictures alone, scored among themselves and side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.summary import PerPicture, facts_of, interval_of


def compare_sets(profile: Profile, sets: Mapping[str, PerPicture]) -> dict[str, Any]:
    """Put means and 95 % intervals of several sets of pictures side by side.

    Args:
        profile: the metrics, in order.
        sets: condition → scores picture by picture (n,) by the metric's key, of the same n pictures in all.

    Returns:
        `n_images` and, by metric key, `metrics`: what is known of the metric, `values` and `ci95` by condition.

    Raises:
        ValueError: if sets have scores of different numbers of pictures.
    """
    sizes = {name: len(scores[key]) for name, scores in sets.items() for key in profile.metrics}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"all sets must score the same pictures, got these numbers of them: {sizes}")
    metrics = {
        key: {
            **facts_of(metric),
            "values": {name: float(scores[key].mean()) for name, scores in sets.items()},
            "ci95": {name: interval_of(metric, key, scores) for name, scores in sets.items()},
        }
        for key, metric in profile.metrics.items()
    }
    return {"n_images": next(iter(sizes.values())), "metrics": metrics}
