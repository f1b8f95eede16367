"""Checkpoints: a folder with `config.json` and `model.safetensors` for each network; nothing else is read, never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import CLIPConfig, CLIPModel

from braindiffuser.models.vdvae import VDVAE, VDVAEConfig
from braindiffuser.models.versatile import DualGuidedUNet, VersatileConfig

Network = TypeVar("Network", bound=nn.Module)

BUNDLED = Path(__file__).parents[1] / "checkpoints"
"""Folder of the checkpoints that come with the package."""


@dataclass(frozen=True)
class Clip:
    """A CLIP model with the tokenizer that its text side was trained with."""

    model: CLIPModel
    tokenizer: Tokenizer


def build_clip(config: dict[str, Any]) -> CLIPModel:
    """Make a CLIP model from transformers' config dictionary."""
    return CLIPModel(CLIPConfig(**config))


def build_autoencoder(config: dict[str, Any]) -> AutoencoderKL:
    """Make a KL autoencoder from diffusers' config dictionary."""
    return AutoencoderKL.from_config(config)


def load_vdvae(folder: Path) -> VDVAE:
    """Load a VDVAE checkpoint folder, in float32 and evaluation mode."""
    return load_network(folder, lambda config: VDVAEConfig(**config).build())


def load_unet(folder: Path) -> DualGuidedUNet:
    """Load a dual-guided UNet checkpoint folder, in float32 and evaluation mode."""
    return load_network(folder, lambda config: DualGuidedUNet(VersatileConfig(**config)))


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load a KL autoencoder checkpoint folder, in float32 and evaluation mode."""
    return load_network(folder, build_autoencoder)


def load_clip(folder: Path) -> Clip:
    """Load a CLIP checkpoint folder (also `tokenizer.json`), in float32 and evaluation mode."""
    tokenizer = Tokenizer.from_str(json.dumps(_read_json(folder, "tokenizer.json")))
    return Clip(load_network(folder, build_clip), tokenizer)


def load_network(folder: Path, build: Callable[[dict[str, Any]], Network]) -> Network:
    """Build a network from `config.json` and fill it strictly from `model.safetensors`.

    Raises:
        FileNotFoundError: if the folder lacks one of the two files.
        ValueError: if `config.json` is not JSON, the tensors' file is damaged, or their names or shapes are not those of
            the network (names the first few).
    """
    network = build(_read_json(folder, "config.json"))
    try:
        stored = {name: tensor.float() for name, tensor in load_file(_existing(folder, "model.safetensors")).items()}
    except SafetensorError as error:
        raise ValueError(f"{folder / 'model.safetensors'} is damaged or cut short ({error})") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    if wanted != found:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        listed = "; ".join(f"{name}: wanted {wanted.get(name)}, found {found.get(name)}" for name in differing[:5])
        raise ValueError(f"{folder} does not fit its own config in {len(differing)} of {len(wanted)} tensors: {listed}")
    network.load_state_dict(stored)
    return network.eval().requires_grad_(False)


def save_network(folder: Path, network: nn.Module, config: dict[str, Any], dtype: torch.dtype = torch.float16) -> None:
    """Write a network as a checkpoint folder, its floating-point tensors in `dtype`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors")


def _existing(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} is not a checkpoint folder: it has no {name}")
    return folder / name


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = _existing(folder, name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, so damaged or cut short ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} instead of a mapping")
    return content


def hash_checkpoint(folder: Path) -> str:
    """Sixteen hexadecimal digits over the names and contents of a checkpoint folder's JSON and safetensors files."""
    content = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in {".json", ".safetensors"}:
            content.update(path.name.encode())
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()[:16]
