"""Everything that a CUDA card computes differently or faster, measured in under eight minutes.

python benchmarks/gpu.py [--device cuda] [--json FILE]
python benchmarks/gpu.py --device cpu --small [--json FILE]

- half_precision: pictures of the bundled networks in float16 and float32, and their scores; then pictures of networks of the
  published sizes with random weights
- loop: seconds a picture of the published Brain-Diffuser's 37 steps with random weights, at batches of 1, 4 and 16
- out_of_memory: a batch that does not fit the card becomes smaller by itself and gives the same pictures
- ridge: regression at the size of NSD on the card, beside reading the targets alone
- training: steps of each bundled network's training script, saved and resumed
- channels_last, compiled: the loop with channels in the last place in memory, and by torch.compile

Each part has a budget, together 470 seconds; one that fails, or whose time is up, says why in its entry `failed`, and the
others go on. The JSON file is written after each part. Needs 7 GB of disk for the targets of ridge (in TMPDIR).

`--small` takes narrow networks and a small regression, and runs in less than a minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from timed_parts import Part, Result, run_parts

from braindiffuser.errors import RunError
from braindiffuser.machine import check_device, machine, versions

PARTS = {
    "device": Part("gpu_parts.device:facts", 30),
    "half_precision": Part("gpu_parts.half_precision:half_precision", 25),
    "half_precision_at_published_size": Part("gpu_parts.half_precision:half_precision_at_published_size", 40),
    "loop": Part("gpu_parts.loops:loop", 70),
    "out_of_memory": Part("gpu_parts.out_of_memory:out_of_memory", 30),
    "ridge": Part("gpu_parts.ridge_on_device:ridge", 110),
    "training": Part("gpu_parts.training_steps:training", 50),
    "channels_last": Part("gpu_parts.loops:channels_last", 40),
    "compiled": Part("gpu_parts.loops:compiled", 75),
}
"""In order of value."""
PATIENCE = 10
"""At small size budgets are so many times as long: a CPU may be busy."""


def measure(device: str, small: bool, path: Path | None) -> Result:
    """Run all parts, and write the result to a file after each."""
    parts: dict[str, Result] = {}
    planned = {name: part._replace(budget_s=part.budget_s * (PATIENCE if small else 1)) for name, part in PARTS.items()}
    result: Result = {
        "device": device,
        "small": small,
        "budget_s": sum(part.budget_s for part in planned.values()),
        "machine": machine(),
        "versions": versions(),
        "parts": parts,
    }
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name, found in run_parts(planned, (device, small, Path(folder))):
            parts[name] = found
            print(f"{name}: {found.get('failed', 'done')} ({found['seconds']:.0f} s)", flush=True)
            result["seconds"] = round(time.monotonic() - started, 1)
            if path is not None:
                path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def table(parts: Mapping[str, Result]) -> str:
    """Print results as a Markdown table, a line each."""
    rows = ["| part | measured | result |", "|---|---|---:|"]
    rows += [f"| {name} | {key.replace('_', ' ')} | {value} |" for name, key, value in lines(parts)]
    return "\n".join(rows)


def lines(parts: Mapping[str, Result]) -> Iterator[tuple[str, str, str]]:
    """Yield part, what is measured, and the result in words."""
    for name, found in parts.items():
        for key, value in found.items():
            yield name, key, in_words(value)


def in_words(value: Any) -> str:
    """Write a number with three digits, lists with commas, and truth as yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(in_words(one) for one in value)
    return str(value)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where it runs: cuda, cuda:1 …, or cpu with --small")
    parser.add_argument("--small", action="store_true", help="narrow networks and a small regression")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    try:
        check_device(arguments.device)
    except RunError as error:
        raise SystemExit(str(error)) from error
    result = measure(arguments.device, arguments.small, arguments.json)
    print(table(result["parts"]))


if __name__ == "__main__":
    main()
