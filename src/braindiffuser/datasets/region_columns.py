"""Regions as columns of a table of voxels: 1 where a voxel belongs to it, 0 where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Shaped

from braindiffuser.errors import RecordingError

_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


class RegionColumns(NamedTuple):
    """The columns of a table of voxels.

    Attributes:
        regions: name → True where a voxel belongs to it, (n_voxels,).
        fractions: columns of numbers within [0, 1] that are not all 0 or 1, such as probabilities, R² or p values: name → values,
            NaN where a cell is empty, (n_voxels,).
        others: names of all other columns.
    """

    regions: dict[str, Bool[np.ndarray, " n_voxels"]]
    fractions: dict[str, Float64[np.ndarray, " n_voxels"]]
    others: tuple[str, ...]


def regions_in(table: pd.DataFrame, is_other: Callable[[str], bool]) -> RegionColumns:
    """Tell the columns of 0 and 1 (or true and false) from others.

    Args:
        table: one row per voxel; where a column is empty, the voxel does not belong to the region.
        is_other: whether a column of this name is known to be none, whatever it holds; it is not listed.
    """
    regions, fractions, others = {}, {}, list[str]()
    for name, column in table.items():
        if is_other(str(name)):
            continue
        texts = column.map(lambda value: str(value).strip().lower())
        values = pd.to_numeric(texts.map(_WORDS).where(texts.isin(list(_WORDS)), column), errors="coerce").to_numpy(
            np.float64
        )
        if (np.isnan(values) & column.notna().to_numpy()).any() or not _may_be_region(values):
            others.append(str(name))
        elif np.isin(values[~np.isnan(values)], (0, 1)).all():
            regions[str(name)] = values == 1
        else:
            fractions[str(name)] = values
    return RegionColumns(regions, fractions, tuple(others))


def check_no_fractions(values: Shaped[np.ndarray, " n"], what: str) -> None:
    """Refuse a region whose values are not 0, 1 or NaN, as a resampled or probabilistic one holds.

    Args:
        values: of the region, NaN where it does not apply.
        what: region and where it comes from, for the message.

    Raises:
        RecordingError: there are others.
    """
    others = values[~(np.isnan(values) | (values == 0) | (values == 1))]
    if len(others):
        raise RecordingError(
            f"{what} holds {others[0]:.4g} in a place, and other such numbers in {len(others) - 1:,} more: a region is 1 or 0; "
            "choose a threshold and write 1 and 0, or leave it out"
        )


def _may_be_region(values: Shaped[np.ndarray, " n"]) -> bool:
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool(((known >= 0) & (known <= 1)).all())
