"""Where the second stage's networks lie, and in what precision they compute."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar

import torch
from diffusers.hooks import apply_group_offloading

Precision: TypeAlias = Literal["full", "half"]

Network = TypeVar("Network", bound=torch.nn.Module)


def torch_dtype(precision: Precision, device: torch.device | str) -> torch.dtype:
    """Return the precision in force on a device: float16 for "half" on a GPU, else float32 (on a CPU half is slower).

    No device is looked for: that of another machine can be named.

    Example:
        >>> torch_dtype("half", "cuda:1"), torch_dtype("half", "cpu")
        (torch.float16, torch.float32)
    """
    on_cpu = str(device).partition(":")[0] == "cpu"
    return torch.float16 if precision == "half" and not on_cpu else torch.float32


def place(network: Network, device: torch.device | str, offload: bool = False) -> Network:
    """Put a network where it computes.

    Args:
        network: lies in main memory.
        device: where it computes.
        offload: leave it in main memory; each layer goes to the device when it is run and comes back afterwards. Slower,
            with the same results.

    Returns:
        The same network.
    """
    if not offload:
        return network.to(device)
    apply_group_offloading(network, torch.device(device), offload_type="leaf_level")
    return network
