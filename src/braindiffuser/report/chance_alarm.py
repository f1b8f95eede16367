"""The alarm of scores at chance: what is probably wrong, and how to find out."""

from __future__ import annotations

from collections.abc import Mapping
from math import factorial
from typing import Any

from braindiffuser.report.numbers import p_sentence

LEVEL = 0.05
"""Level of p values, corrected for how many there are (Holm), above which nothing is beyond chance."""
HOW_TO_CHECK = (
    "Compare trials.csv in the run's folder with the log of the experiment: are trials in the order of the betas, in every "
    "session, and are stimuli counted from 0 or from 1 alike? `braindiffuser check FILE`, with the experiment file, prints "
    "how the recording was understood. `braindiffuser analyse decoder_accuracy --out RUN` adds cross-validation on the training "
    "pictures: at chance there too, the training trials are misaligned; well above it there, only the test trials are."
)


SAME_FOR_ALL = 0.5
"""Mean correlation of predictions of different pictures from which on they count as one prediction for all, if that of true
features is less than half of theirs."""


def too_few_to_exchange(n_images: int, n_tested: int) -> bool:
    """Return whether pictures can be exchanged in too few ways for p to reach .05 safely, corrected for the number of tests.

    The smallest p is 1/n!, and exchanges are drawn: twice as many ways as that takes leave room for the draw.

    >>> too_few_to_exchange(4, 1), too_few_to_exchange(5, 1), too_few_to_exchange(5, 6)
    (True, False, True)
    """
    return factorial(min(n_images, 20)) < 2 * n_tested / LEVEL


def is_same_for_all(twins: Mapping[str, Any]) -> bool:
    """Return whether predictions of different pictures are much the same, though true features are not."""
    decoded, true = (twins.get(f"{name}_correlation", 0.0) for name in ("decoded", "true"))
    return bool(decoded >= SAME_FOR_ALL and true < decoded / 2)


def are_same_for_all(groups: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether this is so of every group of features; False if there is none."""
    return bool(groups) and all(is_same_for_all(own.get("twins", {})) for own in groups.values())


def chance_alarm(p_values: Mapping[str, float], n_images: int, what: str, are_same: bool = False) -> str:
    """Say that nothing is beyond chance, and how to check why; "" if something is, or there is nothing to go by.

    The smallest of k p values is multiplied by k (the first step of Holm's correction).

    Args:
        p_values: by the name of what was tested.
        n_images: number of test pictures that were exchanged.
        what: what was tested, in the plural, such as "groups of features".
        are_same: whether decoded features are much the same for all pictures, which explains it.

    >>> chance_alarm({"vision": 0.001, "text": 0.6}, 100, "groups of features")
    ''
    """
    if not p_values:
        return ""
    smallest = min(p_values.values())
    corrected = min(1.0, smallest * len(p_values))
    if corrected <= LEVEL:
        return ""
    if too_few_to_exchange(n_images, len(p_values)):
        return f"{n_images} test pictures are too few to tell the {what} from chance."
    of_several = f"; corrected for {len(p_values)}: {p_sentence(corrected)}" if len(p_values) > 1 else ""
    which = (
        f"None of the {len(p_values)} {what} is"
        if len(p_values) > 1
        else f"The {what} ({next(iter(p_values))}) are not"
    )
    why = (
        "predictions are much the same for all pictures, so look at these first"
        if are_same
        else "trials and pictures are probably misaligned"
    )
    return f"{which} beyond chance (smallest {p_sentence(smallest)}{of_several}): {why}. {HOW_TO_CHECK}"
