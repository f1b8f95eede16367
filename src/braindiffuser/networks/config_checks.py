"""Whether checkpoints fit each other, by their `config.json`, the tokenizer and the names of tensors; no network is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser.errors import reason
from braindiffuser.networks.checkpoint_folders import read_config_of
from braindiffuser.plain_data import read_json

if TYPE_CHECKING:
    from torch import nn

ROUNDING = 5e-3
"""How far stated means may be rounded, as a share."""
TOGETHER = "name checkpoints that were trained together"


def side_of_clip(config: Mapping[str, Any], side: str) -> dict[str, Any]:
    """Return the entries of CLIP's "text" or "vision" side.

    Published configs may give them twice, under another name, which transformers prefers.

    Raises:
        ValueError: if they are no mapping.
    """
    given = [config.get(f"{side}_config") or {}, config.get(f"{side}_config_dict") or {}]
    if not all(isinstance(entries, Mapping) for entries in given):
        raise ValueError(f"{side}_config is no mapping")
    return {**given[0], **given[1]}


def check_clip(folder: Path, entry: str) -> dict[str, tuple[int, int]]:
    """Check that a checkpoint folder holds a CLIP model and a tokenizer that fits it.

    Returns:
        Side, "text" or "vision" → how many tokens it has, and their width, by its config.

    Raises:
        ValueError: naming the entry, the folder and what does not fit.
    """
    from braindiffuser.networks.checkpoints import build_clip
    from braindiffuser.networks.clip_tokenizer import read_tokenizer

    content = read_config_of("CLIP", folder, entry)
    try:
        text, vision = side_of_clip(content, "text"), side_of_clip(content, "vision")
        width = _count(content, "projection_dim", 512)
        side, patch = _count(vision, "image_size", 224), _count(vision, "patch_size", 32)
        if side % patch:
            raise ValueError(
                f"image_size {side} is no multiple of patch_size {patch}, so edges of pictures would be cut off"
            )
        patches = side // patch
        read_tokenizer(folder / "tokenizer.json", text)
        _check_preprocessing(folder)
        shapes = {"text": (_count(text, "max_position_embeddings", 77), width), "vision": (patches**2 + 1, width)}
    except (OSError, ValueError) as error:
        raise ValueError(f"{entry} names {folder}, whose files do not fit: {error}") from error
    check_tensors(folder, entry, "CLIP model", build_clip, content)
    return shapes


def _check_preprocessing(folder: Path) -> None:
    """Check that pictures are scaled and normalised as OpenAI's CLIP takes them, where a file beside the checkpoint says how."""
    from braindiffuser.networks.clip import PIXEL_MEAN, PIXEL_STD

    ours: dict[str, Any] = {
        "image_mean": list(PIXEL_MEAN),
        "image_std": list(PIXEL_STD),
        "rescale_factor": 1 / 255,
        "do_rescale": 1,
        "do_normalize": 1,
    }
    for path in (folder / "preprocessor_config.json", folder / "processor_config.json"):
        content = read_json(path) if path.exists() else {}
        nested = content.get("image_processor")
        stated = {**content, **(nested if isinstance(nested, Mapping) else {})}
        for name, expected in ours.items():
            theirs = stated.get(name)
            if theirs is not None and not _is_about(theirs, expected):
                raise ValueError(
                    f"{path} says {name} {theirs}, but pictures are prepared with {expected}: only CLIP models that take these "
                    "are supported"
                )


def _is_about(found: Any, expected: Any) -> bool:
    """Whether a number, or each of a list, is the expected one but for rounding."""
    if isinstance(expected, list):
        return isinstance(found, list | tuple) and len(found) == len(expected) and all(map(_is_about, found, expected))
    return isinstance(found, int | float) and math.isclose(found, expected, rel_tol=ROUNDING)


def check_vdvae(folder: Path, entry: str) -> list[int]:
    """Check that a checkpoint folder holds a VDVAE with the tensors that its config describes.

    Returns:
        How many latents the first layer has, the first two, and so on.

    Raises:
        ValueError: if they do not fit, or it is another network's; names the entry and the folder.
    """
    from braindiffuser.networks.vdvae import VDVAEConfig

    content = read_config_of("VDVAE", folder, entry)
    check_tensors(folder, entry, "VDVAE", lambda config: VDVAEConfig(**config).build(), content)
    return [*accumulate(math.prod(layer) for layer in VDVAEConfig(**content).latent_shapes)]


def check_tensors(
    folder: Path, entry: str, network: str, build: Callable[[dict[str, Any]], nn.Module], config: dict[str, Any]
) -> None:
    """Check that a checkpoint's tensors are those of the network that its config describes; none is read.

    Args:
        folder: of the checkpoint.
        entry: that names it.
        network: what it should be, for the message.
        build: makes the network from its config.
        config: of the network.

    Raises:
        ValueError: if they do not fit; names the entry and the folder.
    """
    from braindiffuser.networks.tensor_files import check_fit, open_tensors, shapes

    try:
        wanted = _shapes_of(network, build, config)
    except ValueError as error:
        raise ValueError(
            f"{entry} names {folder}, whose config.json is not that of a {network}: {reason(error)}"
        ) from error
    try:
        check_fit(folder, shapes(open_tensors(folder / "model.safetensors")), wanted)
    except ValueError as error:
        raise ValueError(f"{entry} names {folder}, whose config.json and tensors do not fit: {error}") from error


_KNOWN_SHAPES: dict[tuple[str, str], Mapping[str, str]] = {}
"""(network, its config as JSON) → shapes of its tensors, since building a network takes longer than reading its config."""


def _shapes_of(network: str, build: Callable[[dict[str, Any]], nn.Module], config: dict[str, Any]) -> Mapping[str, str]:
    """Return the shapes of the tensors of a network, which is built once for each config.

    Raises:
        ValueError: if none can be built.
    """
    import torch

    from braindiffuser.networks.checkpoints import build_empty
    from braindiffuser.networks.tensor_files import shapes

    key = network, json.dumps(config, sort_keys=True)
    if key not in _KNOWN_SHAPES:
        with torch.device("meta"):  # buffers too
            _KNOWN_SHAPES[key] = shapes(build_empty(build, config).state_dict())
    return _KNOWN_SHAPES[key]


def check_diffusion(unet: Path, autoencoder: Path) -> dict[str, int]:
    """Check that a dual-guided UNet denoises the latents that a KL autoencoder makes.

    Args:
        unet: checkpoint folder, which the entry `unet` names.
        autoencoder: checkpoint folder, which the entry `autoencoder` names.

    Returns:
        "vision" and "text" → width of the tokens that the UNet takes.

    Raises:
        ValueError: naming an entry, its folder and what does not fit.
    """
    from braindiffuser.networks.checkpoints import build_autoencoder, build_unet

    own = read_config_of("dual-guided UNet", unet, "unet")
    other = read_config_of("KL autoencoder", autoencoder, "autoencoder")
    try:
        taken = _count(own, "in_channels", 4), _count(own, "sample_size", 64)
        widths = {name: _count(own, f"{name}_dim", 768) for name in ("vision", "text")}
    except ValueError as error:
        raise ValueError(f"unet names {unet}, whose config.json cannot be used: {error}") from error
    try:
        _check_scaling(other)
        made = _count(other, "latent_channels", 4), _count(other, "sample_size", 32) / 2 ** (_levels(other) - 1)
    except ValueError as error:
        raise ValueError(f"autoencoder names {autoencoder}, whose config.json cannot be used: {error}") from error
    if taken != made:
        raise ValueError(
            f"unet names {unet}, which takes latents of {taken[0]} channels and {taken[1]} pixels a side, but the autoencoder "
            f"{autoencoder} makes {made[0]} channels and {made[1]:g} pixels: {TOGETHER}"
        )
    check_tensors(unet, "unet", "dual-guided UNet", build_unet, own)
    check_tensors(autoencoder, "autoencoder", "KL autoencoder", build_autoencoder, other)
    return widths


def _count(config: Mapping[str, Any], name: str, default: int) -> int:
    found = config.get(name, default)
    if type(found) is not int or found < 1:
        raise ValueError(f"{name} is {found!r}, expected a whole number above 0")
    return found


def _levels(config: Mapping[str, Any]) -> int:
    found = config.get("block_out_channels", [64])
    if not isinstance(found, list) or not found:
        raise ValueError(f"block_out_channels is {found!r}, expected a list")
    return len(found)


def _check_scaling(config: Mapping[str, Any]) -> None:
    """Check that latents are only scaled, by a number above 0: our diffusion neither shifts them nor scales each channel."""
    scale = config.get("scaling_factor", 1.0)
    if type(scale) not in (int, float) or not 0 < scale < math.inf:
        raise ValueError(f"scaling_factor is {scale!r}, expected a number above 0")
    unknown = [name for name in ("shift_factor", "latents_mean", "latents_std") if np.any(config.get(name))]
    if unknown:
        raise ValueError(
            f"it gives {unknown[0]}, but only autoencoders with nothing but a scaling_factor are supported"
        )
