"""A small map of regions: where their voxels lie, in two views."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Int

from braindiffuser.report.sections import Figure

HEIGHT, GAP, TOP = 240, 40, 24
"""Pixels: about how high the views are, between them, and for what is written above them."""
UNKNOWN = "how the recording's axes lie in the head is not known"
VIEWS = {("from above", "axes 1 and 2"): (0, 1), ("from the right", "axes 2 and 3"): (1, 2)}
"""View, called by where it is seen from or by its axes → the axes that point to the right and up in it."""


def region_map(
    cells: Int[np.ndarray, "n_voxels 3"], regions: Mapping[str, Bool[np.ndarray, " n_voxels"]], *, oriented: bool
) -> Figure:
    """Draw which places each region holds.

    A cell belongs to a region if it holds one of its voxels, at any depth. Larger regions lie below smaller ones.

    Args:
        cells: of each voxel, on a grid, from 0.
        regions: name → its voxels; regions may overlap.
        oriented: whether the axes of the grid point right, to the front and up.
        oriented: whether the axes of the grid point right, to the front and up.

    Returns:
        The map, whose parts have the attribute `data-region`.
    """
    extent = (cells.max(axis=0) + 1).tolist()
    size = max(2, HEIGHT // max(extent[up] for _, up in VIEWS.values()))
    height = TOP + size * max(extent[up] for _, up in VIEWS.values())
    order = sorted(regions, key=lambda name: -int(np.count_nonzero(regions[name])))
    parts, left = [], 0
    for (seen_from, axes), (right, up) in VIEWS.items():
        flat = np.stack([cells[:, right], extent[up] - 1 - cells[:, up]], axis=1)
        parts.append(f'<g transform="translate({left} {TOP})">')
        parts.append(f'<text y="-9" font-size="13" fill="var(--muted)">{seen_from if oriented else axes}</text>')
        parts.append(f'<path class="voxels" d="{_path(flat, size)}"><title>analysed voxels</title></path>')
        for name in order:
            said = html.escape(name)
            path = _path(flat[regions[name]], size)
            parts.append(f'<path data-region="{said}" d="{path}"><title>{said}</title></path>')
        parts.append("</g>")
        left += size * extent[right] + GAP
    width = left - GAP
    return Figure(
        svg=f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{"".join(parts)}</svg>',
        note=f"Voxels of each region, at any depth; {'right is right' if oriented else UNKNOWN}. Regions may overlap, and larger "
        "ones lie below smaller ones.",
    )


def _path(cells: Int[np.ndarray, "n 2"], size: int) -> str:
    """Return the outline of cells (column, row) of `size` pixels as a path of rectangles, one for each run in a row."""
    unique = np.unique(cells[:, ::-1], axis=0)[:, ::-1]
    rows = groupby(unique.tolist(), key=lambda cell: cell[1])
    runs = [(start, y, n) for y, row in rows for start, n in _runs([x for x, _ in row])]
    return "".join(f"M{x * size} {y * size}h{n * size}v{size}h{-n * size}z" for x, y, n in runs)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield start and length of each run of consecutive numbers, which come in order."""
    for _, run in groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        members = [number for _, number in run]
        yield members[0], len(members)
