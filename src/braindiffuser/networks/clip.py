"""CLIP tokens by Versatile Diffusion's rules, from transformers' `CLIPModel`.

Every token, not only the class or end token, goes through the last layer norm and the projection, and is divided by the
norm of the projected class (vision) or end (text) token: method section of Ozcelik & VanRullen 2023, "CLIP".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation that all CLIP models expect their pictures, in [0, 1], to be normalised with."""

VIT_L14: Mapping[str, Any] = {
    "projection_dim": 768,
    "text_config": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
        "bos_token_id": 49406,  # the published config says 0 and 2, which are not its tokenizer's
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": 768,
    },
}
"""Config of CLIP ViT-L/14, with the start and end tokens that its tokenizer uses."""


def pixel_values(pictures: Float[Tensor, "n 3 h w"], size: int) -> Float[Tensor, "n 3 size size"]:
    """(x − mean) / std of pictures in [0, 1], resized bicubically (with antialias) to size × size.

    Raises:
        ValueError: if a value lies outside [0, 1], as in pictures of 0…255. (Pictures divided by 255 twice are not
            detected: use `images.from_uint8`.)
    """
    if pictures.numel() and not (pictures.min() >= 0 and pictures.max() <= 1):
        raise ValueError(
            f"CLIP takes pictures in [0, 1], got values from {pictures.min():.3g} to {pictures.max():.3g}: "
            "convert 8-bit pictures with braindiffuser.images.from_uint8, once"
        )
    if pictures.shape[-2:] != (size, size):
        pictures = F.interpolate(pictures, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (pictures - mean) / std


def vision_tokens(model: CLIPModel, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n tokens dim"]:
    """W·LN(h) / ‖W·LN(h₀)‖ for every token h of the vision transformer, class token h₀ first.

    Args:
        model: any `CLIPModel`.
        pixels: normalised pictures from `pixel_values`.
    """
    hidden = model.vision_model(pixel_values=pixels).last_hidden_state
    tokens = model.visual_projection(model.vision_model.post_layernorm(hidden))
    normalised: Tensor = tokens / tokens[:, :1].norm(dim=-1, keepdim=True)
    return normalised


def text_tokens(model: CLIPModel, input_ids: Int[Tensor, "n length"]) -> Float[Tensor, "n length dim"]:
    """W·h / ‖W·h_end‖ for every token h of the text transformer (after its final layer norm).

    Args:
        model: any `CLIPModel`.
        input_ids: captions from `tokenize`; the first end token of each row sets its norm.
    """
    hidden = model.text_model(input_ids=input_ids).last_hidden_state
    tokens = model.text_projection(hidden)
    end = (input_ids == model.config.text_config.eos_token_id).int().argmax(dim=-1)
    normalised: Tensor = tokens / tokens[torch.arange(len(tokens)), end].unsqueeze(1).norm(dim=-1, keepdim=True)
    return normalised


def mean_text_tokens(model: CLIPModel, tokenizer: Tokenizer, captions: Sequence[str]) -> Float[Tensor, "length dim"]:
    """Mean over captions of their text tokens; empty captions are left out, unless all are empty.

    With no caption at all this is the empty caption's encoding: the unconditional text of guidance.
    """
    kept = [caption for caption in captions if caption.strip()] or [""]
    device = next(model.parameters()).device
    return text_tokens(model, tokenize(model, tokenizer, kept).to(device)).mean(dim=0)


def tokenize(model: CLIPModel, tokenizer: Tokenizer, captions: Sequence[str]) -> Int[Tensor, "n length"]:
    """Turn captions into ids: start, words, end, padded with the end token to the model's full length (longer ones are cut)."""
    text = model.config.text_config
    length: int = text.max_position_embeddings
    rows = []
    for encoding in tokenizer.encode_batch(list(captions), add_special_tokens=False):
        words = encoding.ids[: length - 2]
        rows.append([text.bos_token_id, *words, *[text.eos_token_id] * (length - 1 - len(words))])
    return torch.tensor(rows, dtype=torch.long).reshape(-1, length)


def image_embedding(model: CLIPModel, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n dim"]:
    """The projected class token, unnormalised: CLIP's own picture embedding, used for scoring."""
    pooled = model.vision_model(pixel_values=pixels).pooler_output
    embedding: Tensor = model.visual_projection(pooled)
    return embedding
