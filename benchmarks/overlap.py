"""Extraction and fit one after the other, against the fit of each group while the next is extracted, on one simulated subject.

python benchmarks/overlap.py [--json FILE]

The subject is that of the preset demo. Timed, with the start of each process:

- one after the other: what a run does. One process, all threads; all groups are fitted at once and share the products of their
  training responses.
- at the same time: two processes with half of the threads each. One extracts; the other fits each group as soon as it is there.
- least: extraction beside the fit of all groups at once, whose targets are there already. No overlap could end before this one,
  which keeps the products from group to group and waits for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from braindiffuser.experiment import Experiment
from braindiffuser.machine import machine
from braindiffuser.run import Run
from braindiffuser.stages.fit import training_rows
from braindiffuser.store.results import Store

WAYS = {
    "one after the other": (("extract+fit", "new"),),
    "at the same time": (("extract", "new"), ("fit-each", "new")),
    "least": (("extract", "new"), ("fit-all", "extracted")),
}
"""Way → the processes that it starts together: what each does, and in which run."""


def fit(folder: Path, groups: Sequence[str]) -> None:
    """Fit groups, once all of them are extracted, and decode the test stimuli; nothing is stored."""
    while any(Store(folder).record(f"extract.{group}") is None for group in groups):
        time.sleep(0.1)
    results, regression = Store(folder), Experiment.load("demo").regression
    rows = training_rows(Experiment.load("demo"), results)
    targets = {group: results.open_array(f"targets/{group}") for group in groups}
    responses = {"test": results.read_array("responses/test")}
    for _ in regression.decode(regression.fit(rows, targets, "cpu"), rows, targets, responses, "cpu"):
        pass


def do(part: str, folder: Path) -> None:
    """Do what one process does."""
    groups = list(Experiment.load("demo").targets)
    if part.startswith("extract"):
        run = Run.open(Experiment.load("demo"), folder)
        for stage in part.split("+"):
            run.do(stage)
    for some in {"fit-each": [[group] for group in groups], "fit-all": [groups]}.get(part, []):
        fit(folder, some)


def timed(processes: Sequence[tuple[str, Path]]) -> float:
    """Return the seconds until all processes have ended, which share the cores."""
    n = str(max(1, (os.cpu_count() or 1) // len(processes)))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), n)
    started = time.perf_counter()
    begun = [
        subprocess.Popen([sys.executable, __file__, "--part", part, str(folder)], env=os.environ | threads)
        for part, folder in processes
    ]
    ended = [process.wait() for process in begun]
    if any(ended):
        raise SystemExit("a part failed")
    return round(time.perf_counter() - started, 1)


def main() -> None:
    """Print and store the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--part", nargs=2, metavar=("PART", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        do(options.part[0], Path(options.part[1]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        prepared, extracted, new = (Path(temporary) / name for name in ("prepared", "extracted", "new"))
        Run.open(Experiment.load("demo"), prepared).do("prepare")
        shutil.copytree(prepared, extracted)
        Run.open(Experiment.load("demo"), extracted).do("extract")
        seconds = {}
        for way, processes in WAYS.items():
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(prepared, new)
            seconds[way] = timed([(part, {"new": new, "extracted": extracted}[which]) for part, which in processes])
    for way, taken in seconds.items():
        print(f"{way}: {taken} s, {taken / seconds['one after the other']:.2f} times one after the other")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "seconds": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
