"""Convert published files to checkpoint folders: original `.th` and `.pth` files and the hub's layout to slim safetensors.

Originals are memory-mapped and tensors are written one after the other, so no file is held in memory twice. In each
folder `source.json`, written last, lists the size, hash and times of the source files and of the folder's own; if it is absent or
they differ, the folder is converted again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import nn

from braindiffuser.errors import RunError
from braindiffuser.files import as_states, changed_files, replacing, state_of
from braindiffuser.networks.checkpoint_folders import SOURCE
from braindiffuser.networks.checkpoints import (
    build_autoencoder,
    build_clip,
    build_empty,
    build_unet,
    write_checkpoint,
)
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.clip_tokenizer import read_tokenizer
from braindiffuser.networks.config_checks import side_of_clip
from braindiffuser.networks.tensor_files import check_fit, check_values, open_tensors, shapes
from braindiffuser.networks.vdvae import IMAGENET64, VDVAEConfig
from braindiffuser.networks.versatile import VersatileConfig, from_hub, from_original
from braindiffuser.plain_data import write_json

Tensors = Mapping[str, torch.Tensor]

VERSATILE = VersatileConfig()
"""The published UNet."""

KL_F8: Mapping[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "sample_size": 512,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
"""The KL-f8 autoencoder that Versatile Diffusion shares with Stable Diffusion 1."""


def convert_vdvae(source: Path, folder: Path, config: VDVAEConfig = IMAGENET64) -> None:
    """Convert OpenAI's `imagenet64-iter-1600000-model-ema.th`; tensors stay in float32.

    Args:
        source: the `.th` file; names may begin with `module.`.
        folder: becomes a checkpoint folder.
        config: of the network that the file holds.

    Raises:
        ValueError: if the file cannot be read, or is not this network's; the message names it.
    """
    tensors = _renamed(source, open_tensors(source), lambda name: name.removeprefix("module."))
    content = config.model_dump(mode="json")
    tensors = _fitting(source, tensors, lambda given: VDVAEConfig(**given).build(), content, torch.float32)
    _write_folder(folder, content, tensors, torch.float32, [source])


def convert_versatile(
    source: Path, folder: Path, config: VersatileConfig = VERSATILE, autoencoder: Mapping[str, Any] = KL_F8
) -> None:
    """Convert Versatile Diffusion, in either published layout, to the folders `unet` and `autoencoder`, in float16.

    Only what pictures need is kept: the image flow, the text flow's transformers, and the autoencoder.

    Args:
        source: SHI-Labs' four-flow `.pth` (fp16 or fp32), or a local copy of the hub's repository (see `hub_files`).
        folder: `folder/unet` and `folder/autoencoder` become checkpoint folders.
        config: of the UNet.
        autoencoder: config of the autoencoder.

    Raises:
        ValueError: if a file is missing, cannot be read, or lacks a tensor; the message names it.
    """
    files = hub_files(source) if source.is_dir() else [source]
    opened, content, half = [open_tensors(path) for path in files], config.model_dump(mode="json"), torch.float16
    if source.is_dir():
        image, text, vae = opened
        unet, vae = from_hub(image, text), _renamed(files[2], vae, _new_attention_name)
    else:
        unet = from_original(opened[0], config.layers_per_block)
        vae = _autoencoder_of_original(opened[0], autoencoder)
    unet = _fitting(source, unet, build_unet, content, half)
    vae = _fitting(source, vae, build_autoencoder, autoencoder, half)
    _write_folder(folder / "unet", content, unet, half, files)
    _write_folder(folder / "autoencoder", autoencoder, vae, half, files)


def hub_files(hub: Path) -> list[Path]:
    """List the files that are needed of a local copy of shi-labs/versatile-diffusion, in safetensors where it has both."""
    stems = [hub / part / "diffusion_pytorch_model" for part in ("image_unet", "text_unet", "vae")]
    return [
        path if (path := stem.with_suffix(".safetensors")).is_file() else stem.with_suffix(".bin") for stem in stems
    ]


def _autoencoder_of_original(original: Tensors, config: Mapping[str, Any]) -> Tensors:
    prefix = "autokl."
    own = {name.removeprefix(prefix): tensor for name, tensor in original.items() if name.startswith(prefix)}
    try:
        renamed: Tensors = convert_ldm_vae_checkpoint(own, dict(config))
    except LookupError:  # diffusers expects certain tensors
        return own
    return renamed


def convert_clip(source: Path, tokenizer: Path, folder: Path, config: Mapping[str, Any] = VIT_L14) -> None:
    """Convert CLIP: the hub's `model.safetensors`, or the one inside SHI-Labs' `.pth`, with the hub's `tokenizer.json`.

    The config that is written has the start and end token of the tokenizer.

    Args:
        source: the file of CLIP's tensors.
        tokenizer: the hub's `tokenizer.json`.
        folder: becomes a checkpoint folder, in float16.
        config: of the CLIP model.

    Raises:
        ValueError: if a file cannot be read, or is not this network's.
    """
    text = side_of_clip(config, "text")
    _, special = read_tokenizer(tokenizer, text)
    text |= {"bos_token_id": special.start, "eos_token_id": special.end}
    config = {**config, "text_config": text}
    original, prefix = open_tensors(source), "clip.model."
    inside = {name.removeprefix(prefix): tensor for name, tensor in original.items() if name.startswith(prefix)}
    tensors = {name: tensor for name, tensor in (inside or original).items() if not name.endswith("position_ids")}
    tensors = _fitting(source, tensors, build_clip, config, torch.float16)
    _write_folder(folder, config, tensors, torch.float16, [source, tokenizer], tokenizer)


def _renamed(source: Path, tensors: Tensors, rename: Callable[[str], str]) -> dict[str, torch.Tensor]:
    """Rename tensors; raises ValueError if two get one name, since one of them would be lost."""
    origins: dict[str, str] = {}
    for name in tensors:
        other = origins.setdefault(rename(name), name)
        if other != name:
            raise ValueError(f"{source} holds both {other} and {name}, which are one tensor of the network: keep one")
    return {new: tensors[old] for new, old in origins.items()}


def _fitting(
    source: Path,
    tensors: Tensors,
    build: Callable[[dict[str, Any]], nn.Module],
    config: Mapping[str, Any],
    dtype: torch.dtype,
) -> dict[str, torch.Tensor]:
    """Return tensors in the shapes of a network's; a 1 × 1 convolution may be stored as a matrix, or the other way round.

    Raises:
        ValueError: if they are not the tensors of the network that `build` makes of `config`, or not finite in `dtype`.
    """
    wanted = build_empty(build, dict(config)).state_dict()
    shaped = {}
    for name, tensor in tensors.items():
        shape = wanted.get(name, tensor).shape
        shaped[name] = tensor.reshape(shape) if _long_sides(tensor.shape) == _long_sides(shape) else tensor
    check_fit(source, shapes(shaped), shapes(wanted))
    check_values(source, shaped, dtype)
    return shaped


def _long_sides(shape: Iterable[int]) -> list[int]:
    return [side for side in shape if side > 1]


def _write_folder(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Tensors,
    dtype: torch.dtype,
    sources: Iterable[Path],
    tokenizer: Path | None = None,
) -> None:
    (folder / SOURCE).unlink(missing_ok=True)
    names = ["config.json", "model.safetensors"]
    if tokenizer is not None:
        names.append("tokenizer.json")
        with replacing(folder / "tokenizer.json") as beside:
            shutil.copyfile(tokenizer, beside)
    write_checkpoint(folder, config, tensors, dtype)
    made_from = [{"file": path.name, "state": state_of(path)} for path in sources]
    content = {"made_from": made_from, "files": {name: state_of(folder / name) for name in names}}
    write_json(folder / SOURCE, content)


def is_converted(folder: Path, sources: Iterable[Path]) -> bool:
    """Return whether a folder is undamaged and was made from these sources; of one that is gone, only the name is compared."""
    try:
        content = json.loads((folder / SOURCE).read_text(encoding="utf-8"))
        return all(
            fact["file"] == path.name
            and (not path.is_file() or not changed_files(path.parent, as_states({path.name: fact["state"]})))
            for fact, path in zip(content["made_from"], sources, strict=True)
        ) and not changed_files(folder, as_states(content["files"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError, RunError):
        return False


def _new_attention_name(name: str) -> str:
    """Rename the autoencoder's attention as diffusers ≥ 0.17 does."""
    for old, new in {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}.items():
        name = name.replace(f"attentions.0.{old}.", f"attentions.0.{new}.")
    return name
