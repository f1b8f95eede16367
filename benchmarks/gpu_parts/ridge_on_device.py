"""Regression at the size of NSD on the device, beside reading the targets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from ridge import ALPHAS, Scale, ours
from timed_parts import Result

from braindiffuser.regression.streaming import ROWS_AT_A_TIME, step_of
from braindiffuser.store.draft import BLOCK, COLUMNS
from braindiffuser.store.results import Results
from gpu_parts.setting import GIB, Setting, measured, relative_difference, seconds


@measured
def ridge(setting: Setting, _: float) -> Iterator[Result]:
    """Fit and predict all targets with the regression on the device, beside reading them and nothing else.

    Targets are noise in float16, just written: where main memory holds 7 GB they are read from the system's cache.
    """
    scale, folder = setting.sizes.ridge, setting.folder
    written = seconds(setting, lambda: write_problem(scale, folder))
    yield {"n_train": scale.n_train, "n_voxels": scale.n_voxels, "n_targets": scale.n_targets}
    yield {"targets_gb": round(2 * scale.n_train * scale.n_targets / GIB, 2), "seconds_to_write": written}
    reading = seconds(setting, lambda: read_targets(scale, folder))
    yield {"seconds_to_read": reading}
    fitted = ours(scale, folder, setting.device)["ours_s"]
    yield {"seconds_to_fit_and_predict": fitted, "times_reading": fitted / reading}
    yield {"relative_difference_from_float64": error_of_ridge(scale, folder, setting.device)}
    yield {"seconds_of_bare_products": bare_products(setting)}


def write_problem(scale: Scale, folder: Path) -> None:
    """Write responses, and targets in the blocks of a run's folder."""
    needed = 2 * scale.n_train * scale.n_targets + 4 * (scale.n_train + scale.n_test) * scale.n_voxels
    free = shutil.disk_usage(folder).free
    if free < 1.05 * needed:
        raise OSError(
            f"{folder} has {free / GIB:.1f} GB free, and the problem needs {needed / GIB:.1f}: name another folder by TMPDIR"
        )
    rng = np.random.default_rng(0)
    for split, n in (("train", scale.n_train), ("test", scale.n_test)):
        np.save(folder / f"{split}.npy", rng.standard_normal((n, scale.n_voxels), dtype=np.float32))
    widest = max(int(np.prod(shape)) for shape in scale.targets.values())
    noise = rng.standard_normal(widest + 2**22, dtype=np.float32).astype(np.float16)
    for name, shape in scale.targets.items():
        write_targets(folder / "arrays" / "targets" / name, (scale.n_train, *shape), noise, rng)


def write_targets(path: Path, shape: tuple[int, ...], noise: np.ndarray, rng: np.random.Generator) -> None:
    """Write rows that are pieces of the same noise, each from another place: drawing them all would take minutes."""
    width, inner = int(np.prod(shape[1:])), int(np.prod(shape[2:]))
    chunks = (min(BLOCK, shape[0]), min(shape[1], max(1, COLUMNS // inner)), *shape[2:])
    array = zarr.create_array(path, shape=shape, chunks=chunks, dtype="float16", compressors=None)
    places = rng.integers(len(noise) - width, size=shape[0])
    for start in range(0, shape[0], BLOCK):
        rows = [noise[place : place + width] for place in places[start : start + BLOCK]]
        array[start : start + BLOCK] = np.stack(rows).reshape(-1, *shape[1:])


def read_targets(scale: Scale, folder: Path) -> None:
    """Read all targets in the blocks of the regression, by as many threads as it has beside a card, and drop them."""
    store = Results(folder)
    for name in scale.targets:
        array = store.open_array(f"targets/{name}")
        step = step_of(array.shape)

        def read(start: int, array: Any = array, step: int = step) -> None:
            for first in range(0, array.shape[0], ROWS_AT_A_TIME):
                array[first : first + ROWS_AT_A_TIME, start : start + step]

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(read, range(0, array.shape[1], step)))


def error_of_ridge(scale: Scale, folder: Path, device: str) -> float:
    """Compare the predictions of two tokens that `ours` kept with the normal equations in float64."""
    width = scale.targets["vision"][1]
    train, test = (
        torch.from_numpy(np.load(folder / f"{split}.npy")).to(device).double() for split in ("train", "test")
    )
    read = np.asarray(Results(folder).open_array("targets/vision")[:, :2])
    Y = torch.from_numpy(read.reshape(len(train), 2 * width)).to(device).double()
    mean = Y.mean(dim=0)
    test -= train.mean(dim=0)
    train -= train.mean(dim=0)
    K = train @ train.T
    K.diagonal().add_(ALPHAS["vision"])
    decoded = test @ train.T @ torch.linalg.solve(K, Y - mean)
    found = torch.from_numpy(np.load(folder / "sampled.npy")).to(device)
    return relative_difference(found - mean, decoded)


def bare_products(setting: Setting) -> float:
    """Time the products that no exact solution avoids, in float32, on numbers that lie on the device."""
    scale = setting.sizes.ridge
    width = min(COLUMNS, scale.n_targets)
    train, test, block = (
        torch.randn(shape, device=setting.device)
        for shape in ((scale.n_train, scale.n_voxels), (scale.n_test, scale.n_voxels), (scale.n_train, width))
    )

    def products() -> None:
        train @ train.T
        smoother = test @ train.T
        for _ in range(0, scale.n_targets, width):
            smoother @ block

    return seconds(setting, products)
