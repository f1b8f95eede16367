"""The memory plan's counted activations against what a machine really takes, at the published sizes.

python benchmarks/memory_plan.py [--json FILE]

On a CPU: growth of the resident memory over a guided step and a decoding of n pictures in float32, each in a process of its
own; from one n to the next it grows by a picture's share, without what the first call costs once. On a GPU: the peak of
torch's allocator, and of the whole card, in half precision at batches of 1, 4 and 16, and offloaded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from braindiffuser.experiment import Experiment
from braindiffuser.generators.diffusion import guided_denoiser
from braindiffuser.generators.placement import place
from braindiffuser.memory_plan import demand_of
from braindiffuser.networks.checkpoints import build_autoencoder, build_empty, build_unet
from braindiffuser.networks.convert import KL_F8
from braindiffuser.networks.versatile import VersatileConfig

N_VISION, N_TEXT = 257, 77
Result = dict[str, Any]


def step_on_cpu(n: int) -> float:
    """Grow by one guided step of n pictures."""
    unet = _filled(build_unet, VersatileConfig().model_dump(), torch.float32)
    tokens, null_tokens, latents = _inputs(n, "cpu")
    return _growth(lambda: guided_denoiser(unet, tokens, null_tokens, 7.5, 0.6)(latents, 721))


def decoding_on_cpu(n: int) -> float:
    """Grow by decoding n pictures."""
    autoencoder = _filled(build_autoencoder, dict(KL_F8), torch.float32)
    latents = _inputs(n, "cpu")[2]
    return _growth(lambda: autoencoder.decode(latents))


def second_stage_on_gpu(batch: int, offload: bool) -> Result:
    """Take one guided step of a batch and decode one picture, in half precision."""
    unet = place(_filled(build_unet, VersatileConfig().model_dump(), torch.float16), "cuda", offload)
    autoencoder = place(_filled(build_autoencoder, dict(KL_F8), torch.float16), "cuda", offload)
    tokens, null_tokens, latents = _inputs(batch, "cuda")
    for _ in range(2):
        guided_denoiser(unet, tokens, null_tokens, 7.5, 0.6)(latents, 721)
        autoencoder.decode(latents[:1].half())
    free, total = torch.cuda.mem_get_info()
    return {
        "batch": batch,
        "offload": offload,
        "planned_gb": demand_of(Experiment.load("brain-diffuser"), "half").gigabytes(batch, offload),
        "allocated_gb": torch.cuda.max_memory_allocated() / 1e9,
        "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        "taken_from_card_gb": (total - free) / 1e9,
    }


def _filled(build: Callable[[dict[str, Any]], Any], config: dict[str, Any], dtype: torch.dtype) -> Any:
    network = build_empty(build, config, "cpu", dtype).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.fill_(0.01)
    return network


def _inputs(
    n: int, device: str
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    tokens, null_tokens = (
        (torch.randn(count, N_VISION, 768, device=device), torch.randn(count, N_TEXT, 768, device=device))
        for count in (n, 1)
    )
    return tokens, null_tokens, torch.randn(n, 4, 64, 64, device=device)


def _growth(compute: Callable[[], Any]) -> float:
    before = psutil.Process().memory_info().rss
    compute()
    return (1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6


@torch.no_grad()
def _call(part: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return part(*arguments)


def _on_cpu(counted: int, part: Callable[[int], float]) -> Result:
    growth = {n: measured(part, n) for n in (1, 3)}
    share = (growth[3] - growth[1]) / 2
    return {"counted_mb_per_picture": counted / 1e6, "growth_mb": growth, "growth_mb_per_picture": share}


def measured(part: Callable[..., Any], *arguments: Any) -> Any:
    """Run a part in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_call, (part, arguments))


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    counted = demand_of(Experiment.load("brain-diffuser"), "full")
    result: Result = {
        "step_on_cpu": _on_cpu(counted.step, step_on_cpu),
        "decoding_on_cpu": _on_cpu(counted.coding, decoding_on_cpu),
    }
    if torch.cuda.is_available():
        settings = [(1, False), (4, False), (16, False), (1, True), (16, True)]
        result["on_gpu"] = [measured(second_stage_on_gpu, *setting) for setting in settings]
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
