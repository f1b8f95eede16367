"""Pictures and captions to CLIP tokens, the targets of the high-level stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.checkpoints import Clip, load_clip
from braindiffuser.networks.clip import image_embedding, mean_text_tokens, pixel_values, vision_tokens
from braindiffuser.targets.clip_vision import Resizing

PUBLISHED_SIDE = 512
"""Side in pixels that the published scripts enlarge every picture to before CLIP shrinks it again."""


def extract_vision_tokens(
    clip: Clip, pictures: Pictures, resizing: Resizing = "once"
) -> Float32[np.ndarray, "n tokens dim"]:
    """Vision tokens of pictures (n, 3, height, width) in [0, 1]; ViT-L/14: (n, 257, 768)."""
    if resizing == "as-published":
        large = images.resize(pictures, PUBLISHED_SIDE, Image.Resampling.BILINEAR)
        pictures = images.resize(cut_levels(large), clip.model.config.vision_config.image_size)
    with torch.inference_mode():
        tokens: Float32[np.ndarray, "n tokens dim"] = vision_tokens(clip.model, _pixels(clip, pictures)).cpu().numpy()
    return tokens


def cut_levels(pictures: Pictures) -> Pictures:
    """⌊255 ((2 x − 1) + 1) / 2⌋ / 255 in float32, of pictures whose values are 8-bit levels.

    The reference turns pictures to [−1, 1], back to [0, 1] and truncates them to 8 bits: 63 of the 256 levels come out one lower.
    """
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    cut = np.floor((levels * 2 - 1 + 1) / 2 * 255).astype(np.uint8)
    return images.from_uint8(cut[images.to_uint8(pictures)])


def extract_text_tokens(clip: Clip, captions: Sequence[Sequence[str]]) -> Float32[np.ndarray, "n length dim"]:
    """Mean text tokens over each picture's captions, empty ones left out; ViT-L/14: (n, 77, 768)."""
    with torch.inference_mode():
        tokens = [mean_text_tokens(clip.model, clip.tokenizer, row) for row in captions]
        stacked: Float32[np.ndarray, "n length dim"] = torch.stack(tokens).cpu().numpy()
    return stacked


def null_tokens(
    clip: Clip, resizing: Resizing = "once"
) -> tuple[Float32[np.ndarray, "1 tokens dim"], Float32[np.ndarray, "1 length dim"]]:
    """Unconditional tokens for guidance: of a mid-grey picture (published: level 127) and of the empty caption."""
    size = clip.model.config.vision_config.image_size
    grey = np.full((1, 3, size, size), 127 / 255 if resizing == "as-published" else 0.5, np.float32)
    return extract_vision_tokens(clip, grey), extract_text_tokens(clip, [[""]])


def embed_pictures(clip: Clip, pictures: Pictures) -> Float32[np.ndarray, "n dim"]:
    """CLIP's projected class token, unnormalised: the feature that pictures are scored by."""
    with torch.inference_mode():
        embedding: Float32[np.ndarray, "n dim"] = image_embedding(clip.model, _pixels(clip, pictures)).cpu().numpy()
    return embedding


def load_clip_on(networks: NetworkCache, folder: Path) -> Clip:
    """Load a CLIP checkpoint folder to the device of a cache, once."""
    return networks.load_to_device(folder, load_clip)


def _pixels(clip: Clip, pictures: Pictures) -> torch.Tensor:
    device = next(clip.model.parameters()).device
    return pixel_values(torch.from_numpy(pictures).to(device), clip.model.config.vision_config.image_size)
