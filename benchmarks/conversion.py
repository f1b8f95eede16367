"""Memory and time of converting Versatile Diffusion's published files, made of random tensors under the published names.

    python benchmarks/conversion.py [--fraction 1] [--layouts pth hub] [--json FILE]

`pth` is SHI-Labs' fp16 file (6.66 GB: both flows' UNets, the autoencoder, and tensors that no picture needs), `hub` the
hub's fp32 folders (image_unet 3.44 GB, text_unet 6.84 GB, vae). Files are written into a temporary folder (15 GB of disk)
and converted in a fresh process. Its anonymous memory is what it needs; pages of mapped files count in its resident memory
too, but the system drops them when memory is short.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import runpy
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from braindiffuser.networks.checkpoints import build_autoencoder
from braindiffuser.networks.convert import KL_F8, convert_versatile, hub_files, is_converted
from braindiffuser.networks.versatile import VersatileConfig, from_original

TESTS = Path(__file__).parents[1] / "tests"
PTH_BYTES, TEXT_UNET_BYTES = 6.66e9, 6.84e9
FILLER = 16 << 20
"""Numbers in a tensor that only makes a file as large as the published one."""
Shapes = Mapping[str, tuple[int, ...]]
Result = dict[str, Any]


def published_shapes(fraction: float) -> Shapes:
    """Read names and shapes of the published UNets; all widths (multiples of 320) times a fraction."""
    path = TESTS / "reference" / "vectors" / "versatile_diffusion_state_dict.json"
    listed: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: tuple(round(side * fraction) if side % 320 == 0 else side for side in shape)
        for name, shape in listed.items()
    }


def autoencoder_shapes() -> Shapes:
    """Name shapes of the KL-f8 autoencoder as diffusers does."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_autoencoder(dict(KL_F8)).state_dict().items()}


def write_pth(folder: Path, fraction: float) -> None:
    """Write the fp16 file."""
    original_name = runpy.run_path(str(TESTS / "conftest.py"))["_original_name"]
    shapes = dict(published_shapes(fraction))
    for name, shape in autoencoder_shapes().items():
        is_projection = "attentions" in name and len(shape) == 2
        shapes[f"autokl.{original_name(name, 4)}"] = (*shape, 1, 1) if is_projection else shape
    save(folder / "vd.pth", shapes, torch.float16, PTH_BYTES * fraction**2)


def write_hub(folder: Path, fraction: float) -> None:
    """Write the hub's three folders."""
    original = {name: torch.empty(shape, device="meta") for name, shape in published_shapes(fraction).items()}
    flows: dict[str, dict[str, tuple[int, ...]]] = {"image_unet": {}, "text_unet": {}}
    for name, tensor in from_original(original).items():
        flow = "text_unet" if ".text." in name else "image_unet"
        hub_name = name.removeprefix("unet.").replace(".text.", ".").replace(".vision.", ".")
        flows[flow][hub_name] = tuple(tensor.shape)
    least = {"image_unet": 0.0, "text_unet": TEXT_UNET_BYTES * fraction**2}
    for flow, shapes in (*flows.items(), ("vae", autoencoder_shapes())):
        (folder / flow).mkdir()
        save(folder / flow / "diffusion_pytorch_model.bin", shapes, torch.float32, least.get(flow, 0.0))


def config(fraction: float) -> VersatileConfig:
    """Return the published config, all widths times a fraction."""
    published = VersatileConfig()
    widths = tuple(round(width * fraction) for width in published.block_out_channels)
    return published.model_copy(update={"block_out_channels": widths})


def save(path: Path, shapes: Shapes, dtype: torch.dtype, at_least: float) -> None:
    """Write random tensors of these shapes, and as many others as make the file so large."""
    noise = torch.randn(FILLER).to(dtype)

    def random(shape: tuple[int, ...]) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return noise.repeat(1 + count // FILLER)[:count].reshape(shape).clone()

    tensors = {name: random(shape) for name, shape in shapes.items()}
    size = sum(tensor.numel() * dtype.itemsize for tensor in tensors.values())
    for number in range(round(max(0.0, at_least - size) / (FILLER * dtype.itemsize))):
        tensors[f"filler.{number}.weight"] = noise.clone()
    torch.save(tensors, path)


LAYOUTS: Mapping[str, tuple[Callable[[Path, float], None], str]] = {
    "pth": (write_pth, "vd.pth"),
    "hub": (write_hub, "."),
}
"""What writes a layout's files, and what of these is converted."""


@contextmanager
def peak_anonymous() -> Iterator[list[float]]:
    """Watch this process's anonymous memory; its first, and then its largest, gigabytes are in the list."""
    seen, done = [anonymous_gb()] * 2, threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen[1] = max(seen[1], anonymous_gb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def anonymous_gb() -> float:
    """Read RssAnon (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e9


def convert_and_watch(source: Path, out: Path, fraction: float) -> Result:
    """Convert once, and time how long it takes to find that this was done."""
    with peak_anonymous() as gigabytes:
        started = time.perf_counter()
        convert_versatile(source, out, config(fraction))
        times = [time.perf_counter() - started]
        started = time.perf_counter()
        files = hub_files(source) if source.is_dir() else [source]
        if not all(is_converted(out / name, files) for name in ("unet", "autoencoder")):
            raise RuntimeError("what was converted does not count as converted")
        times.append(time.perf_counter() - started)
    return {
        "seconds": round(times[0], 2),
        "seconds_again": round(times[1], 4),
        "anonymous_gb_before": round(gigabytes[0], 3),
        "peak_anonymous_gb": round(gigabytes[1], 3),
        "ru_maxrss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
    }


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """Do it in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def measured(layout: str, fraction: float) -> Result:
    """Write a layout's files and convert them."""
    write, source = LAYOUTS[layout]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(write, folder, fraction)
        file_bytes = sum(path.stat().st_size for pattern in ("*.pth", "*/*.bin") for path in folder.glob(pattern))
        result: Result = apart(convert_and_watch, folder / source, folder / "out", fraction)
    return {"files_gb": round(file_bytes / 1e9, 3)} | result


def main() -> None:
    """Measure the layouts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="of all widths, in tenths; files shrink by its square"
    )
    parser.add_argument("--layouts", nargs="+", choices=tuple(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result = {layout: measured(layout, arguments.fraction) for layout in arguments.layouts}
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
