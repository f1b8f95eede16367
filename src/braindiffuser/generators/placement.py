"""Where the second stage's networks wait and compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch

Network = TypeVar("Network", bound=torch.nn.Module)


def place(network: Network, device: torch.device | str, offload: bool = False) -> Network:
    """Put a network where it computes.

    Args:
        network: lies on the device already, or in main memory, where an offloaded one stays.
        device: where it computes.
        offload: leave it in main memory; each layer goes to the device when it is run and comes back afterwards. Slower,
            with the same results.

    Returns:
        The same network.
    """
    if not offload:
        return network.to(device)
    for module in network.modules():
        waiting = dict((*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)))
        if waiting:
            module.register_forward_pre_hook(lambda layer, _, own=waiting: _replace(layer, _on(own, device)))
            module.register_forward_hook(lambda layer, *_, own=waiting: _replace(layer, own), always_call=True)
    return network


def _on(tensors: Mapping[str, torch.Tensor], device: torch.device | str) -> dict[str, torch.Tensor]:
    """Copy a layer's tensors to a device, parameters to parameters."""
    return {
        name: torch.nn.Parameter(tensor.to(device), requires_grad=False)
        if isinstance(tensor, torch.nn.Parameter)
        else tensor.to(device)
        for name, tensor in tensors.items()
    }


def _replace(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        setattr(module, name, tensor)
