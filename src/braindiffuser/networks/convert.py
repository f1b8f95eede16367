"""Convert published files to checkpoint folders: original `.th` and `.pth` files and the hub's layout to slim safetensors.

Originals are memory-mapped and tensors are written one after the other, so no file is held in memory twice. A folder's
`source.json`, written last, names the files that the folder was made from: without it the folder is not complete.
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

from braindiffuser.files import replacing
from braindiffuser.networks.checkpoints import (
    build_autoencoder,
    build_clip,
    build_empty,
    build_unet,
    write_checkpoint,
)
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.tensor_files import check_fit, open_tensors, shapes
from braindiffuser.networks.vdvae import IMAGENET64, VDVAEConfig
from braindiffuser.networks.versatile import VersatileConfig, config_of_original, from_hub, from_original

Tensors = Mapping[str, torch.Tensor]

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

SOURCE = "source.json"
"""Names and sizes of the files that a checkpoint folder was made from; the last file of the folder to be written."""


def convert_vdvae(source: Path, folder: Path, config: VDVAEConfig = IMAGENET64) -> bool:
    """Convert OpenAI's `imagenet64-iter-1600000-model-ema.th`; tensors stay in float32.

    Args:
        source: the `.th` file; names may begin with `module.`.
        folder: becomes a checkpoint folder.
        config: of the network that the file holds.

    Returns:
        False, doing nothing, if already converted, from a file of this name and size.

    Raises:
        ValueError: if the file cannot be read, or is not this network's; the message names it.
    """
    if is_converted(folder, [source]):
        return False
    tensors = {name.removeprefix("module."): tensor for name, tensor in open_tensors(source).items()}
    content = config.model_dump(mode="json")
    tensors = _fitting(source, tensors, lambda given: VDVAEConfig(**given).build(), content)
    _write_folder(folder, content, tensors, torch.float32, [source])
    return True


def convert_versatile(source: Path, folder: Path, autoencoder: Mapping[str, Any] = KL_F8, heads: int = 8) -> bool:
    """Convert SHI-Labs' four-flow `.pth` (fp16 or fp32) to the folders `unet` and `autoencoder`, in float16.

    Only what pictures need is kept: the image flow, the text flow's transformers, and the autoencoder.

    Args:
        source: the `.pth` file.
        folder: `folder/unet` and `folder/autoencoder` become checkpoint folders.
        autoencoder: config of the autoencoder in the file.
        heads: attention heads of the UNet, which cannot be read from the file.

    Returns:
        False, doing nothing, if both are already converted, from a file of this name and size.

    Raises:
        ValueError: if the file cannot be read or lacks a tensor; the message names it.
    """
    if all(is_converted(folder / part, [source]) for part in ("unet", "autoencoder")):
        return False
    original = open_tensors(source)
    try:
        config, unet = config_of_original(original, heads, autoencoder["sample_size"] // 8), from_original(original)
    except ValueError as error:
        raise ValueError(f"{source} cannot be converted: {error}") from error
    content, prefix = config.model_dump(mode="json"), "autokl."
    own = {name.removeprefix(prefix): tensor for name, tensor in original.items() if name.startswith(prefix)}
    vae = _fitting(source, convert_ldm_vae_checkpoint(own, dict(autoencoder)), build_autoencoder, autoencoder)
    _write_folder(folder / "unet", content, _fitting(source, unet, build_unet, content), torch.float16, [source])
    _write_folder(folder / "autoencoder", autoencoder, vae, torch.float16, [source])
    return True


def convert_versatile_hub(hub: Path, folder: Path, heads: int = 8) -> bool:
    """Convert the hub's diffusers layout (`image_unet`, `text_unet`, `vae` folders) as `convert_versatile` does.

    Args:
        hub: a local copy of shi-labs/versatile-diffusion.
        folder: `folder/unet` and `folder/autoencoder` become checkpoint folders.
        heads: attention heads of the UNet.

    Returns:
        False if both were made from files of these names and sizes before.

    Raises:
        ValueError: if a file is missing, cannot be read, or lacks a tensor; the message names it.
    """
    files = {part: _hub_file(hub / part) for part in ("image_unet", "text_unet", "vae")}
    unet_files = [files["image_unet"], files["text_unet"]]
    if is_converted(folder / "unet", unet_files) and is_converted(folder / "autoencoder", [files["vae"]]):
        return False
    image, text = (open_tensors(path) for path in unet_files)
    hub_config = json.loads((hub / "image_unet" / "config.json").read_text(encoding="utf-8"))
    config = VersatileConfig(
        in_channels=hub_config["in_channels"],
        sample_size=hub_config["sample_size"],
        block_out_channels=tuple(hub_config["block_out_channels"]),
        attention_levels=tuple("CrossAttn" in name for name in hub_config["down_block_types"]),
        layers_per_block=hub_config["layers_per_block"],
        attention_heads=heads,
        vision_dim=hub_config["cross_attention_dim"],
        text_dim=hub_config["cross_attention_dim"],
        norm_num_groups=hub_config.get("norm_num_groups", 32),
    )
    content = config.model_dump(mode="json")
    unet = _fitting(hub, from_hub(image, text), build_unet, content)
    vae_config = json.loads((hub / "vae" / "config.json").read_text(encoding="utf-8"))
    kept = {name: vae_config[name] for name in KL_F8 if name in vae_config}
    kept |= {"scaling_factor": KL_F8["scaling_factor"], "sample_size": 8 * config.sample_size}
    vae = {_new_attention_name(name): tensor for name, tensor in open_tensors(files["vae"]).items()}
    vae = _fitting(files["vae"], vae, build_autoencoder, kept)
    _write_folder(folder / "unet", content, unet, torch.float16, unet_files)
    _write_folder(folder / "autoencoder", kept, vae, torch.float16, [files["vae"]])
    return True


def convert_clip(source: Path, tokenizer: Path, folder: Path, config: Mapping[str, Any] = VIT_L14) -> bool:
    """Convert CLIP: the hub's `model.safetensors`, or the one inside SHI-Labs' `.pth`, with the hub's `tokenizer.json`.

    Args:
        source: the file of CLIP's tensors.
        tokenizer: the hub's `tokenizer.json`.
        folder: becomes a checkpoint folder, in float16.
        config: of the CLIP model.

    Returns:
        False if `folder` was made from files of these names and sizes before.

    Raises:
        ValueError: if a file is missing, cannot be read, or is not this network's.
    """
    if is_converted(folder, [source, tokenizer]):
        return False
    original, prefix = open_tensors(source), "clip.model."
    inside = {name.removeprefix(prefix): tensor for name, tensor in original.items() if name.startswith(prefix)}
    tensors = {name: tensor for name, tensor in (inside or original).items() if not name.endswith("position_ids")}
    tensors = _fitting(source, tensors, build_clip, config)
    _write_folder(folder, config, tensors, torch.float16, [source, tokenizer], tokenizer)
    return True


def _fitting(
    source: Path, tensors: Tensors, build: Callable[[dict[str, Any]], nn.Module], config: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Return tensors in the shapes of a network's; a 1 × 1 convolution may be stored as a matrix, or the other way round.

    Raises:
        ValueError: if they are not the tensors of the network that `build` makes of `config`.
    """
    wanted = shapes(build_empty(build, dict(config)).state_dict())
    shaped = {}
    for name, tensor in tensors.items():
        shape = wanted.get(name, tensor.shape)
        shaped[name] = tensor.reshape(shape) if _long_sides(tensor.shape) == _long_sides(shape) else tensor
    check_fit(source, shapes(shaped), wanted)
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
    if tokenizer is not None:
        with replacing(folder / "tokenizer.json") as beside:
            shutil.copyfile(tokenizer, beside)
    write_checkpoint(folder, config, tensors, dtype)
    with replacing(folder / SOURCE) as beside:
        beside.write_text(_facts(sources), encoding="utf-8")


def is_converted(folder: Path, sources: Iterable[Path]) -> bool:
    """Whether a checkpoint folder is complete and was made from files of these names and sizes, in this order."""
    path = folder / SOURCE
    return path.is_file() and path.read_text(encoding="utf-8") == _facts(sources)


def _facts(sources: Iterable[Path]) -> str:
    facts = [{"file": path.name, "bytes": path.stat().st_size} for path in sources if path.is_file()]
    return json.dumps(facts, indent=2) + "\n"


def _new_attention_name(name: str) -> str:
    """Rename the autoencoder's attention as diffusers ≥ 0.17 does."""
    for old, new in {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}.items():
        name = name.replace(f"attentions.0.{old}.", f"attentions.0.{new}.")
    return name


def _hub_file(folder: Path) -> Path:
    names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None or not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} is not a folder of the hub's layout: it needs config.json and one of {', '.join(names)}"
        )
    return found
