"""Ridge at the size of NSD, beside what a user would run instead, on the same random data in one run.

python benchmarks/ridge.py --scale nsd|tiny [--json FILE] [--folder FOLDER]

- ours: training responses in memory and targets on disk in float16 → predictions of all targets, with the three published
  alphas, in a fresh process whose peak memory is reported.
- scikit-learn: `Ridge(alpha, max_iter=50000, fit_intercept=True)` on float64 responses, as the reference scripts call it for
  every token. Timed on two tokens and multiplied by their number; the VDVAE latents, one more fit of 91,168 targets, are
  counted as one token more, which flatters it.
- himalaya's KernelRidge (torch back-end on the CPU) and fastl2lir (L2-regularised regression of the Kamitani lab, here with
  all voxels) on one token. Both are fitted anew for every token too, if called as the reference calls scikit-learn.
- floor: the bare matrix products in float32 that any exact solution needs, on arrays in memory: Gram matrix, test responses
  times training responses, and prediction operator times all targets.

Needs `pip install 'braindiffuser[benchmarks]'`, about 8 GB of disk at the size of NSD, and half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.regression.decoders import fit_decoders
from braindiffuser.regression.training import TrainingRows
from braindiffuser.store import BLOCK, Store

ALPHAS = {"latents": 50_000.0, "vision": 60_000.0, "text": 100_000.0}
N_SIGNALS = 64
Result = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """Size of the problem."""

    n_train: int
    n_test: int
    n_voxels: int
    targets: dict[str, tuple[int, ...]]

    @property
    def n_tokens(self) -> int:
        """Tokens that the reference fits one by one."""
        return self.targets["vision"][0] + self.targets["text"][0]


SCALES = {
    "nsd": Scale(8859, 982, 15724, {"latents": (91_168,), "vision": (257, 768), "text": (77, 768)}),
    "tiny": Scale(500, 60, 800, {"latents": (2_000,), "vision": (17, 96), "text": (9, 96)}),
}


def simulate(scale: Scale, folder: Path) -> None:
    """Write responses, and targets that depend on them, in float16, as the stage `extract` writes them."""
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((N_SIGNALS, scale.n_voxels), dtype=np.float32) / np.sqrt(scale.n_voxels)
    responses = {}
    for split, n in (("train", scale.n_train), ("test", scale.n_test)):
        responses[split] = rng.standard_normal((n, scale.n_voxels), dtype=np.float32)
        np.save(folder / f"{split}.npy", responses[split])
    latent = responses["train"] @ signals.T
    store = Store(folder)
    for name, shape in scale.targets.items():
        weights = rng.standard_normal((N_SIGNALS, int(np.prod(shape))), dtype=np.float32) / np.sqrt(N_SIGNALS)

        def make(rows: slice, weights: np.ndarray = weights, shape: tuple[int, ...] = shape) -> np.ndarray:
            values = latent[rows] @ weights
            values += rng.standard_normal(values.shape, dtype=np.float32) + 1
            return values.reshape(-1, *shape).astype(np.float16)

        store.fill(f"targets/{name}", (scale.n_train, *shape), make, dtype="float16")


def ours(scale: Scale, folder: Path) -> Result:
    """Fit and predict all targets; keep the predictions of two tokens for comparison."""
    responses = {split: np.load(folder / f"{split}.npy") for split in ("train", "test")}
    store = Store(folder)
    targets = {name: store.open_array(f"targets/{name}") for name in scale.targets}
    started = time.perf_counter()
    decoders = fit_decoders(
        TrainingRows(responses["train"]),
        targets,
        {name: (alpha,) for name, alpha in ALPHAS.items()},
        "random",
        calibration="transductive",
    )
    for name, made in decoders.predict(responses["test"]):
        if name == "vision":
            width = scale.targets["vision"][1]
            np.save(folder / "sampled.npy", made.values[:, : 2 * width])
    seconds = time.perf_counter() - started
    return {"ours_s": seconds, "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def token(folder: Path, number: int) -> np.ndarray:
    """Read the targets of one vision token, in float64."""
    return np.asarray(Store(folder).open_array("targets/vision")[:, number], np.float64)


def scikit_learn(scale: Scale, folder: Path) -> Result:
    """Fit two tokens as the reference does, and compare our predictions with these."""
    from sklearn.linear_model import Ridge

    train, test = (np.load(folder / f"{split}.npy").astype(np.float64) for split in ("train", "test"))
    sampled, width, seconds, errors = np.load(folder / "sampled.npy"), scale.targets["vision"][1], [], []
    for number in range(2):
        y = token(folder, number)
        started = time.perf_counter()
        predicted = Ridge(alpha=ALPHAS["vision"], max_iter=50000, fit_intercept=True).fit(train, y).predict(test)
        seconds.append(time.perf_counter() - started)
        difference = sampled[:, number * width : (number + 1) * width] - predicted
        errors.append(np.linalg.norm(difference) / np.linalg.norm(predicted - y.mean(axis=0)))
    n_fits = scale.n_tokens + 1
    return {
        "sklearn_token_s": seconds,
        "sklearn_n_fits": n_fits,
        "sklearn_extrapolated_s": float(np.mean(seconds)) * n_fits,
        "sklearn_note": f"timed on 2 tokens, their mean multiplied by {n_fits} (each token, and the latents as one more)",
        "relative_difference": float(max(errors)),
    }


def himalaya(scale: Scale, folder: Path) -> Result:
    """Fit one token with himalaya's KernelRidge in float32."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidge

    backend = set_backend("torch")
    train, test = (np.load(folder / f"{split}.npy") for split in ("train", "test"))
    y = token(folder, 0).astype(np.float32)
    started = time.perf_counter()
    model = KernelRidge(alpha=ALPHAS["vision"], fit_intercept=True)
    model.fit(backend.asarray(train), backend.asarray(y)).predict(backend.asarray(test))
    return {"himalaya_token_s": time.perf_counter() - started}


def fastl2lir(scale: Scale, folder: Path) -> Result:
    """Fit one token with fastl2lir, all voxels for every target."""
    from fastl2lir import FastL2LiR

    train, test = (np.load(folder / f"{split}.npy") for split in ("train", "test"))
    y = token(folder, 0).astype(np.float32)
    started = time.perf_counter()
    model = FastL2LiR()
    model.fit(train, y, alpha=ALPHAS["vision"], n_feat=scale.n_voxels)
    model.predict(test)
    return {"fastl2lir_token_s": time.perf_counter() - started}


def floor(scale: Scale, folder: Path) -> Result:
    """Time the products that nobody can avoid, in float32, on arrays in memory."""
    import torch

    train, test = (np.load(folder / f"{split}.npy") for split in ("train", "test"))
    started = time.perf_counter()
    train @ train.T  # numpy computes one triangle alone
    gram_s = time.perf_counter() - started
    started = time.perf_counter()
    operator = torch.from_numpy(test) @ torch.from_numpy(train).T
    cross_s = time.perf_counter() - started
    block = torch.randn(scale.n_train, 4096)
    n_targets = sum(int(np.prod(shape)) for shape in scale.targets.values())
    targets_s = 0.0
    for start in range(0, n_targets, block.shape[1]):
        width = min(block.shape[1], n_targets - start)
        columns = block if width == block.shape[1] else block[:, :width].clone()
        started = time.perf_counter()
        torch.mm(operator, columns)
        targets_s += time.perf_counter() - started
    parts = {"gram": gram_s, "test_by_training": cross_s, "operator_by_targets": targets_s}
    return {"floor_s": sum(parts.values()), "floor_parts_s": parts}


def in_own_process(part: Any, scale: Scale, folder: Path) -> Result:
    """Run a part in a fresh process, so that peak memory and threads are its own; a missing package is told, not hidden."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return dict(pool.apply(part, (scale, folder)))
        except ImportError as error:
            return {f"{part.__name__}_token_s": None, f"{part.__name__}_note": f"not installed: {error}"}


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--folder", type=Path, help="keep the random data here, and use them again")
    arguments = parser.parse_args()
    scale = SCALES[arguments.scale]
    result: Result = {"scale": arguments.scale, "n_train": scale.n_train, "n_voxels": scale.n_voxels, "rows_a_file": BLOCK}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        simulate(scale, folder)
        for part in (ours, floor, scikit_learn, himalaya, fastl2lir):
            result |= in_own_process(part, scale, folder)
    result["ratio_sklearn"] = result["sklearn_extrapolated_s"] / result["ours_s"]
    result["times_floor"] = result["ours_s"] / result["floor_s"]
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
