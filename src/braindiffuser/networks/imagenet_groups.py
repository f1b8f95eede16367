"""Classes of ImageNet-1k in a few groups that regions of the visual cortex are known to tell apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float


def _numbers(text: str) -> tuple[int, ...]:
    """Read numbers and ranges.

    >>> _numbers("7 10-12")
    (7, 10, 11, 12)
    """
    ends = [part.split("-") for part in text.split()]
    return tuple(number for first, *last in ends for number in range(int(first), int((last or [first])[0]) + 1))


GROUPS: Mapping[str, tuple[int, ...]] = {
    "animal": _numbers("0-397"),
    "person": _numbers("981-983"),
    "food": _numbers("924-957 959-967 969 987"),
    "vehicle": _numbers(
        "403-405 407 408 417 436 444 450 466 468 472 484 510 511 537 547 554 555 561 565 569 573 575 576 586 595 603 609 612 "
        "625 627 628 654 656 661 665 670 671 675 690 705 717 734 751 757 779 780 802 803 812 814 817 820 829 833 847 856 864 "
        "866 867 870 871 874 880 895 914"
    ),
    "building": _numbers(
        "415 424 425 437 442 449 454 460 467 483 497 498 500 509 525 536 538 540 562 580 582 624 634 649 663 668 682 698 706 "
        "718 727 743 755 762 788 807 821 825 832 839 853 858 860 865 873 884 888 900 915"
    ),
    "landscape": _numbers("970 972-980"),
    "writing": _numbers("916-919 921 922"),
}
"""Group → numbers of its classes, 0 … 999. The others are mostly tools, clothes, furniture and plants; none is of faces."""


def group_probabilities(probabilities: Float[np.ndarray, "n 1000"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Add the probabilities of the classes of each group: group → (n,), in [0, 1].

    >>> sure = np.eye(1000)[[281, 963]]  # tabby cat, pizza
    >>> {name: values.tolist() for name, values in group_probabilities(sure).items() if values.any()}
    {'animal': [1.0, 0.0], 'food': [0.0, 1.0]}
    """
    return {name: probabilities[:, classes].sum(axis=1) for name, classes in GROUPS.items()}
