"""Memory and time of `braindiffuser evaluate` on pictures of 425 pixels a side, by the metrics on pixels.

    python benchmarks/methods.py [--pictures 100 982] [--size 425] [--json FILE]

Pictures are smooth noise. Two folders are scored, then two stacks of floating-point numbers, then both methods together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

from braindiffuser.machine import machine, versions

SEEN_SHARE = 0.5
"""Of what was seen in each reconstruction."""


def make_pictures(folder: Path, n_pictures: int, size: int) -> None:
    """Write what was seen, and the pictures of two methods, one of them as a stack too."""
    rng = np.random.default_rng(0)
    stacks = {
        name: open_memmap(folder / f"{name}.npy", "w+", np.float32, (n_pictures, 3, size, size))
        for name in ("seen", "made")
    }
    for number in range(n_pictures):
        seen, other = (np.asarray(smooth(rng, size), np.float32) for _ in range(2))
        pictures = {"seen": seen, "made": SEEN_SHARE * seen + (1 - SEEN_SHARE) * other, "others": other}
        for name, picture in pictures.items():
            (folder / name).mkdir(exist_ok=True)
            levels = np.rint(picture).astype(np.uint8)
            Image.fromarray(levels).save(folder / name / f"{number:04d}.png")
            if name in stacks:
                stacks[name][number] = levels.transpose(2, 0, 1) / np.float32(255)
    for stack in stacks.values():
        stack.flush()


def smooth(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw a picture of smooth noise."""
    coarse = rng.integers(256, size=(12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def measured(folder: Path, inputs: list[str]) -> dict[str, float]:
    """Score in a process of its own: seconds, seconds of processor time, and the most memory it held."""
    command = [
        sys.executable,
        "-m",
        "braindiffuser",
        "evaluate",
        *inputs,
        "--profile",
        "pixels",
        "--json",
        "scores.json",
    ]
    started = time.perf_counter()
    process = os.posix_spawn(
        "/bin/sh", ["sh", "-c", 'cd "$0" && exec "$@" >/dev/null 2>&1', str(folder), *command], os.environ
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"evaluate {' '.join(inputs)} failed")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_rss_gb": round(usage.ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Make pictures, score them, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[100, 982])
    parser.add_argument("--size", type=int, default=425)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result: dict[str, object] = {"size": arguments.size, "machine": machine(), "versions": versions()}
    for n_pictures in arguments.pictures:
        with tempfile.TemporaryDirectory() as folder:
            # in another process: Linux counts the peak memory of a process as its children's, too
            with ProcessPoolExecutor(1) as elsewhere:
                elsewhere.submit(make_pictures, Path(folder), n_pictures, arguments.size).result()
            result[f"{n_pictures} pictures"] = {
                "folders": measured(Path(folder), ["seen", "made"]),
                "stacks": measured(Path(folder), ["seen.npy", "made.npy"]),
                "two methods": measured(Path(folder), ["made", "others", "--seen", "seen"]),
            }
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
