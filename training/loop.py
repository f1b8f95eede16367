"""The loop that trains every bundled network: AdamW, cosine schedule, EMA weights, checkpoints that a killed run goes on from."""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from braindiffuser.files import replacing

Network = TypeVar("Network", bound=nn.Module)
Loss: TypeAlias = Callable[[int, torch.Generator], Tensor]
"""loss(step, generator): of the scenes and noise of one step, a number with gradients."""

TRAINING_SEED = 20230
"""Seed of all training scenes; simulated subjects use other seeds, so no scene is ever shared with them."""


def arguments_of(description: str | None, n_steps: int) -> argparse.ArgumentParser:
    """The options that every training script shares: --steps, --threads and --device."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=n_steps, help="length of the schedule (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument(
        "--device",
        type=torch.device,
        default=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        help="cpu, cuda, cuda:1 ... (default: the GPU if there is one)",
    )
    return parser


def train(
    network: Network,
    loss: Loss,
    folder: Path,
    n_steps: int,
    learning_rate: float,
    warmup: int = 200,
    ema_decay: float = 0.999,
    max_gradient: float = 1.0,
) -> Network:
    """Minimise `loss(step, generator)` over the network's parameters where they lie and return the EMA network, on the CPU.

    Step k draws its scenes and noise on the CPU from generators seeded with k, so a run that is killed and started
    again, or that runs on another device, sees what it would have seen. State goes to `folder` every 200 steps,
    written beside the old one and then moved over it; it is read back on any device.
    """
    torch.manual_seed(0)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    step = _resume(folder, network, average, optimiser)
    started, shown, recent = time.time(), step, 0.0
    network.train()
    while step < n_steps:
        _set_rate(optimiser, learning_rate, step, n_steps, warmup)
        value = loss(step, torch.Generator().manual_seed(step))
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, max_gradient)
        if torch.isfinite(norm):
            optimiser.step()
        step += 1
        decay = min(ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
            for kept, current in zip(average.buffers(), network.buffers(), strict=True):
                kept.copy_(current)
        recent += float(value.detach())
        if step % 100 == 0:
            rate = (step - shown) / (time.time() - started)
            print(f"step {step}/{n_steps}  loss {recent / (step - shown):.4f}  {rate:.2f} steps/s", flush=True)
            started, shown, recent = time.time(), step, 0.0
        if step % 200 == 0 or step == n_steps:
            _save(folder, network, average, optimiser, step)
    return average.cpu()


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, step: int, n_steps: int, warmup: int) -> None:
    rise = min(1.0, (step + 1) / warmup)
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / n_steps))
    for group in optimiser.param_groups:
        group["lr"] = peak * rise * fall


def _save(folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    state = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    state |= {f"average.{name}": tensor.contiguous() for name, tensor in average.state_dict().items()}
    for number, moments in optimiser.state_dict()["state"].items():
        state |= {f"optimiser.{number}.{name}": tensor.contiguous() for name, tensor in moments.items()}
    with replacing(folder / "state.safetensors") as beside:
        save_file(state, beside, metadata={"step": str(step)})


def _resume(folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    if not (folder / "state.safetensors").exists():
        return 0
    with safe_open(folder / "state.safetensors", "pt") as file:
        step = int(file.metadata()["step"])
    state = load_file(folder / "state.safetensors")
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    for key, tensor in state.items():
        part, name = key.split(".", 1)
        parts[part][name] = tensor
    network.load_state_dict(parts["network"])
    average.load_state_dict(parts["average"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        number, moment = name.split(".")
        moments.setdefault(int(number), {})[moment] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return step
