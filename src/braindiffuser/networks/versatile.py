"""The dual-guided UNet: noise prediction guided by vision tokens and text tokens at once.

Versatile Diffusion (Xu et al., "Versatile Diffusion: Text, Images and Variations All in One Diffusion Model", ICCV
2023, arXiv:2211.08332), reduced to what pictures need and built from diffusers' UNet2DConditionModel and
Transformer2DModel. The published network and a small one differ only in their `VersatileConfig`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableSequence
from typing import Any, NamedTuple, TypeAlias

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Latents: TypeAlias = Float[torch.Tensor, "n channels height width"]
VisionTokens: TypeAlias = Float[torch.Tensor, "n n_vision_tokens vision_dim"]
TextTokens: TypeAlias = Float[torch.Tensor, "n n_text_tokens text_dim"]
PerSample: TypeAlias = Float[torch.Tensor, " n"]
Timesteps: TypeAlias = Int[torch.Tensor, " n"]

_UNET_ORIGINAL = "model.diffusion_model."


class VersatileConfig(BaseModel):
    """Numbers of the dual-guided UNet; the defaults are the published network's (1,127 M parameters)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: PositiveInt = Field(4, description="Channels of the autoencoder's latents and of the noise.")
    sample_size: PositiveInt = Field(64, description="Side of the latents: 64 for 512 pixels; other sizes work too.")
    block_out_channels: tuple[PositiveInt, ...] = Field(
        (320, 640, 1280, 1280), description="Channels of each level; each level after the first halves the side."
    )
    attention_levels: tuple[bool, ...] = Field(
        (True, True, True, False), description="Whether each level has cross-attention; the middle block always has."
    )
    layers_per_block: PositiveInt = Field(2, description="Residual blocks of a level going down; going up, one more.")
    attention_heads: PositiveInt = Field(8, description="Heads of every attention; must divide all channels.")
    vision_dim: PositiveInt = Field(768, description="Width of a vision token; CLIP ViT-L/14 has 768.")
    text_dim: PositiveInt = Field(768, description="Width of a text token; CLIP ViT-L/14 has 768.")
    norm_num_groups: PositiveInt = Field(32, description="Groups of every GroupNorm; must divide all channels.")

    @model_validator(mode="after")
    def _fits(self) -> VersatileConfig:
        if not self.block_out_channels or len(self.attention_levels) != len(self.block_out_channels):
            raise ValueError(
                f"attention_levels has {len(self.attention_levels)} entries and block_out_channels "
                f"{len(self.block_out_channels)}: give one of each per level, and at least one level"
            )
        for divisor in (self.attention_heads, self.norm_num_groups):
            uneven = [width for width in self.block_out_channels if width % divisor]
            if uneven:
                raise ValueError(
                    f"block_out_channels {uneven} cannot be divided by {divisor}: attention_heads "
                    f"({self.attention_heads}) and norm_num_groups ({self.norm_num_groups}) must divide every width"
                )
        return self


class Guidance(NamedTuple):
    """Input of every cross-attention site: two token sequences and the share of vision."""

    vision: VisionTokens
    text: TextTokens
    vision_weight: float | PerSample


class DualTransformer(torch.nn.Module):
    """One cross-attention site: a transformer per condition, their residuals mixed."""

    def __init__(self, vision: torch.nn.Module, text: torch.nn.Module) -> None:
        """Join a transformer for vision tokens and one for text tokens."""
        super().__init__()
        self.vision = vision
        self.text = text

    def forward(
        self,
        hidden_states: Latents,
        encoder_hidden_states: Guidance,
        attention_mask: None = None,
        encoder_attention_mask: None = None,
        cross_attention_kwargs: None = None,
        return_dict: bool = False,
    ) -> tuple[Latents]:
        """Mix h + r (T_vision(h, c_vision) - h) + (1 - r) (T_text(h, c_text) - h), r = vision_weight.

        At r = 0 or r = 1 the other transformer is not run. The signature is that of the Transformer2DModel it replaces;
        masks are not supported and always None.
        """
        h, (c_vision, c_text, r) = hidden_states, encoder_hidden_states
        if isinstance(r, torch.Tensor):
            r = r.to(h.dtype).view(-1, 1, 1, 1)  # (n, 1, 1, 1)
        elif r == 1:
            return (self.vision(h, c_vision, return_dict=False)[0],)
        elif r == 0:
            return (self.text(h, c_text, return_dict=False)[0],)
        from_vision = self.vision(h, c_vision, return_dict=False)[0] - h
        from_text = self.text(h, c_text, return_dict=False)[0] - h
        return (h + r * from_vision + (1 - r) * from_text,)


class DualGuidedUNet(torch.nn.Module):
    """Predicts the noise in latents, guided by vision and text tokens.

    An untrained network has diffusers' defaults, except that every residual branch and the output start at zero, as in the
    original: an untrained network predicts zero noise for any condition.
    """

    def __init__(self, config: VersatileConfig) -> None:
        """Build the network of a config, untrained."""
        super().__init__()
        self.config = config
        levels = config.attention_levels
        self.unet = UNet2DConditionModel(
            sample_size=config.sample_size,
            in_channels=config.in_channels,
            out_channels=config.in_channels,
            block_out_channels=config.block_out_channels,
            down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in levels),
            up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(levels)),
            layers_per_block=config.layers_per_block,
            attention_head_dim=config.attention_heads,  # diffusers' old name for the number of heads
            cross_attention_dim=config.vision_dim,
            norm_num_groups=config.norm_num_groups,
        )
        for sites in self._attention_sites():
            for i, vision in enumerate(sites):
                sites[i] = DualTransformer(vision, _text_transformer(vision.in_channels, config))
        _zero_residual_branches(self.unet)

    def _attention_sites(self) -> Iterator[MutableSequence[Any]]:
        for block in (*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks):
            if getattr(block, "has_cross_attention", False):
                yield block.attentions

    def forward(
        self,
        noisy_latents: Latents,
        timesteps: Timesteps,
        vision_tokens: VisionTokens,
        text_tokens: TextTokens,
        vision_weight: float | PerSample,
    ) -> Latents:
        """Predict the noise eps(x_t, t, c_vision, c_text).

        Args:
            noisy_latents: x_t, the autoencoder's scaled latents with noise.
            timesteps: t in 0..999 of each sample.
            vision_tokens: c_vision, Versatile Diffusion's CLIP vision tokens.
            text_tokens: c_text, its CLIP text tokens.
            vision_weight: r in [0, 1], the share of vision at every cross-attention; 1 = vision only, 0 = text only
                (the other transformers are then skipped). A tensor (n,) gives each sample its own; nothing is skipped.

        Raises:
            ValueError: if vision_weight is a number outside [0, 1] or a tensor of another length than the batch.
        """
        if isinstance(vision_weight, torch.Tensor):
            if vision_weight.shape != timesteps.shape:
                raise ValueError(
                    f"vision_weight is {tuple(vision_weight.shape)} for a batch of {len(timesteps)}: "
                    "give one number, or one per sample"
                )
        elif not 0 <= vision_weight <= 1:
            raise ValueError(f"vision_weight is the share of vision, between 0 and 1; got {vision_weight}")
        guidance = Guidance(vision_tokens, text_tokens, vision_weight)
        predicted: torch.Tensor = self.unet(noisy_latents, timesteps, guidance, return_dict=False)[0]
        return predicted


def from_original(state_dict: Mapping[str, torch.Tensor], layers_per_block: int = 2) -> dict[str, torch.Tensor]:
    """Rename the original checkpoint's UNet tensors to ours.

    Residual blocks and vision transformers come from `unet_image`, text transformers from `unet_text`; the text flow's
    other layers, and whatever lies outside `model.diffusion_model.` (CLIP, autoencoders), are not needed for pictures and are
    left out. Unknown tensors of `unet_image` keep their names, so that `check_fit` reports them.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        flow, _, rest = name.removeprefix(_UNET_ORIGINAL).partition(".")
        if not name.startswith(_UNET_ORIGINAL) or flow not in {"unet_image", "unet_text", "time_embed"}:
            continue
        ours = _rename(f"time_embed.{rest}" if flow == "time_embed" else rest, layers_per_block)
        if flow != "unet_text":
            renamed[f"unet.{ours}" if ours else name] = tensor
        elif ours is not None and ".vision." in ours:
            renamed["unet." + ours.replace(".vision.", ".text.")] = tensor
    return renamed


def from_hub(image_unet: Mapping[str, torch.Tensor], text_unet: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the tensors of the hub's diffusers layout to ours.

    All of `image_unet` is kept, its transformers as those of vision; of `text_unet` only the transformers, as those of
    text: the rest of the text flow serves no picture.
    """
    transformer = re.compile(r"(.*attentions\.\d+)\.(.+)")
    renamed: dict[str, torch.Tensor] = {}
    for guide, tensors in (("vision", image_unet), ("text", text_unet)):
        for name, tensor in tensors.items():
            match = transformer.fullmatch(name)
            if match:
                renamed[f"unet.{match[1]}.{guide}.{match[2]}"] = tensor
            elif guide == "vision":
                renamed[f"unet.{name}"] = tensor
    return renamed


_RESIDUAL_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_TRANSFORMER = re.compile(r"(norm|proj_in|proj_out|transformer_blocks\.0\.[\w.]+)\.(weight|bias)")


def _rename(rest: str, n_layers: int) -> str | None:
    """Rename one tensor of the picture flow, its transformers to `.vision`; None if that flow has no such tensor."""
    layer, _, kind = rest.rpartition(".")
    if layer in _ENDS:
        return f"{_ENDS[layer]}.{kind}"
    if match := re.fullmatch(r"middle_block\.([012])\.(.+)", rest):
        part, inner = int(match[1]), match[2]
        return _rename_layer("mid_block", 0 if part == 1 else part // 2, inner)
    if match := re.fullmatch(r"(input|output)_blocks\.(\d+)\.\d\.(.+)", rest):
        way, number, inner = match[1], int(match[2]), match[3]
        level, j = divmod(number - (way == "input"), n_layers + 1)
        return _rename_layer(f"{'down' if way == 'input' else 'up'}_blocks.{level}", j, inner)
    return None


def _rename_layer(block: str, j: int, inner: str) -> str | None:
    """Rename a tensor inside a level: its j-th residual block or transformer, or its resampling."""
    layer, _, kind = inner.rpartition(".")
    if layer in _RESIDUAL_BLOCK:
        return f"{block}.resnets.{j}.{_RESIDUAL_BLOCK[layer]}.{kind}"
    if _TRANSFORMER.fullmatch(inner):
        return f"{block}.attentions.{j}.vision.{inner}"
    resampling = {"op": "downsamplers", "conv": "upsamplers"}
    return f"{block}.{resampling[layer]}.0.conv.{kind}" if layer in resampling else None


def _text_transformer(width: int, config: VersatileConfig) -> Transformer2DModel:
    """Build what UNet2DConditionModel builds for vision, with the text tokens' width."""
    return Transformer2DModel(
        num_attention_heads=config.attention_heads,
        attention_head_dim=width // config.attention_heads,
        in_channels=width,
        cross_attention_dim=config.text_dim,
        norm_num_groups=config.norm_num_groups,
    )


def _zero_residual_branches(unet: torch.nn.Module) -> None:
    for name, parameter in unet.named_parameters():
        if re.search(r"(\.conv2|\.proj_out|^conv_out)\.(weight|bias)$", name):
            torch.nn.init.zeros_(parameter)
