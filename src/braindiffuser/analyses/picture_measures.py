"""What pictures look like, in numbers: colour, contrast, and where in the picture something is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Pictures

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


RANGES: Mapping[str, tuple[float, float]] = {
    "luminance": (0.0, 1.0),
    "red_green": (-1.0, 1.0),
    "blue_yellow": (-1.0, 1.0),
    "contrast": (0.0, 0.5),
    "right": (-1.0, 1.0),
    "up": (-1.0, 1.0),
    "eccentricity": (0.0, 2**0.5),
}
"""Measure → smallest and largest possible value."""


class Colour(NamedTuple):
    """Colour and contrast of pictures, each (n,).

    Attributes:
        luminance: mean of 0.299 R + 0.587 G + 0.114 B, in [0, 1].
        red_green: mean of R − G, in [−1, 1].
        blue_yellow: mean of B − (R + G) / 2, in [−1, 1].
        contrast: standard deviation of luminance over the picture, in [0, 0.5].
    """

    luminance: Float[np.ndarray, " n"]
    red_green: Float[np.ndarray, " n"]
    blue_yellow: Float[np.ndarray, " n"]
    contrast: Float[np.ndarray, " n"]


class Place(NamedTuple):
    """Where in the picture energy lies, each (n,), in units of half the picture's side from its centre.

    Attributes:
        right: mean place from left (−1) to right (1).
        up: mean place from bottom (−1) to top (1).
        eccentricity: mean distance from the centre, in [0, √2].
    """

    right: Float[np.ndarray, " n"]
    up: Float[np.ndarray, " n"]
    eccentricity: Float[np.ndarray, " n"]


def luminance(pictures: Pictures) -> Float[np.ndarray, "n height width"]:
    """0.299 R + 0.587 G + 0.114 B of each pixel, in [0, 1]."""
    grey: Float[np.ndarray, "n height width"] = np.tensordot(pictures, np.array(LUMINANCE, np.float32), (1, 0))
    return grey


def colours(pictures: Pictures) -> Colour:
    """Measure mean colour and contrast of pictures.

    >>> red = np.zeros((1, 3, 4, 4), np.float32); red[:, 0] = 1
    >>> [round(float(values[0]), 3) for values in colours(red)]
    [0.299, 1.0, -0.5, 0.0]
    """
    grey = luminance(pictures).astype(np.float64)
    r, g, b = pictures.mean(axis=(2, 3), dtype=np.float64).T
    return Colour(grey.mean(axis=(1, 2)), r - g, b - (r + g) / 2, grey.std(axis=(1, 2)))


def added_energy(pictures: Pictures, reference: Pictures) -> Float[np.ndarray, "n height width"]:
    """Mean over colours of (picture − reference)², scaled to a sum of 1 over the picture; even where they are equal.

    Args:
        pictures: (n, 3, height, width).
        reference: of the same shape, such as the pictures of the mean feature drawn with the same noise.
    """
    energy = np.square(pictures.astype(np.float64) - reference).mean(axis=1)
    total = energy.sum(axis=(1, 2), keepdims=True)
    even = np.full_like(energy, 1 / energy[0].size) if len(energy) else energy
    shares: Float[np.ndarray, "n height width"] = np.divide(energy, total, out=even, where=total > 0)
    return shares


def places(energy: Float[np.ndarray, "n height width"]) -> Place:
    """Return the centre of energy maps that sum to 1, and their mean eccentricity.

    >>> corner = np.zeros((1, 4, 4)); corner[0, 0, 3] = 1
    >>> [round(float(values[0]), 3) for values in places(corner)]
    [0.75, 0.75, 1.061]
    """
    height, width = energy.shape[1:]
    right, up = centres(width), -centres(height)
    return Place(
        (energy * right).sum(axis=(1, 2)),
        (energy * up[:, None]).sum(axis=(1, 2)),
        (energy * np.hypot(right, up[:, None])).sum(axis=(1, 2)),
    )


def centres(n: int) -> Float[np.ndarray, " n"]:
    """Centres of n equal parts of [−1, 1].

    >>> centres(4).tolist()
    [-0.75, -0.25, 0.25, 0.75]
    """
    parts: Float[np.ndarray, " n"] = (2 * np.arange(n) + 1) / n - 1
    return parts


def cell_means(maps: Float[np.ndarray, "n height width"], side: int) -> Float[np.ndarray, "n cells"]:
    """Average maps within the cells of a grid of side × side, by rows from the top left; cells may differ by a pixel.

    >>> cell_means(np.arange(16.0).reshape(1, 4, 4), 2).tolist()
    [[2.5, 4.5, 10.5, 12.5]]
    """
    rows, columns = (np.linspace(0, size, side + 1).round().astype(int) for size in maps.shape[1:])
    return np.stack(
        [
            maps[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean(axis=(1, 2))
            for i in range(side)
            for j in range(side)
        ],
        axis=1,
    )


def local_contrast(pictures: Pictures, side: int) -> Float[np.ndarray, "n cells"]:
    """Standard deviation of luminance within each cell of a grid of side × side: √(mean of L² − (mean of L)²)."""
    grey = luminance(pictures).astype(np.float64)
    variances = cell_means(np.square(grey), side) - np.square(cell_means(grey, side))
    contrast: Float[np.ndarray, "n cells"] = np.sqrt(np.maximum(variances, 0))
    return contrast
