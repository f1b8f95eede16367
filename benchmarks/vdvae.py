"""Extraction of 31 of the published VDVAE's 75 layers, beside the full pass of the same network, in one run.

python benchmarks/vdvae.py [--pictures 2] [--repeats 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from braindiffuser.networks.vdvae import IMAGENET64, VDVAE

N_LAYERS = 31


def seconds(network: VDVAE, pictures: torch.Tensor, noise: list[torch.Tensor], n_layers: int | None) -> float:
    """Time one pass."""
    started = time.perf_counter()
    network.infer(pictures, noise, n_layers)
    return time.perf_counter() - started


@torch.inference_mode()
def main() -> None:
    """Time both passes in turns, compare their latents, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = IMAGENET64.build().eval()
    pictures = torch.rand(arguments.pictures, 3, IMAGENET64.image_size, IMAGENET64.image_size)
    noise = [torch.randn(arguments.pictures, *shape) for shape in IMAGENET64.latent_shapes]
    network.infer(pictures, noise, 1)
    times: dict[str, list[float]] = {"31 layers": [], "all layers": []}
    for _ in range(arguments.repeats):
        times["31 layers"].append(seconds(network, pictures, noise, N_LAYERS))
        times["all layers"].append(seconds(network, pictures, noise, None))
    some, every = (network.infer(pictures, noise, n_layers)[0] for n_layers in (N_LAYERS, None))
    medians = {name: statistics.median(values) / arguments.pictures for name, values in times.items()}
    result = {
        "threads": torch.get_num_threads(),
        "pictures": arguments.pictures,
        "seconds_per_picture_31": medians["31 layers"],
        "seconds_per_picture_all": medians["all layers"],
        "ratio": medians["all layers"] / medians["31 layers"],
        "max_abs_diff": max(float((a.z - b.z).abs().max()) for a, b in zip(some, every, strict=False)),
        "spread_of_latents": float(every[N_LAYERS - 1].z.std()),
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
