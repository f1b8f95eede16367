"""What one curve varies: its points, and the decoded features or the generator's entries at each. One file is one curve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from braindiffuser.analyses.analysis import RunData
from braindiffuser.errors import RunError

FEWEST_TO_FIT = 8
"""Training stimuli below which no decoder is fitted anew."""

Decoded: TypeAlias = Mapping[str, Float[np.ndarray, "n ..."]]
"""Target group → features of the test stimuli that are scored."""


class Along(ABC):
    """One curve of a run.

    Attributes:
        data: of the run.
        n_draws: random draws at each point, whose scores are averaged.
        rows: places, in the first test set, of the pictures that are scored at every point.
        own: the point at which the run itself lies; None if it lies at none.
    """

    title: ClassVar[str]
    """Of the section."""
    axis: ClassVar[str]
    """Name of the horizontal axis."""
    unit: ClassVar[str]
    """What a number of points counts, in the plural, as sentences say it."""
    doubles: ClassVar[bool] = False
    """Whether a line over log2 of the amount is fitted."""
    saturates: ClassVar[bool] = False
    """Whether the smallest point with 90 % of the last one's gain is looked for."""
    is_logarithmic: ClassVar[bool] = True
    """Whether the axis is drawn so."""
    how_to_read: ClassVar[str]
    """Says on the page what differs from point to point, and what does not."""
    reads: ClassVar[tuple[str, ...]] = ()
    """What it reads of the recording, as an analysis declares it."""
    usual_draws: ClassVar[int] = 1
    """Draws at each point, unless asked for otherwise."""
    of_generator: ClassVar[bool] = False
    """Whether pictures differ from point to point, and features do not."""

    def __init__(self, data: RunData, n_draws: int | None) -> None:
        """Remember the run; nothing is computed yet."""
        self.data, self.n_draws = data, n_draws or self.usual_draws
        first = next(iter(data.test_sets.values()))
        self.first = first
        self.rows: Int[np.ndarray, " n"] = np.arange(first.stop - first.start)
        self.own: float | None = None

    @abstractmethod
    def default_points(self) -> list[float]:
        """Return points, ascending, unless others are asked for; [] if there is no curve."""

    def lacking(self) -> str:
        """Say why there is no curve, as the beginning of a sentence; "" if there is one."""
        return ""

    def settle(self, points: list[float]) -> list[float]:
        """Return the points with the run's own, ascending, after `rows` were chosen for them.

        Raises:
            RunError: if one of them is out of range; says what there is.
        """
        return sorted({*points, *([] if self.own is None else [self.own])})

    def decoded(self, point: float) -> Iterator[Decoded]:
        """Yield features of the pictures of `rows`, draw after draw; not called at the run's own point.

        Raises:
            RunError: if nothing can be fitted there.
        """
        raise NotImplementedError

    def changes(self, point: float) -> Mapping[str, Any]:
        """Return the generator's entries at a point, if the curve is `of_generator`."""
        return {}

    def facts(self, point: float) -> Mapping[str, Any]:
        """Return what else is known of a point, such as a number of trials."""
        return {}

    def test_responses(self) -> Float[np.ndarray, "n n_voxels"]:
        """Return responses of the first test set."""
        return self.data.responses("test")[self.first]

    def refuse(self, wrong: list[float], expected: str) -> None:
        """Raise RunError if there are points out of range."""
        if wrong:
            raise RunError(f"{self.axis} cannot be {exactly(wrong[0])} in this run: choose points {expected}")


class DiffusionEntry(Along):
    """One entry of the generator's `diffusion`; features stay as they are."""

    unit: ClassVar[str] = "values"
    how_to_read: ClassVar[str] = (
        "The same test pictures, drawn from the same decoded features with the same noise; only this entry of the generator "
        "differs. Do not choose a setting by the test pictures that are then reported: hold some out for it."
    )
    is_logarithmic: ClassVar[bool] = False
    of_generator: ClassVar[bool] = True
    entry: ClassVar[str]
    """Name of the entry."""
    usual: ClassVar[tuple[float, ...]]
    """Points beside the run's own."""

    def __init__(self, data: RunData, n_draws: int | None) -> None:
        """Take the run's own value; there is one draw, with the run's own noise."""
        super().__init__(data, 1)
        value = (data.generator.get("diffusion") or {}).get(self.entry)
        self.own = None if value is None else float(value)

    def default_points(self) -> list[float]:
        """Return values over the usual range, and the run's own."""
        return list(self.usual)

    def lacking(self) -> str:
        """Say so where the generator has no such entry."""
        return "" if self.own is not None else f"The generator has no entry diffusion.{self.entry}"

    def changes(self, point: float) -> Mapping[str, Any]:
        """Return the entry with that value; the generator checks its range."""
        return {"diffusion": {self.entry: point}}


def halvings(n: int, fewest: int, most: int = 6) -> list[float]:
    """Return n, n/2, n/4 … down to `fewest`, ascending; at most `most` numbers.

    >>> halvings(100, 8)
    [12.0, 25.0, 50.0, 100.0]
    """
    return sorted(float(n >> step) for step in range(most) if n >> step >= fewest)


def exactly(point: float) -> str:
    """Write a point with all its digits, whole numbers without a dot.

    >>> exactly(8.0), exactly(0.1234567)
    ('8', '0.1234567')
    """
    return repr(float(point)).removesuffix(".0")


@cache
def known_curves() -> tuple[str, ...]:
    """List the curves there are: the files of this folder but this one."""
    return tuple(sorted({path.stem for path in Path(__file__).parent.glob("[a-z]*.py")} - {Path(__file__).stem}))


def along(name: str) -> type[Along]:
    """Return the curve of a name, one of `known_curves`."""
    module = import_module(f"{__package__}.{name}")
    own = (value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__)
    return next(value for value in own if issubclass(value, Along) and not isabstract(value))
