"""How seconds, memory and disk of each stage grow with pictures and voxels, on simulated subjects; what larger recordings take.

python benchmarks/scale.py [--factors 0.5 1 2] [--json FILE] [--figure docs/images/scale.png]
python benchmarks/scale.py --plan

Growth: the preset demo on a simulated subject, of which training pictures, test pictures or voxels are varied, one at a time.
Each stage runs in a process of its own, whose peak memory is reported. Targets are varied by `benchmarks/ridge.py --growth`,
workers by `benchmarks/workers.py`. Some ten minutes on two cores.

`--plan` computes what the published Brain-Diffuser needs of NSD, of LAION-fMRI, and of a hundred people with 100,000 pictures
each: bytes from the shapes of what is stored, and operations of networks by torch's counter, of regression by its formulas. It
measures nothing, and takes a minute.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braindiffuser.datasets.simulation.simulate import simulate
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.experiment import Experiment
from braindiffuser.machine import machine
from braindiffuser.run import Run

BASE = {"training pictures": 600, "test pictures": 60, "voxels": 2000}
STAGES = ("prepare", "extract", "fit", "compare", "reconstruct", "evaluate")
GRID = (30, 32, 28)
"""Volume that has room for twice the voxels."""
N_REPEATS = 3
Size = dict[str, int]
Measured = dict[str, Any]


def peak_gb() -> float:
    """Peak memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def disk_gb(folder: Path) -> float:
    """Size of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def do_stage(experiment: Experiment, folder: Path, stage: str) -> Measured:
    """Do one stage, in a process of its own."""
    started = time.perf_counter()
    Run.open(experiment, folder).do(stage)
    return {"seconds": time.perf_counter() - started, "peak_gb": peak_gb()}


def measured(size: Size, place: Path) -> dict[str, Measured]:
    """Simulate a subject and run the stages: stage → seconds, peak memory, and what it added to the disk."""
    n = size["training pictures"] + size["test pictures"]
    subject = SimulatedSubject(
        n_train=size["training pictures"],
        n_test=size["test pictures"],
        n_repeats=N_REPEATS,
        trials_per_session=n,
        n_missing_sessions=0,
        grid=GRID,
        n_early=size["voxels"] // 2,
        n_higher=size["voxels"] // 2,
    )
    root, found = simulate(place / "recording", subject), {}
    experiment = Experiment.load("demo").changed({"dataset": {"kind": "nsd", "root": str(root)}})
    for stage in STAGES:
        before = disk_gb(place / "run")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            made = pool.apply(do_stage, (experiment, place / "run", stage))
        found[stage] = made | {"disk_gb": disk_gb(place / "run") - before}
    shutil.rmtree(place)
    return found


def growth(factors: Sequence[float]) -> list[Measured]:
    """Vary one axis at a time."""
    done: dict[tuple[int, ...], dict[str, Measured]] = {}
    points = []
    for axis, usual in BASE.items():
        for factor in factors:
            size = BASE | {axis: int(usual * factor)}
            key = tuple(size.values())
            if key not in done:
                with tempfile.TemporaryDirectory() as temporary:
                    done[key] = measured(size, Path(temporary) / "subject")
            points.append({"axis": axis, "size": size, "stages": done[key]})
            seconds = ", ".join(f"{stage} {made['seconds']:.1f} s" for stage, made in done[key].items())
            print(f"{size[axis]} {axis}: {seconds}", flush=True)
    return points


def print_growth(points: Sequence[Measured]) -> None:
    """Print seconds and gigabytes of each stage, at the smallest and the largest of each axis."""
    for axis in BASE:
        own = [point for point in points if point["axis"] == axis]
        few, many = own[0], own[-1]
        print(f"\n| {axis}: {few['size'][axis]} → {many['size'][axis]} | seconds | GB in memory | GB on disk |")
        print("|---|---:|---:|---:|")
        for stage in STAGES:
            ends = [point["stages"][stage] for point in (few, many)]
            cells = [
                f"{ends[0][name]:.{digits}f} → {ends[1][name]:.{digits}f}"
                for name, digits in (("seconds", 1), ("peak_gb", 2), ("disk_gb", 3))
            ]
            print(f"| {stage} | {' | '.join(cells)} |")


def draw(points: Sequence[Measured], path: Path) -> None:
    """Draw seconds and peak memory of each stage against each axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(2, len(BASE), sharex="col", sharey="row")
    for column, axis in enumerate(BASE):
        own = [point for point in points if point["axis"] == axis]
        sizes = [point["size"][axis] for point in own]
        for row, name in enumerate(("seconds", "peak_gb")):
            for stage in STAGES:
                axes[row, column].plot(sizes, [point["stages"][stage][name] for point in own], marker="o", label=stage)
            axes[row, column].set_xscale("log", base=2)
            axes[row, column].set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes[row, column].minorticks_off()
            axes[row, column].grid(alpha=0.3)
            axes[row, column].spines[["top", "right"]].set_visible(False)
        others = ", ".join(f"{usual:,} {other}" for other, usual in BASE.items() if other != axis)
        axes[1, column].set_xlabel(f"{axis}\n(others: {others})", fontsize=8)
    for row in axes:
        row[0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory of the process, GB")
    axes[0, 0].legend(frameon=False, fontsize=8, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.62))
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure growth, or compute the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", type=float, nargs="+", default=[0.5, 1, 2], help="of each axis, ascending")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--figure", type=Path, help="draw growth to this PNG")
    parser.add_argument("--plan", action="store_true", help="compute what larger recordings need; measure nothing")
    options = parser.parse_args()
    if options.plan:
        from scale_plan import tables  # needs torch, which would count in the memory of all stages

        print(tables())
        return
    points = growth(options.factors)
    print_growth(points)
    if options.figure:
        draw(points, options.figure)
    if options.json:
        options.json.write_text(json.dumps({"points": points, "machine": machine()}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
