"""Two workers with one thread each, against one with two: the stages that workers compute, on one simulated subject.

python benchmarks/workers.py [--pictures 600] [--test-pictures 120] [--json FILE]

Timed are `extract` and `reconstruct` of the preset demo, each from the same prepared and fitted run: alone in this process with
all threads, by one worker with as many threads, and by two workers with one thread each. `speed_up` is the seconds of the one
worker over those of the two. Starting the workers and loading networks counts: it is what a user waits for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from braindiffuser.clusters import open_cluster
from braindiffuser.dask_workers import DaskCluster
from braindiffuser.datasets.simulation.simulate import simulate
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.experiment import Experiment
from braindiffuser.machine import machine
from braindiffuser.progress import silent
from braindiffuser.run import Run

WAYS: dict[str, dict[str, Any] | None] = {
    "this process, two threads": None,
    "one worker, two threads": {"n_workers": 1, "local": {"env": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}}},
    "two workers, one thread each": {"n_workers": 2, "local": {}},
}


def timed(experiment: Experiment, folder: Path, stage: str, way: dict[str, Any] | None) -> float:
    """Do one stage of a run, and return its seconds, with those in which workers start."""
    started = time.perf_counter()
    with ExitStack() as stack:
        workers = None
        if way is not None:
            file = folder.with_suffix(".yaml")
            file.write_text(json.dumps(way), encoding="utf-8")
            workers = DaskCluster(stack.enter_context(open_cluster(None, file, silent)), (), silent)
        Run.open(experiment, folder, workers=workers).do(stage)
    return time.perf_counter() - started


def main() -> None:
    """Print and store the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=600, help="training pictures")
    parser.add_argument("--test-pictures", type=int, default=120, help="test pictures")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        n = options.pictures + options.test_pictures  # trials of a session, so that all of three sessions are full
        subject = SimulatedSubject(
            n_train=options.pictures, n_test=options.test_pictures, n_held_out=0, trials_per_session=n
        )
        root = simulate(place / "recording", subject)
        experiment = Experiment.load("demo").changed({"dataset": {"kind": "nsd", "root": str(root)}})
        Run.open(experiment, place / "prepared").do("prepare")
        shutil.copytree(place / "prepared", place / "fitted")
        for stage in ("extract", "fit"):
            Run.open(experiment, place / "fitted").do(stage)
        found: dict[str, dict[str, float]] = {}
        for stage, begun in (("extract", "prepared"), ("reconstruct", "fitted")):
            found[stage] = {}
            for number, (name, way) in enumerate(WAYS.items()):
                folder = place / f"{stage}-{number}"
                shutil.copytree(place / begun, folder)
                found[stage][name] = round(timed(experiment, folder, stage, way), 1)
    print(f"| stage | {' | '.join(WAYS)} | speed-up |\n|---|{'---|' * (len(WAYS) + 1)}")
    speed_up = {}
    for stage, seconds in found.items():
        _, one, two = seconds.values()
        speed_up[stage] = round(one / two, 2)
        print(f"| {stage} | {' | '.join(f'{each:g} s' for each in seconds.values())} | {speed_up[stage]:g} |")
    if options.json:
        facts = {"seconds": found, "speed_up": speed_up, "pictures": options.pictures, "machine": machine()}
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
