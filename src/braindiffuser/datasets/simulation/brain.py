"""The simulated subject's brain: where its voxels lie, what each of them responds to, and how noisy it is.

Early voxels respond to an oriented-energy and colour bank within a population receptive field (pRF); higher voxels to
sparse combinations of EfficientNet-Lite2 features. Both are linear in those features, so that a linear decoder can find
layout and colour in the first and content in the second. A brain is a table with one row per voxel of the brain mask,
in C order of the volume; see `draw_brain` for its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Complex64, Float, Float32
from scipy import fft
from skimage.filters import gabor_kernel

from braindiffuser.arrays import Matrix, Pictures, Vector
from braindiffuser.datasets.normalisation import column_statistics, standardise
from braindiffuser.datasets.rois import LABELS
from braindiffuser.errors import RecordingError
from braindiffuser.images import resize
from braindiffuser.networks.efficientnet_lite import EfficientNetLite

FIELD_OF_VIEW = 8.4
"""Side of the picture in degrees of visual angle, as in NSD: its edges lie 4.2 degrees from fixation."""
LARGEST_ECCENTRICITY = 5.5
ECCENTRICITY_BANDS = (0.5, 1.0, 2.0, 4.0)
"""Upper limits in degrees of the first four `prf-eccrois`; the fifth has none."""
HALF_MAGNIFICATION = 1.5
"""Eccentricity in degrees at which cortical magnification has halved."""

BANK_SIZE, BANK_MARGIN = 64, 16
"""Filter-bank input: pictures of 64 pixels in a 16-pixel mid-grey border."""
WAVELENGTHS = (4, 8, 16)
"""Pixels per cycle: 1.9, 0.95 and 0.48 cycles per degree."""
N_ORIENTATIONS = 4
N_COLOURS = 3
N_CHANNELS = N_COLOURS + len(WAVELENGTHS) * N_ORIENTATIONS
"""Luminance, red-green, blue-yellow; then energy, wavelength by wavelength, orientations fastest."""
MAP_SIZE = (BANK_SIZE + 2 * BANK_MARGIN) // 2
SEMISATURATION = 0.05
"""Mean energy at which the normalised energy reaches half of its maximum."""

NETWORK_INPUT = 96
"""EfficientNet-Lite2 sees the 64-pixel scenes enlarged to 96 pixels, not its usual 260: seven times faster."""
FEATURES_PER_VOXEL = 30

ROI_LABELS: Mapping[str, tuple[str, ...]] = {
    "nsdgeneral": ("nsdgeneral",),
    **{roi: tuple(names.values()) for roi, names in LABELS.items()},
    "floc-food": ("food",),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
}
"""Names of the labels 1, 2, … of NSD's ROI collections, and of a food region beside them. Scenes show no face and no
text: no voxel has a label of `floc-faces` or `floc-words`; nor of `mTL-bodies`."""

PREFERENCES = {"floc-places": "building", "floc-bodies": "animal", "floc-food": "food"}
"""The category of objects or backgrounds that the voxels of a collection prefer."""


class _Area(NamedTuple):
    """One early area of one hemisphere; they are stacked from ventral to dorsal in the order of `_AREAS`."""

    label: int  # in prf-visualrois
    share: float  # of the early voxels
    ventral_angle: float  # degrees above the horizontal meridian at the ventral border; 90 is straight up
    dorsal_angle: float  # the same at the dorsal border; neighbours mirror each other
    foveal_size: float  # pRF size (standard deviation) in degrees at fixation
    size_slope: float  # growth of the size per degree of eccentricity


_AREAS = (
    _Area(7, 0.16, -90, 90, 0.60, 0.25),
    _Area(5, 0.11, 90, 0, 0.45, 0.17),
    _Area(3, 0.14, 0, 90, 0.35, 0.12),
    _Area(1, 0.17, 90, 0, 0.25, 0.08),
    _Area(2, 0.17, 0, -90, 0.25, 0.08),
    _Area(4, 0.14, -90, 0, 0.35, 0.12),
    _Area(6, 0.11, 0, -90, 0.45, 0.17),
)

MEAN_NOISE_CEILINGS = {1: 49.0, 2: 41.0, 3: 37.0, 4: 33.0, 5: 39.0, 6: 35.0, 7: 29.0}
"""Mean noise ceiling in percent (3 trials) that is drawn for the voxels of each label of `streams`."""
NOISE_CEILING_RANGE = (3.0, 82.0)


def draw_brain(grid: tuple[int, int, int], n_early: int, n_higher: int, rng: np.random.Generator) -> pd.DataFrame:
    """Place the voxels, draw their tuning and noise.

    An ellipsoid fills the grid (left to right, posterior to anterior, inferior to superior). Its core is white matter,
    the rest cortex; from the back come the early voxels, the higher voxels, and unresponsive cortex.

    Args:
        grid: voxels along x, y, z.
        n_early: voxels of V1 to hV4.
        n_higher: further voxels of nsdgeneral.
        rng: source of every choice.

    Returns:
        One row per voxel in the brain, in C order: `x`, `y`, `z` (0-based); `hemisphere` (`lh`, `rh`); `cortex` (bool);
        `kind` (`early`, `higher`, `unresponsive`); one column per collection of `ROI_LABELS` (0: none);
        `prf_x`, `prf_y` (degrees right of and above fixation), `prf_eccentricity`, `prf_size` (degrees), `prf_angle`
        (degrees, 0 right, 90 up), NaN except in early voxels; `prefers` (a category or empty); `noise_ceiling`
        (percent, 3 trials), `ncsnr`; `mean`, `signal_sd`, `noise_sd` (percent signal change).

    Raises:
        RecordingError: if the cortex has too few voxels.
    """
    brain = _place_tissue(grid)
    order = np.flatnonzero(brain["cortex"])[np.argsort(brain.loc[brain["cortex"], "y"], kind="stable")]
    if len(order) < n_early + n_higher:
        raise RecordingError(
            f"a grid of {grid} has {len(order)} voxels of cortex, fewer than the {n_early} early and {n_higher} higher"
            " ones asked for: make the grid larger"
        )
    brain["kind"] = "unresponsive"
    brain.loc[order[:n_early], "kind"] = "early"
    brain.loc[order[n_early : n_early + n_higher], "kind"] = "higher"
    brain = brain.assign(**dict.fromkeys(ROI_LABELS, 0))
    brain["nsdgeneral"] = (brain["kind"] != "unresponsive").astype(int)
    for _, hemisphere in brain[brain["kind"] == "early"].groupby("hemisphere"):
        _draw_retinotopy(brain, hemisphere, rng)
    for _, hemisphere in brain[brain["kind"] == "higher"].groupby("hemisphere"):
        _divide_higher_cortex(brain, hemisphere, rng)
    brain["prefers"] = ""
    for roi, category in PREFERENCES.items():
        brain.loc[brain[roi] > 0, "prefers"] = category
    _draw_amplitudes(brain, rng)
    return brain


def _place_tissue(grid: tuple[int, int, int]) -> pd.DataFrame:
    x, y, z = np.indices(grid)
    radius = np.sqrt(sum(((2 * i + 1) / n - 1) ** 2 for i, n in zip((x, y, z), grid, strict=True)))
    inside = radius <= 1
    hemisphere = np.where(2 * x[inside] < grid[0], "lh", "rh")
    return pd.DataFrame(
        {
            "x": x[inside],
            "y": y[inside],
            "z": z[inside],
            "hemisphere": hemisphere,
            "cortex": radius[inside] > 0.45,
            "depth": np.abs(2 * x[inside] + 1 - grid[0]),
        }
    )


def _quantiles(values: pd.Series, rng: np.random.Generator) -> Vector:
    """Rank values with ties in random order: (rank + 1/2) / n, in (0, 1)."""
    order = np.lexsort((rng.random(len(values)), values.to_numpy()))
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return (ranks + 0.5) / len(values)


def _draw_retinotopy(brain: pd.DataFrame, early: pd.DataFrame, rng: np.random.Generator) -> None:
    """Write areas, pRFs and eccentricity bands of one hemisphere's early voxels.

    Log-polar map (Schwartz 1980): eccentricity = a ((E + a) / a)^q − a, with q from 0 at the back to 1 at the front.
    """
    dorsal = _quantiles(early["z"], rng)
    borders = np.cumsum([0] + [area.share for area in _AREAS])
    for area, ventral_end, dorsal_end in zip(_AREAS, borders[:-1], borders[1:], strict=True):
        voxels = early[(dorsal >= ventral_end) & (dorsal < dorsal_end)]
        above = area.ventral_angle + _quantiles(voxels["z"], rng) * (area.dorsal_angle - area.ventral_angle)
        front = _quantiles(voxels["y"], rng)
        a = HALF_MAGNIFICATION
        eccentricity = a * ((LARGEST_ECCENTRICITY + a) / a) ** front - a
        # the left hemisphere sees the right half of the field
        angle = np.where(voxels["hemisphere"] == "lh", above, 180 - above) % 360
        columns = {
            "prf-visualrois": area.label,
            "prf-eccrois": 1 + np.searchsorted(ECCENTRICITY_BANDS, eccentricity),
            "streams": 2 if area.label == 7 else 1,
            "prf_eccentricity": eccentricity,
            "prf_angle": angle,
            "prf_x": eccentricity * np.cos(np.deg2rad(angle)),
            "prf_y": eccentricity * np.sin(np.deg2rad(angle)),
            "prf_size": area.foveal_size + area.size_slope * eccentricity,
        }
        for name, values in columns.items():
            brain.loc[voxels.index, name] = values


def _divide_higher_cortex(brain: pd.DataFrame, higher: pd.DataFrame, rng: np.random.Generator) -> None:
    """Write streams and category-selective regions of one hemisphere: boxes in rank-transformed coordinates."""
    lateral, anterior, dorsal = (_quantiles(higher[axis], rng) for axis in ("depth", "y", "z"))
    stream = np.select([dorsal < 0.4, dorsal < 0.75], [0, 1], 2)  # ventral, lateral, parietal
    middle = anterior < 1 / 3
    brain.loc[higher.index, "streams"] = np.where(middle, 2, 5) + stream
    regions = {
        ("floc-places", 1): (stream == 1) & (lateral < 0.5) & (anterior < 0.6),  # OPA
        ("floc-places", 2): (stream == 0) & (lateral < 0.3) & ~middle,  # PPA
        ("floc-places", 3): (stream == 2) & (lateral < 0.5),  # RSC
        ("floc-bodies", 1): (stream == 1) & (lateral >= 0.5) & (anterior < 0.7),  # EBA
        ("floc-bodies", 2): (stream == 0) & (lateral >= 0.55) & ~middle & (anterior < 2 / 3),  # FBA-1
        ("floc-bodies", 3): (stream == 0) & (lateral >= 0.55) & (anterior >= 2 / 3),  # FBA-2
        ("floc-food", 1): (stream == 0) & (lateral >= 0.3) & (lateral < 0.55) & ~middle,
    }
    for (roi, label), inside in regions.items():
        brain.loc[higher.index[inside], roi] = label


def _draw_amplitudes(brain: pd.DataFrame, rng: np.random.Generator) -> None:
    """Draw noise ceilings, and split each voxel's variance by them.

    NC = 100 · ncsnr² / (ncsnr² + 1/3), ncsnr = signal_sd / noise_sd (Allen et al. 2022).
    """
    lowest, highest = NOISE_CEILING_RANGE
    mean = (brain["streams"].map(MEAN_NOISE_CEILINGS).fillna(lowest + 1).to_numpy() - lowest) / (highest - lowest)
    ceiling = lowest + (highest - lowest) * rng.beta(4 * mean, 4 * (1 - mean))
    ceiling = np.where(brain["nsdgeneral"] > 0, np.clip(ceiling, lowest, highest), 0)
    total_sd = 1.4 * np.exp(rng.normal(0, 0.25, len(brain)))
    activation = rng.normal(1.1, 0.4, len(brain)) * (brain["nsdgeneral"] > 0)
    ncsnr = np.sqrt(ceiling / 100 / (3 * (1 - ceiling / 100)))
    brain["noise_ceiling"], brain["ncsnr"], brain["mean"] = ceiling, ncsnr, activation
    brain["signal_sd"] = total_sd * ncsnr / np.sqrt(1 + ncsnr**2)
    brain["noise_sd"] = total_sd / np.sqrt(1 + ncsnr**2)


def channel_maps(pictures: Pictures) -> Float32[np.ndarray, "n channels rows columns"]:
    """Compute the early visual channels of pictures.

    Energy: E = |L * g| with a Gabor quadrature pair g, normalised as E / (s + mean of E over orientations)
    (Heeger 1992). Colour: L = 0.299 R + 0.587 G + 0.114 B − 1/2, R − G, B − (R + G) / 2, all 0 on the grey screen.

    Returns:
        (n, 15, 48, 48): at half resolution, with the screen's margin; the first three channels are signed.
    """
    red, green, blue = resize(pictures, BANK_SIZE).transpose(1, 0, 2, 3)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue - np.float32(0.5)
    colours = np.stack([luminance, red - green, blue - (red + green) / 2], 1)
    margin = (BANK_MARGIN, BANK_MARGIN)
    colours = np.pad(colours, ((0, 0), (0, 0), margin, margin))
    spectrum = fft.fft2(colours[:, :1], workers=1)
    maps = [_halve(colours)]
    for transfer in np.split(_gabor_transfer(), len(WAVELENGTHS)):
        energy = np.abs(fft.ifft2(spectrum * transfer, workers=1))
        maps.append(_halve(energy / (np.float32(SEMISATURATION) + energy.mean(1, keepdims=True))))
    return np.concatenate(maps, 1).astype(np.float32, copy=False)


def _halve(
    maps: Float[np.ndarray, "n channels rows columns"],
) -> Float[np.ndarray, "n channels half_rows half_columns"]:
    n, channels, rows, columns = maps.shape
    halves: Float[np.ndarray, "n channels half_rows half_columns"] = maps.reshape(
        n, channels, rows // 2, 2, columns // 2, 2
    ).mean((3, 5))
    return halves


@cache
def _gabor_transfer() -> Complex64[np.ndarray, "filters rows columns"]:
    """Fourier transforms (12, 96, 96) of the Gabor pairs, without DC, with a largest gain of 1."""
    side = BANK_SIZE + 2 * BANK_MARGIN
    transfers = []
    for wavelength in WAVELENGTHS:
        for number in range(N_ORIENTATIONS):
            kernel = gabor_kernel(1 / wavelength, theta=np.pi * number / N_ORIENTATIONS)
            padded = np.zeros((side, side), np.complex64)
            padded[: kernel.shape[0], : kernel.shape[1]] = kernel
            centred = np.roll(padded, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
            transfer = fft.fft2(centred)
            transfer[0, 0] = 0
            transfers.append(transfer / np.abs(transfer).max())
    return np.stack(transfers)


def prf_pooling(prf_x: Vector, prf_y: Vector, prf_size: Vector) -> Float32[np.ndarray, "positions n_voxels"]:
    """Weigh the positions of the channel maps: exp(−((u − x)² + (v − y)²) / 2 size²), with sum 1 per voxel.

    Args:
        prf_x: degrees right of fixation.
        prf_y: degrees above fixation.
        prf_size: standard deviation in degrees.

    Returns:
        (48 · 48, n_voxels), positions by rows from the top.
    """
    degrees = (np.arange(MAP_SIZE) - (MAP_SIZE - 1) / 2) * 2 * FIELD_OF_VIEW / BANK_SIZE
    across = np.exp(-((degrees[:, None] - prf_x) ** 2) / (2 * prf_size**2))
    down = np.exp(-((-degrees[:, None] - prf_y) ** 2) / (2 * prf_size**2))
    pooling = (down[:, None] * across[None]).reshape(MAP_SIZE**2, -1)
    normalised: Float32[np.ndarray, "positions n_voxels"] = (pooling / pooling.sum(0)).astype(np.float32)
    return normalised


def draw_channel_weights(n_voxels: int, rng: np.random.Generator) -> Float32[np.ndarray, "channels n_voxels"]:
    """Draw how voxels weigh the channels: colour with either sign, energy with a preferred orientation and scale."""
    energy_share = rng.uniform(0.3, 0.7, n_voxels)
    colour = rng.standard_normal((N_COLOURS, n_voxels))
    colour *= np.sqrt(1 - energy_share) / np.linalg.norm(colour, axis=0)
    angles = np.pi * np.arange(N_ORIENTATIONS)[:, None] / N_ORIENTATIONS
    tuning = np.exp(1.5 * np.cos(2 * (angles - rng.uniform(0, np.pi, n_voxels))))
    scales = rng.dirichlet(np.ones(len(WAVELENGTHS)), n_voxels).T
    energy = (scales[:, None] * tuning).reshape(-1, n_voxels)
    energy *= np.sqrt(energy_share) / np.linalg.norm(energy, axis=0)
    return np.concatenate([colour, energy]).astype(np.float32)


def pooled_channels(
    pictures: Pictures, pooling: Float32[np.ndarray, "positions n_voxels"]
) -> Float32[np.ndarray, "channels n n_voxels"]:
    """Pool the channel maps of pictures (n, 3, height, width) by each voxel's pRF: linear in `channel_maps`."""
    maps = channel_maps(pictures)
    return np.stack([channel.reshape(len(maps), -1) @ pooling for channel in maps.transpose(1, 0, 2, 3)])


def weigh_channels(
    pooled: Float32[np.ndarray, "channels n n_voxels"],
    weights: Float32[np.ndarray, "channels n_voxels"],
    n_reference: int,
) -> Float32[np.ndarray, "n n_voxels"]:
    """Compute the responses of early voxels: Σ over channels of weight · z-scored pooled channel.

    The first `n_reference` pictures give the z-scores' mean and standard deviation.
    """
    signals = np.zeros(pooled.shape[1:], np.float32)
    for channel, weight in zip(pooled, weights, strict=True):
        signals += weight * standardise_by_first(channel, n_reference)
    return signals


def standardise_by_first(values: Matrix, n_reference: int) -> Matrix:
    """Z-score columns with mean and standard deviation of their first `n_reference` rows; constant ones become 0."""
    mean, std = column_statistics(values[:n_reference])
    return standardise(values, mean, np.where(std > 0, std, np.inf))


def network_features(network: EfficientNetLite, pictures: Pictures) -> Float32[np.ndarray, "n d"]:
    """Compute the features that higher voxels combine: `middle` (88 channels at 4 × 4 positions) and `last` (1,280)."""
    blocks = network.blocks(pictures)
    return np.concatenate([blocks["middle"], blocks["last"]], 1)


def draw_feature_weights(
    features: Matrix, shows: Mapping[str, Bool[np.ndarray, " n"]], prefers: Sequence[str], rng: np.random.Generator
) -> Float32[np.ndarray, "d n_voxels"]:
    """Draw a sparse combination of z-scored features for each higher voxel.

    Without preference, features and signs are drawn uniformly. With one, feature j is drawn with probability ∝ r_j² and
    gets the sign of r_j, its correlation with whether the picture shows the category.

    Args:
        features: (n, d), z-scored, of the training pictures.
        shows: for each category, which of those pictures show it.
        prefers: the category that each voxel prefers; empty for none.
        rng: source of the draws.
    """
    d = features.shape[1]
    selectivity = {
        category: (shown - shown.mean()) @ features.astype(np.float64)
        for category, shown in shows.items()
        if shown.any() and not shown.all()
    }
    weights = np.zeros((d, len(prefers)), np.float32)
    for voxel, category in enumerate(prefers):
        r = selectivity.get(category)
        chosen = rng.choice(d, FEATURES_PER_VOXEL, replace=False, p=None if r is None else r**2 / (r**2).sum())
        signs = rng.choice([-1, 1], FEATURES_PER_VOXEL) if r is None else np.sign(r[chosen])
        weights[chosen, voxel] = signs * np.abs(rng.standard_normal(FEATURES_PER_VOXEL))
    return weights
