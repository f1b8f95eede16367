"""Convert published files to checkpoint folders: original `.th` and `.pth` files and the hub's layout to slim safetensors.

Originals are opened with `weights_only=True` and memory-mapped, and tensors are written one after the other, so no file is
held in memory twice. A folder is complete when it holds `source.json`, which says what it was made from.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file

from braindiffuser.files import replacing
from braindiffuser.networks.checkpoints import build_autoencoder, build_clip, check_fit, shapes
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.vdvae import IMAGENET64, VDVAE, VDVAEConfig
from braindiffuser.networks.versatile import (
    DualGuidedUNet,
    VersatileConfig,
    config_of_original,
    from_hub,
    from_original,
)

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

_DTYPES = {torch.float16: "F16", torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}


def convert_vdvae(source: Path, folder: Path, config: VDVAEConfig = IMAGENET64) -> bool:
    """Convert OpenAI's `imagenet64-iter-1600000-model-ema.th`; its tensors stay in float32.

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
    tensors = {name.removeprefix("module."): tensor for name, tensor in open_original(source).items()}
    with torch.device("meta"):
        wanted = VDVAE(config).state_dict()
    fitted = _fitted(source, tensors, wanted)
    _write_folder(folder, config.model_dump(mode="json"), fitted, torch.float32, [source])
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
    original = open_original(source)
    try:
        config, unet = config_of_original(original, heads, autoencoder["sample_size"] // 8), from_original(original)
    except ValueError as error:
        raise ValueError(f"{source} cannot be converted: {error}") from error
    unet, coder = _fitted(source, unet, _unet_tensors(config)), _autoencoder_tensors(source, original, autoencoder)
    _write_folder(folder / "unet", config.model_dump(mode="json"), unet, torch.float16, [source])
    _write_folder(folder / "autoencoder", dict(autoencoder), coder, torch.float16, [source])
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
    image, text = (open_original(path) for path in unet_files)
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
    unet = _fitted(hub, from_hub(image, text), _unet_tensors(config))
    vae_config = json.loads((hub / "vae" / "config.json").read_text(encoding="utf-8"))
    kept = {name: vae_config[name] for name in KL_F8 if name in vae_config}
    kept |= {"scaling_factor": KL_F8["scaling_factor"], "sample_size": 8 * config.sample_size}
    vae = {_new_attention_name(name): tensor for name, tensor in open_original(files["vae"]).items()}
    coder = _fitted(files["vae"], vae, _autoencoder_shapes(kept))
    _write_folder(folder / "unet", config.model_dump(mode="json"), unet, torch.float16, unet_files)
    _write_folder(folder / "autoencoder", kept, coder, torch.float16, [files["vae"]])
    return True


def convert_clip(source: Path, tokenizer: Path, folder: Path, config: Mapping[str, Any] = VIT_L14) -> bool:
    """Convert CLIP: the hub's `model.safetensors`, or the one inside SHI-Labs' `.pth`, with the hub's `tokenizer.json`.

    Args:
        source: the file that holds the tensors.
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
    with torch.device("meta"):
        wanted = build_clip(dict(config)).state_dict()
    prefix = "clip.model."
    original = open_original(source)
    inside = {name.removeprefix(prefix): tensor for name, tensor in original.items() if name.startswith(prefix)}
    tensors = inside or dict(original)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    wanted = {name: tensor for name, tensor in wanted.items() if not name.endswith("position_ids")}
    fitted = _fitted(source, tensors, wanted)
    _write_folder(folder, dict(config), fitted, torch.float16, [source, tokenizer], {"tokenizer.json": tokenizer})
    return True


def open_original(path: Path) -> Mapping[str, torch.Tensor]:
    """Open a file of tensors without running anything in it: safetensors, or torch's format with `weights_only`.

    Raises:
        ValueError: if it is missing, truncated, or holds anything but tensors by name; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = _torch_load(path)
    except (SafetensorError, RuntimeError, EOFError, UnpicklingError, OSError) as error:
        raise ValueError(f"{path} is truncated or no checkpoint: download it again ({_first_line(error)})") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ValueError(f"{path} does not hold tensors by name, so it is no checkpoint")
    return content


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # written before torch 1.6


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> None:
    """Write a safetensors file one tensor after the other, floating-point ones in `dtype`.

    The format is a header (its length in 8 bytes, then JSON: name → type, shape, first and last byte) and the bytes.
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        stored = dtype if tensor.is_floating_point() else tensor.dtype
        start, end = end, end + tensor.numel() * stored.itemsize
        header[name] = {"dtype": _DTYPES[stored], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            written = tensor.to(dtype) if tensor.is_floating_point() else tensor
            file.write(written.contiguous().flatten().view(torch.uint8).numpy().data)


def _write_folder(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    sources: Iterable[Path],
    copies: Mapping[str, Path] | None = None,
) -> None:
    """Write the files of a checkpoint folder; `source.json`, which says that all are there, comes last."""
    (folder / SOURCE).unlink(missing_ok=True)
    for name, source in (copies or {}).items():
        with replacing(folder / name) as beside:
            shutil.copyfile(source, beside)
    with replacing(folder / "config.json") as beside:
        beside.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with replacing(folder / "model.safetensors") as beside:
        write_tensors(beside, tensors, dtype)
    with replacing(folder / SOURCE) as beside:
        beside.write_text(json.dumps(_facts(sources), indent=2) + "\n", encoding="utf-8")


def is_converted(folder: Path, sources: Iterable[Path]) -> bool:
    """Whether a checkpoint folder was made from files of these names and sizes, in this order."""
    path = folder / SOURCE
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8")) == _facts(sources))


def _facts(sources: Iterable[Path]) -> list[dict[str, Any]]:
    return [{"file": path.name, "bytes": path.stat().st_size} for path in sources if path.is_file()]


def _fitted(
    source: Path, found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the tensors of a network; a 1 × 1 convolution may be stored as a matrix, or the other way round.

    Raises:
        ValueError: as `check_fit`.
    """
    shaped = {
        name: tensor.reshape(wanted[name].shape)
        if name in wanted and _long_sides(tensor) == _long_sides(wanted[name])
        else tensor
        for name, tensor in found.items()
    }
    check_fit(source, shapes(shaped), shapes(wanted))
    return shaped


def _long_sides(tensor: torch.Tensor) -> list[int]:
    return [side for side in tensor.shape if side > 1]


def _unet_tensors(config: VersatileConfig) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return DualGuidedUNet(config).state_dict()


def _autoencoder_shapes(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes: dict[str, torch.Tensor] = build_autoencoder(dict(config)).state_dict()
    return shapes


def _autoencoder_tensors(
    source: Path, original: Mapping[str, torch.Tensor], config: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    prefix = "autokl."
    own = {name.removeprefix(prefix): tensor for name, tensor in original.items() if name.startswith(prefix)}
    return _fitted(source, convert_ldm_vae_checkpoint(own, dict(config)), _autoencoder_shapes(config))


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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
