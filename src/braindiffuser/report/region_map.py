"""A small map of regions: where their voxels lie, in two views."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Int

from braindiffuser.report.sections import Figure

HEIGHT, GAP, TOP = 240, 40, 24
"""Pixels: about how high the views are, between them, and for what is written above them."""
LABEL = 13
"""Pixels: size of the letters, each taken to be `LETTER` times as wide."""
LETTER = 0.62
UNKNOWN = "how the recording's axes lie in the head is not known"
VIEWS = {("from above", "axes 1 and 2"): (0, 1), ("from the right", "axes 2 and 3"): (1, 2)}
"""View, called by where it is seen from or by its axes → the axes that point to the right and up in it."""


def region_hue(number: int) -> int:
    """Return the hue, in degrees, of the region of this number: by golden angles, so that neighbours in a list lie far apart."""
    return round(137.508 * number) % 360


def region_map(
    cells: Int[np.ndarray, "n_voxels 3"], regions: Mapping[str, Bool[np.ndarray, " n_voxels"]], *, oriented: bool
) -> Figure:
    """Draw which places each region holds.

    A cell belongs to a region if it holds one of its voxels, at any depth. In each view regions of more cells lie below those of
    fewer. Each has a hue and an outline, and its name where it is uppermost and there is room.

    Args:
        cells: of each voxel, on a grid, from 0.
        regions: name → its voxels; regions may overlap.
        oriented: whether the axes of the grid point right, to the front and up.

    Returns:
        The map, whose areas have the attribute `data-region`.
    """
    extent = (cells.max(axis=0) + 1).tolist()
    size = max(2, HEIGHT // max(extent[up] for _, up in VIEWS.values()))
    height = TOP + size * max(extent[up] for _, up in VIEWS.values())
    hues = {name: region_hue(number) for number, name in enumerate(regions)}
    parts, left = [], 0
    for (seen_from, axes), (right, up) in VIEWS.items():
        flat = np.stack([cells[:, right], extent[up] - 1 - cells[:, up]], axis=1)
        own = {name: np.unique(flat[mask], axis=0) for name, mask in regions.items()}
        order = sorted(own, key=lambda name: (len(own[name]), np.count_nonzero(regions[name])), reverse=True)
        parts.append(f'<g transform="translate({left} {TOP})">')
        parts.append(f'<text y="-9" font-size="{LABEL}" fill="var(--muted)">{seen_from if oriented else axes}</text>')
        parts.append(f'<path class="voxels" d="{_path(flat, size)}"><title>analysed voxels</title></path>')
        for name in order:
            said, hue = html.escape(name), f'style="--hue: {hues[name]}"'
            parts.append(f'<path data-region="{said}" d="{_path(own[name], size)}" {hue}><title>{said}</title></path>')
            parts.append(f'<path class="outline" data-outline="{said}" d="{_outline(own[name], size)}" {hue}/>')
        for name, (x, y) in _label_places(_uppermost(own, order), order[::-1], size, size * extent[right]).items():
            parts.append(f'<text class="name" x="{x}" y="{y}" font-size="{LABEL}">{html.escape(name)}</text>')
        parts.append("</g>")
        left += size * extent[right] + GAP
    width = left - GAP
    return Figure(
        svg=f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{"".join(parts)}</svg>',
        note=f"Voxels of each region, at any depth; {'right is right' if oriented else UNKNOWN}. Regions may overlap, and larger "
        "ones lie below smaller ones.",
    )


def _uppermost(cells: Mapping[str, Int[np.ndarray, "_ 2"]], order: Sequence[str]) -> dict[str, Int[np.ndarray, "_ 2"]]:
    """Return the cells of each region that no later one of `order` covers."""
    owner = {cell: name for name in order for cell in map(tuple, cells[name].tolist())}
    left: dict[str, list[tuple[int, ...]]] = {name: [] for name in order}
    for cell, name in owner.items():
        left[name].append(cell)
    return {name: np.array(sorted(own), np.int64).reshape(-1, 2) for name, own in left.items()}


def _label_places(
    cells: Mapping[str, Int[np.ndarray, "n 2"]], order: Sequence[str], size: int, width: int
) -> dict[str, tuple[int, int]]:
    """Return the middle of each name's baseline, in pixels: on the cell nearest to the centroid of its cells.

    Names without a cell or without room are left out.
    """
    placed: dict[str, tuple[int, int]] = {}
    for name in order:
        if not len(cells[name]):
            continue
        away = np.square(cells[name] - cells[name].mean(axis=0)).sum(axis=1)
        middle, baseline = (round(size * value) for value in (cells[name][int(np.argmin(away))] + 0.5).tolist())
        baseline += LABEL // 3
        half = LETTER * LABEL * len(name) / 2
        is_free = all(
            abs(x - middle) > half + LETTER * LABEL * len(other) / 2 or abs(y - baseline) > LABEL
            for other, (x, y) in placed.items()
        )
        if is_free and half <= middle <= width - half:
            placed[name] = (middle, baseline)
    return placed


def _outline(cells: Int[np.ndarray, "n 2"], size: int) -> str:
    """Return the sides of cells (column, row) of `size` pixels that have a cell on one side alone, joined to straight lines."""
    own = set(map(tuple, cells.tolist()))
    lines = []
    for across in (0, 1):  # sides that lie along the columns' axis, then along the rows'
        step = (0, 1) if across == 0 else (1, 0)
        ends: dict[int, list[int]] = {}
        for cell in own:
            for sign in (0, 1):
                if (cell[0] + (2 * sign - 1) * step[0], cell[1] + (2 * sign - 1) * step[1]) not in own:
                    ends.setdefault(cell[1 - across] + sign, []).append(cell[across])
        for place, starts in sorted(ends.items()):
            for start, n in _runs(sorted(starts)):
                x, y = (start, place) if across == 0 else (place, start)
                lines.append(f"M{x * size} {y * size}{'h' if across == 0 else 'v'}{n * size}")
    return "".join(lines)


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
