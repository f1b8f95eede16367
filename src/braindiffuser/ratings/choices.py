"""Which choices raters are asked to make: what was seen above, two pictures below, of which one is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.metrics.baselines import derangement

Side: TypeAlias = Literal["left", "right"]
ComparisonKind: TypeAlias = Literal["other_picture", "method", "catch"]
"""What a reconstruction is compared with: that of another picture, or another method's of the same one. In catch trials, which
only show whether a rater looks, the picture that was seen itself is one of the two."""
OTHER_PICTURE = "another picture"
"""Name of comparisons with the reconstruction of another picture."""


class Shown(NamedTuple):
    """One picture.

    Attributes:
        method: that made it; "" for a picture that was seen.
        name: of the picture.
    """

    method: str
    name: str


class Choice(NamedTuple):
    """One trial.

    Attributes:
        seen: name of the picture above.
        right: the picture that belongs to it.
        wrong: the other one.
        right_side: where the right one stands.
        kind: what is compared.
        comparison: its name: the other method's name, which may be any text, `OTHER_PICTURE`, or "catch".
    """

    seen: str
    right: Shown
    wrong: Shown
    right_side: Side
    kind: ComparisonKind
    comparison: str


def plan_choices(
    names: Sequence[str], methods: Sequence[str], n_trials: int, n_catch: int, rng: np.random.Generator
) -> list[Choice]:
    """Plan the trials of a page, in random order.

    Of one method, its reconstruction of each picture is compared with its reconstruction of another one. Of several, the first
    method's is compared with every other method's of the same picture. In catch trials the picture that was seen is compared with
    a reconstruction of another picture. The right one stands on the left in half of all trials of each kind.

    Args:
        names: of the pictures.
        methods: their names; the first is the one that is judged.
        n_trials: pictures to ask about, for each comparison; those are drawn at random if there are more.
        n_catch: number of catch trials.
        rng: source of the draws.

    Raises:
        RunError: if there are fewer than two pictures to ask about.
    """
    n = min(n_trials, len(names))
    if n < 2:
        raise RunError(f"a page asks about two pictures or more, got {n}: give more pictures, or a larger --trials")
    own, others = methods[0], list(methods[1:])
    made = []
    for other in others or [OTHER_PICTURE]:
        asked = rng.choice(len(names), n, replace=False)
        wrong = asked[derangement(n, rng)]
        for place, side in zip(range(n), _sides(n, rng), strict=True):
            seen = names[asked[place]]
            against = Shown(other, seen) if others else Shown(own, names[wrong[place]])
            kind: ComparisonKind = "method" if others else "other_picture"
            made.append(Choice(seen, Shown(own, seen), against, side, kind, other))
    caught = rng.choice(len(names), n_catch, replace=n_catch > len(names))
    for number, side in zip(caught, _sides(n_catch, rng), strict=True):
        another = names[(number + int(rng.integers(1, len(names)))) % len(names)]
        made.append(Choice(names[number], Shown("", names[number]), Shown(own, another), side, "catch", "catch"))
    return [made[number] for number in rng.permutation(len(made))]


def _sides(n: int, rng: np.random.Generator) -> list[Side]:
    """Return sides in random order, as many of one as of the other."""
    sides: list[Side] = ["left", "right"]
    start = int(rng.integers(2))
    return [sides[(start + int(number)) % 2] for number in rng.permutation(n)]
