"""The one check that what a part gives is an array of real numbers in the expected shape."""

from __future__ import annotations

from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Shaped

from braindiffuser.errors import RunError

Sides: TypeAlias = tuple[int | EllipsisType | None, ...]
"""Length of each axis; None: any but 0; ... at the end: any further axes, none of them empty."""


def real_numbers(
    made: Any, came: str, shape: Sides = (...,), dtype: Any = None, error: type[Exception] = RunError
) -> Shaped[np.ndarray, " ..."]:
    """Return what a part made as an array, if it holds real numbers in the expected shape.

    Args:
        made: anything.
        came: how it came, which begins the message: "features of clip came as", say.
        shape: expected.
        dtype: expected; None: any type of real numbers.
        error: raised if something else came.
    """
    try:
        values = np.asarray(made)
    except (ValueError, TypeError, RuntimeError):  # such as rows of several lengths
        values = np.empty((), object)
    is_real = values.dtype.kind in "fiu" if dtype is None else values.dtype == dtype
    if is_real and (shape == (...,) or _fits(values.shape, shape)):
        return values
    found = "no array" if values.dtype == object and not values.ndim else f"{values.dtype} of shape {values.shape}"
    expected = "real numbers" if dtype is None else f"{np.dtype(dtype)}"
    sides = "" if shape == (...,) else " of shape " + str(shape).replace("None", "any").replace("Ellipsis", "…")
    raise error(f"{came} {found}, expected {expected}{sides}")


def _fits(came: tuple[int, ...], shape: Sides) -> bool:
    if shape[-1:] == (...,):
        shape = (*shape[:-1], *[None] * (len(came) - len(shape) + 1))
    sides = zip(came, shape, strict=False)
    return len(came) == len(shape) and all(side > 0 if own is None else side == own for side, own in sides)
