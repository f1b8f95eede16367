"""What the analyses of regions ask of regression, at the size of NSD, on random data.

python benchmarks/roi.py --scale nsd|half|small|tiny [--json FILE]

- project: the patterns of 13 regions times the coefficients of all targets (ROI maximisation).
- norms: the L1 norm of each voxel's coefficients over all targets of a group (Figure 8 of the paper).

Both stream the targets past one matrix, in a process of its own whose peak memory is reported; coefficients (22 GB at the size
of NSD) are never formed. Norms of three groups with three alphas take n_voxels · n_pictures · n_targets multiplications, 16 times
those of predicting the test set: at the size of NSD 4.8e13, beside which nothing else counts. The targets are made block by block
as they are read, since 7 GB of random numbers take longer to write than to make; a block is the same whenever it is read.

Norms of some voxels are compared with those of coefficients that scikit-learn forms for one block of targets.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.regression.decoders import Decoders, fit_decoders
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.smoothers import voxel_smoothers
from braindiffuser.regression.voxel_weights import row_norms

ALPHAS = {"latents": 50_000.0, "vision": 60_000.0, "text": 100_000.0}
N_REGIONS = 13
N_SAMPLED = 64
"""Targets whose coefficients are formed for comparison."""
PLACES = 1 << 22
"""Places in the table of noise where a row may begin."""
Result = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """Size of the problem."""

    n_train: int
    n_voxels: int
    targets: dict[str, tuple[int, ...]]

    @property
    def n_targets(self) -> int:
        """Targets in all."""
        return sum(math.prod(shape) for shape in self.targets.values())


SCALES = {
    "nsd": Scale(8859, 15724, {"latents": (91_168,), "vision": (257, 768), "text": (77, 768)}),
    "half": Scale(4430, 7862, {"latents": (45_584,), "vision": (128, 768), "text": (38, 768)}),
    "small": Scale(2000, 4000, {"latents": (12_000,), "vision": (24, 768), "text": (8, 768)}),
    "tiny": Scale(300, 500, {"latents": (2_000,), "vision": (17, 96), "text": (9, 96)}),
}


class RandomTargets:
    """Random targets that are made as they are read: a TargetArray of any size that takes no memory."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        """Draw a table of noise that all blocks are cut out of."""
        self.shape = shape
        self.noise = np.random.default_rng(seed).standard_normal(PLACES + math.prod(shape[1:]), dtype=np.float32)

    def __getitem__(self, key: Any, /) -> Any:
        """Return a block of rows and of columns along axis 1: row i begins in the table at a place of its own."""
        rows, columns = (range(*part.indices(size)) for part, size in zip(key, self.shape[:2], strict=True))
        inner = math.prod(self.shape[2:])
        length, first = len(columns) * inner, columns.start * inner
        block = np.empty((len(rows), length), np.float32)
        for place, row in enumerate(rows):
            start = row * 7_368_787 % PLACES + first
            block[place] = self.noise[start : start + length]
        return block.reshape(len(rows), len(columns), *self.shape[2:])


def peak_rss_gb() -> float:
    """Peak resident memory of this process alone (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def simulate(scale: Scale) -> tuple[TrainingRows, dict[str, RandomTargets]]:
    """Return random responses, and targets of all groups."""
    responses = np.random.default_rng(0).standard_normal((scale.n_train, scale.n_voxels), dtype=np.float32)
    targets = {
        name: RandomTargets((scale.n_train, *shape), seed) for seed, (name, shape) in enumerate(scale.targets.items())
    }
    return TrainingRows(responses), targets


def project(scale: Scale) -> Result:
    """Project the patterns of 13 regions to all targets."""
    rows, targets = simulate(scale)
    patterns = (np.arange(scale.n_voxels) % N_REGIONS == np.arange(N_REGIONS)[:, None]).astype(np.float32)
    alphas = {name: (alpha,) for name, alpha in ALPHAS.items()}
    decoders = Decoders(fit_decoders(rows, targets, alphas, calibration="none"), rows, targets, "none")
    started = time.perf_counter()
    n_values = sum(made.values.size for _, made in decoders.project(patterns))
    return {
        "project_s": time.perf_counter() - started,
        "project_values": n_values,
        "project_peak_rss_gb": peak_rss_gb(),
    }


def norms(scale: Scale) -> Result:
    """Compute the L1 norm of each voxel's coefficients over the targets of each group."""
    rows, targets = simulate(scale)
    started, solved, total = time.perf_counter(), 0.0, {}
    begun = started
    for groups, C in voxel_smoothers(rows, ALPHAS, "weights"):
        solved += time.perf_counter() - begun
        for group in groups:
            total[group] = row_norms(C, targets[group]).l1
        del C
        begun = time.perf_counter()
    seconds = time.perf_counter() - started
    operations = 2.0 * scale.n_voxels * scale.n_train * scale.n_targets
    peak = peak_rss_gb()
    return {
        "norms_s": seconds,
        "norms_solve_s": solved,
        "norms_gflops": operations / (seconds - solved) / 1e9,
        "norms_peak_rss_gb": peak,
        "relative_difference": difference(rows),
        "norms_mean": {group: float(values.mean()) for group, values in total.items()},
    }


def difference(rows: TrainingRows) -> float:
    """Compare norms over a few targets with those of the coefficients that scikit-learn forms in float64."""
    from sklearn.linear_model import Ridge

    some = RandomTargets((rows.n_stimuli, N_SAMPLED), 9)
    n = min(1000, rows.n_stimuli)  # scikit-learn in float64 needs several times the memory
    few = TrainingRows(rows.responses[:n, : min(2000, rows.responses.shape[1])])
    Y = some[slice(0, n), slice(0, N_SAMPLED)]
    _, C = next(voxel_smoothers(few, {"": ALPHAS["latents"]}, "weights"))
    reference = np.abs(Ridge(ALPHAS["latents"]).fit(few.averages().astype(np.float64), Y.astype(np.float64)).coef_)
    expected = reference.sum(axis=0)
    return float(np.abs(row_norms(C, Y).l1 - expected).max() / expected.max())


def in_own_process(part: Any, scale: Scale) -> Result:
    """Run a part in a fresh process, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(pool.apply(part, (scale,)))


def main() -> None:
    """Run what is asked for and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    scale = SCALES[arguments.scale]
    result: Result = {
        "scale": arguments.scale,
        "n_train": scale.n_train,
        "n_voxels": scale.n_voxels,
        "n_targets": scale.n_targets,
        "n_patterns": N_REGIONS,
        "coefficients_gb": 4e-9 * scale.n_voxels * scale.n_targets,
    }
    for part in (project, norms):
        result |= in_own_process(part, scale)
    result["seconds"] = result["project_s"] + result["norms_s"]
    result["peak_rss_gb"] = max(result["project_peak_rss_gb"], result["norms_peak_rss_gb"])
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
