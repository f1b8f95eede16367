"""Ridge at the size of NSD, beside what a user would run instead, on the same random data in one run.

python benchmarks/ridge.py --scale nsd|tiny [--json FILE] [--folder FOLDER]
python benchmarks/ridge.py --growth docs/images/ridge-growth.png [--json FILE]

- ours: training responses in memory and targets on disk in float16 → predictions of all targets, with the three published
  alphas, in a fresh process whose peak memory is reported.
- scikit-learn: `Ridge(alpha, max_iter=50000, fit_intercept=True)` on float64 responses, as the reference scripts call it for
  every token. Timed on two tokens and multiplied by their number; the VDVAE latents, one more fit of 91,168 targets, are
  timed on 8,192 of them and continued in a straight line.
- himalaya's KernelRidge (torch back-end on the CPU) and fastl2lir (L2-regularised regression of the Kamitani lab, here with
  all voxels) on one token. Both are fitted again for every token too, if called as the reference calls scikit-learn.
- floor: the bare matrix products in float32 that any exact solution needs, on arrays in memory: Gram matrix, test responses
  times training responses, and smoother matrix times all targets.
- cross-validated: the statistics of the inductive calibration, by five folds under the published alphas. It predicts every
  training picture, nine times as many as there are test pictures, from four fifths of the others: 7.2 times the floor's
  largest product.
- cross-validated on 2,000: the same from as many of the training pictures (`n_predicted`), with how far the spread of
  predictions is from that of all.

Also: prediction smoothers from single trials (24,980 rows, so the primal form), their time and peak memory.

`--growth` draws time and memory against the number of pictures, voxels and targets, one varied at a time.

Needs `pip install 'braindiffuser[benchmarks]'`, about 10 GB of disk at the size of NSD, and a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.regression.decoders import Decoders, fit_decoders
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.selection import cross_validate
from braindiffuser.regression.smoothers import smoothers_by_group
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results

ALPHAS = {"latents": 50_000.0, "vision": 60_000.0, "text": 100_000.0}
N_PREDICTED = 2000
N_SIGNALS = 64
N_LATENTS_SAMPLED = 8192
TRIALS_PER_PICTURE = 24_980 / 8859
"""Of NSD's training pictures in 37 sessions."""
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
        return sum(shape[0] for shape in self.targets.values() if len(shape) == 2)

    @property
    def n_targets(self) -> int:
        """Targets in all."""
        return sum(int(np.prod(shape)) for shape in self.targets.values())


SCALES = {
    "nsd": Scale(8859, 982, 15724, {"latents": (91_168,), "vision": (257, 768), "text": (77, 768)}),
    "tiny": Scale(500, 60, 800, {"latents": (2_000,), "vision": (17, 96), "text": (9, 96)}),
}


def peak_rss_gb() -> float:
    """Peak resident memory of this process alone (Linux); `getrusage` would count what its parent had before."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def simulate(scale: Scale, folder: Path) -> None:
    """Write responses, and targets that depend on them, all in float16 (`extract` writes text in float32)."""
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((N_SIGNALS, scale.n_voxels), dtype=np.float32) / np.sqrt(scale.n_voxels)
    responses = {}
    for split, n in (("train", scale.n_train), ("test", scale.n_test)):
        responses[split] = rng.standard_normal((n, scale.n_voxels), dtype=np.float32)
        np.save(folder / f"{split}.npy", responses[split])
    latent = responses["train"] @ signals.T
    draft = Draft(folder, "targets")
    for name, shape in scale.targets.items():
        weights = rng.standard_normal((N_SIGNALS, int(np.prod(shape))), dtype=np.float32) / np.sqrt(N_SIGNALS)

        def make(rows: slice, weights: np.ndarray = weights, shape: tuple[int, ...] = shape) -> np.ndarray:
            values = latent[rows] @ weights
            values += rng.standard_normal(values.shape, dtype=np.float32) + 1
            made: np.ndarray = values.reshape(-1, *shape).astype(np.float16)
            return made

        draft.fill(f"targets/{name}", (scale.n_train, *shape), make, dtype="float16")


def ours(scale: Scale, folder: Path, device: str = "cpu") -> Result:
    """Fit and predict all targets; keep the predictions of two tokens for comparison."""
    responses = {split: np.load(folder / f"{split}.npy") for split in ("train", "test")}
    store = Results(folder)
    targets = {name: store.open_array(f"targets/{name}") for name in scale.targets}
    started = time.perf_counter()
    rows, alphas = TrainingRows(responses["train"]), {name: (ALPHAS[name],) for name in targets}
    fitted = fit_decoders(rows, targets, alphas, calibration="transductive", device=device)
    decoders = Decoders(fitted, rows, targets, "transductive", device)
    for name, made in decoders.predict(responses["test"]):
        if name == "vision":
            width = scale.targets["vision"][1]
            np.save(folder / "sampled.npy", made.values[:, : 2 * width])
    seconds = time.perf_counter() - started
    return {"ours_s": seconds, "peak_rss_gb": peak_rss_gb()}


def cross_validated(scale: Scale, folder: Path) -> Result:
    """Calibrate by five-fold cross-validation under the published alphas: what is fitted before `ours` predicts."""
    train, store = np.load(folder / "train.npy"), Results(folder)
    targets = {name: store.open_array(f"targets/{name}") for name in scale.targets}
    seconds, spreads = [], []
    for n_predicted in (None, N_PREDICTED):
        started = time.perf_counter()
        alphas = {name: (ALPHAS[name],) for name in targets}
        found = cross_validate(TrainingRows(train), targets, alphas, n_predicted=n_predicted)
        seconds.append(time.perf_counter() - started)
        spreads.append(np.concatenate([found[name].prediction_std for name in targets]))
    ratio = spreads[1] / spreads[0] - 1
    return {
        "cross_validated_s": seconds[0],
        "cross_validated_on_some_s": seconds[1],
        "spread_on_some_differs_by": {
            "root_mean_square": float(np.sqrt(np.mean(ratio**2))),
            "mean": float(ratio.mean()),
        },
        "cross_validated_peak_rss_gb": peak_rss_gb(),
    }


def single_trials(scale: Scale, folder: Path) -> Result:
    """Factorise as many rows as NSD has training trials, more than voxels, and make the prediction smoothers of all alphas.

    The rows lie on disk, as those of a run do, and are never in memory together.
    """
    n_rows = round(scale.n_train * TRIALS_PER_PICTURE)
    rng, draft = np.random.default_rng(0), Draft(folder / "single", "trials")
    draft.fill(
        "trials", (n_rows, scale.n_voxels), lambda rows: rng.standard_normal((rows.stop - rows.start, scale.n_voxels))
    )
    trials = Results(folder / "single").open_array("trials")
    stimuli = rng.permutation(np.arange(n_rows) % scale.n_train)
    test = np.load(folder / "test.npy")
    started = time.perf_counter()
    smoothers_by_group(TrainingRows(trials, stimuli), {name: (alpha,) for name, alpha in ALPHAS.items()}, test)
    return {
        "trials_n_rows": n_rows,
        "trials_operators_s": time.perf_counter() - started,
        "trials_peak_rss_gb": peak_rss_gb(),
    }


def token(folder: Path, number: int) -> Any:
    """Read the targets of one vision token, in float64."""
    return np.asarray(Results(folder).open_array("targets/vision")[:, number], dtype=np.float64)


def scikit_learn(scale: Scale, folder: Path) -> Result:
    """Fit two tokens and some latents as the reference does, and compare our predictions with the tokens'."""
    from sklearn.linear_model import Ridge

    train, test = (np.load(folder / f"{split}.npy").astype(np.float64) for split in ("train", "test"))

    def timed(y: Any, alpha: float) -> tuple[float, Any]:
        started = time.perf_counter()
        predicted = Ridge(alpha=alpha, max_iter=50000, fit_intercept=True).fit(train, y).predict(test)
        return time.perf_counter() - started, predicted

    sampled, width, seconds, errors = np.load(folder / "sampled.npy"), scale.targets["vision"][1], [], []
    for number in range(2):
        y = token(folder, number)
        second, predicted = timed(y, ALPHAS["vision"])
        difference = sampled[:, number * width : (number + 1) * width] - predicted
        seconds.append(second)
        errors.append(np.linalg.norm(difference) / np.linalg.norm(predicted - y.mean(axis=0)))
    total = float(np.mean(seconds)) * scale.n_tokens
    latents_s = None
    if "latents" in scale.targets:
        n_latents = scale.targets["latents"][0]
        n_sampled = min(N_LATENTS_SAMPLED, n_latents)
        some, _ = timed(
            np.asarray(Results(folder).open_array("targets/latents")[:, :n_sampled], float), ALPHAS["latents"]
        )
        latents_s = some + max(0.0, some - seconds[-1]) / (n_sampled - width) * (n_latents - n_sampled)
        total += latents_s
    return {
        "sklearn_token_s": seconds,
        "sklearn_latents_extrapolated_s": latents_s,
        "sklearn_extrapolated_s": total,
        "sklearn_note": f"timed on 2 tokens, their mean multiplied by {scale.n_tokens}; and on {N_LATENTS_SAMPLED} latents, "
        "continued in a straight line from a token's time to all latents",
        "sklearn_peak_rss_gb": peak_rss_gb(),
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
    """Time the products that nobody can avoid, in float32, on arrays in memory, by numpy with all threads."""
    train, test = (np.load(folder / f"{split}.npy") for split in ("train", "test"))
    started = time.perf_counter()
    train @ train.T  # numpy computes one triangle alone
    gram_s = time.perf_counter() - started
    started = time.perf_counter()
    operator = test @ train.T
    cross_s = time.perf_counter() - started
    width = min(4096, scale.n_targets)
    block = np.random.default_rng(0).standard_normal((scale.n_train, width), dtype=np.float32)
    answers = np.empty((scale.n_test, width), np.float32)
    targets_s = 0.0
    for start in range(0, scale.n_targets, width):
        columns = slice(min(width, scale.n_targets - start))
        started = time.perf_counter()
        np.matmul(operator, block[:, columns], out=answers[:, columns])
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


PARTS = (ours, floor, cross_validated, single_trials, scikit_learn, himalaya, fastl2lir)
ESSENTIAL = PARTS[:3]
"""Parts that need no other package."""


def side_by_side(scale: Scale, folder: Path, parts: Sequence[Any] = PARTS) -> Result:
    """Run parts on the same data."""
    folder.mkdir(parents=True, exist_ok=True)
    simulate(scale, folder)
    result: Result = {"n_train": scale.n_train, "n_voxels": scale.n_voxels, "n_targets": scale.n_targets}
    for part in parts:
        result |= in_own_process(part, scale, folder)
    if "sklearn_extrapolated_s" in result:
        result["ratio_sklearn"] = result["sklearn_extrapolated_s"] / result["ours_s"]
    result["times_floor"] = result["ours_s"] / result["floor_s"]
    largest = result["floor_parts_s"]["operator_by_targets"]
    result["cross_validated_times_largest_product"] = result["cross_validated_s"] / largest
    return result


BASE = {"pictures": 2000, "voxels": 4000, "targets": 38_400}
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def growth() -> Result:
    """Vary pictures, voxels and targets one at a time; targets are tokens of 768, as those of CLIP."""
    points: Result = {}
    for axis in BASE:
        points[axis] = []
        for factor in FACTORS:
            size = BASE | {axis: int(BASE[axis] * factor)}
            shape = (size["targets"] // 768, 768)
            scale = Scale(size["pictures"], size["pictures"] // 9, size["voxels"], {"vision": shape})
            with tempfile.TemporaryDirectory() as folder:
                simulate(scale, Path(folder))
                made = in_own_process(ours, scale, Path(folder)) | in_own_process(scikit_learn, scale, Path(folder))
            points[axis].append(size | made)
            print(f"{axis} × {factor}: {made['ours_s']:.1f} s, {made['peak_rss_gb']:.2f} GB", flush=True)
    return points


def draw_growth(points: Result, path: Path) -> None:
    """Draw time and memory, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(2, len(BASE), sharex="col", sharey="row")
    for column, (axis, measured) in enumerate(points.items()):
        sizes = [point[axis] for point in measured]
        lines = {
            ("ours_s", "peak_rss_gb"): ("braindiffuser", "#0b6e4f", "o"),
            ("sklearn_extrapolated_s", "sklearn_peak_rss_gb"): ("scikit-learn, token by token", "#8a8a8a", "s"),
        }
        for keys, (label, colour, marker) in lines.items():
            for row, key in enumerate(keys):
                axes[row, column].plot(sizes, [p[key] for p in measured], color=colour, marker=marker, label=label)
        axes[1, column].set_xlabel(
            f"{axis} (others: {', '.join(f'{n:,} {name}' for name, n in BASE.items() if name != axis)})"
        )
        for row in (0, 1):
            axes[row, column].set_xscale("log", base=2)
            axes[row, column].set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes[row, column].minorticks_off()
            axes[row, column].grid(alpha=0.3)
            axes[row, column].spines[["top", "right"]].set_visible(False)
            axes[row, column].tick_params(labelsize=7)
        axes[0, column].set_yscale("log")
        axes[1, column].set_ylim(bottom=0)
        axes[1, column].xaxis.label.set_size(8)
    axes[0, 0].set_ylabel("seconds, fit and predict all")
    axes[1, 0].set_ylabel("peak memory of the process, GB")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run what is asked for and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--folder", type=Path, help="keep the random data here, and use them again")
    parser.add_argument("--growth", type=Path, help="draw growth of cost to this PNG instead")
    parser.add_argument("--ours", action="store_true", help="leave out what others would run, and single trials")
    arguments = parser.parse_args()
    if arguments.growth:
        result = growth()
        draw_growth(result, arguments.growth)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.folder or Path(temporary)
            result = {"scale": arguments.scale} | side_by_side(
                SCALES[arguments.scale], folder, ESSENTIAL if arguments.ours else PARTS
            )
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
