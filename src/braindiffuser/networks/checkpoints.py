"""Checkpoints, a folder per network: `config.json`, `model.safetensors` and, for CLIP, `tokenizer.json`; never pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import CLIPConfig, CLIPModel

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import reason
from braindiffuser.files import replacing
from braindiffuser.networks.clip_tokenizer import read_tokenizer
from braindiffuser.networks.tensor_files import check_fit, load_checked, open_tensors, shapes, write_tensors
from braindiffuser.networks.vdvae import VDVAE, VDVAEConfig
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig
from braindiffuser.plain_data import read_json, write_json

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Clip:
    """A CLIP model with the tokenizer that its text side was trained with."""

    model: CLIPModel
    tokenizer: Tokenizer


def build_clip(config: dict[str, Any]) -> CLIPModel:
    """Make a CLIP model from transformers' config dictionary; its outputs are objects, whatever the config says."""
    return CLIPModel(CLIPConfig(**{**config, "return_dict": True}))


def build_autoencoder(config: dict[str, Any]) -> AutoencoderKL:
    """Make a KL autoencoder from diffusers' config dictionary."""
    return AutoencoderKL.from_config(config)


def load_vdvae(folder: Path, device: torch.device | str = "cpu") -> VDVAE:
    """Load a VDVAE checkpoint folder to a device, in float32 and evaluation mode."""
    return load_network(folder, lambda config: VDVAEConfig(**config).build(), device=device)


def build_unet(config: dict[str, Any]) -> DualGuidedUNet:
    """Make a dual-guided UNet from the entries of a `VersatileConfig`."""
    return DualGuidedUNet(VersatileConfig(**config))


def load_unet(folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> DualGuidedUNet:
    """Load a dual-guided UNet checkpoint folder to a device, in `dtype` and evaluation mode."""
    return load_network(folder, build_unet, dtype, device)


def load_autoencoder(
    folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> AutoencoderKL:
    """Load a KL autoencoder checkpoint folder to a device, in `dtype` and evaluation mode."""
    return load_network(folder, build_autoencoder, dtype, device)


def load_clip(folder: Path, device: torch.device | str = "cpu") -> Clip:
    """Load a CLIP checkpoint folder (also `tokenizer.json`) to a device, in float32 and evaluation mode.

    Start and end token are those of the tokenizer.
    """
    path = _existing(folder, "tokenizer.json")
    model = load_network(folder, build_clip, device=device)
    text = model.config.text_config
    tokenizer, special = read_tokenizer(path, text.to_dict())
    text.bos_token_id, text.eos_token_id = special
    model.text_model.eos_token_id = special.end  # kept from the config when it was built
    return Clip(model, tokenizer)


def load_network(
    folder: Path,
    build: Callable[[dict[str, Any]], Network],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Network:
    """Build a network from `config.json` and fill it strictly from `model.safetensors`.

    The network is built without tensors, and they are read one by one, each to the device. So a network for a GPU is never whole
    in main memory, and one for the CPU is there once, in `dtype`.

    Args:
        folder: of the checkpoint.
        build: makes the network from the content of `config.json`.
        dtype: of all stored floating-point tensors; buffers that are not stored keep their own.
        device: where the network computes.

    Returns:
        The network, in evaluation mode and without gradients.

    Raises:
        FileNotFoundError: if the folder lacks one of the two files.
        ValueError: if no network can be built from `config.json`, the tensors' file is damaged or holds NaN, or their
            names or shapes are not those of the network (names the first few).
    """
    network = build_empty(build, read_config(folder))
    path = _existing(folder, "model.safetensors")
    wanted = network.state_dict()
    check_fit(folder, shapes(open_tensors(path)), shapes(wanted))
    dtypes = {name: dtype if tensor.is_floating_point() else tensor.dtype for name, tensor in wanted.items()}
    network.load_state_dict(load_checked(path, dtypes, device, dtype), assign=True)
    return network.to(device).eval().requires_grad_(False)  # buffers that are not stored move too


def build_empty(
    build: Callable[[dict[str, Any]], Network],
    config: dict[str, Any],
    device: torch.device | str = "meta",
    dtype: torch.dtype | None = None,
) -> Network:
    """Build a network with parameters that are allocated but not initialised; on torch's meta device they take no memory.

    Buffers, which may be constants, are real.

    Args:
        build: makes the network from its config.
        config: of the network.
        device: where the parameters are.
        dtype: of the parameters; None leaves them as `build` makes them.

    Raises:
        ValueError: if `build` fails.
    """

    def emptied(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None:
            return None
        empty = torch.empty_like(parameter, device=device, dtype=dtype)
        return nn.Parameter(empty, requires_grad=parameter.requires_grad)

    handle = register_module_parameter_registration_hook(emptied)
    try:
        return build(config)
    except Exception as error:  # of the libraries' many kinds, for an arbitrary config
        if lacks_memory(error):
            raise
        raise ValueError(
            f"no network can be built from this config ({type(error).__name__}: {reason(error)})"
        ) from error
    finally:
        handle.remove()


def save_network(folder: Path, network: nn.Module, config: dict[str, Any], dtype: torch.dtype = torch.float16) -> None:
    """Write a network as a checkpoint folder, its floating-point tensors in `dtype`."""
    write_checkpoint(folder, config, network.state_dict(), dtype)


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> None:
    """Write `config.json` and `model.safetensors` of a checkpoint folder, floating-point tensors in `dtype`.

    Each file replaces an older one when it is complete; nothing else in the folder is touched.
    """
    write_json(folder / "config.json", config)
    with replacing(folder / "model.safetensors") as beside:
        write_tensors(beside, tensors, dtype)


def _existing(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} is not a checkpoint folder: it has no {name}")
    return folder / name


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a checkpoint folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not JSON.
    """
    return read_json(_existing(folder, "config.json"))
