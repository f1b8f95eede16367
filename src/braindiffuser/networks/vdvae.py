"""Very Deep VAE (Child 2021, arXiv 2011.10650): one class for OpenAI's published checkpoints and for the bundled small one.

A bottom-up pass turns a picture into activations at every resolution. A top-down pass runs through its blocks from
coarse to fine; each block adds one group of Gaussian latents, drawn from the posterior (a picture is given), handed in (a
prediction from the brain), or drawn from the prior. Names of parameters are those of OpenAI's checkpoints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

Noise = Sequence[Tensor] | torch.Generator | None
"""Randomness of a pass: standard normal noise for each layer, a generator to draw it from, or None for the mean."""


def parse_blocks(blocks: str) -> list[tuple[int, int | None]]:
    """Read a string of blocks as (resolution, rate of downsampling or resolution that is mixed in) of each block.

    >>> parse_blocks("8x2,8d2,4"), parse_blocks("1,4m1")
    ([(8, None), (8, None), (8, 2), (4, None)], [(1, None), (4, 1)])
    """
    parsed: list[tuple[int, int | None]] = []
    for size, sign, number in re.findall(r"(\d+)([xdm]?)(\d*)(?:,|$)", blocks):
        parsed += [(int(size), int(number))] if sign in ("d", "m") else [(int(size), None)] * int(number or 1)
    return parsed


class VDVAEConfig(BaseModel):
    """Shape of a VDVAE, in the strings of OpenAI's `hps.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    image_size: int = Field(description="Side of the picture, in pixels.")
    enc_blocks: str = Field(description="Encoder: 64x11,64d2 is eleven blocks at 64 pixels, then one that halves.")
    dec_blocks: str = Field(
        description="Top-down blocks (hps dec_blocks): 1x2,4m1 is two blocks at 1 pixel, then one at 4 pixels that mixes in "
        "the stream of 1 pixel."
    )
    width: int = Field(description="Channels of the residual streams.")
    zdim: int = Field(16, description="Channels of each latent group.")
    bottleneck_multiple: float = Field(0.25, description="Channels inside a block, as a share of width.")
    custom_width_str: str = Field("", description="Other widths at some resolutions: 64:128,32:256.")
    no_bias_above: int = Field(64, description="Largest resolution, in pixels, whose stream starts from a learnt bias.")
    num_mixtures: int = Field(10, description="Logistic components of the output distribution.")
    shift: float = Field(-115.92961967, description="Offset added to pixel values (0–255).")
    scale: float = Field(1 / 69.37404, description="Factor applied after the offset.")

    @model_validator(mode="after")
    def _blocks_fit(self) -> VDVAEConfig:
        """Check what the shapes of tensors do not tell: how the blocks follow each other."""
        for name, blocks, signs in (("enc_blocks", self.enc_blocks, "xd"), ("dec_blocks", self.dec_blocks, "xm")):
            odd = [block for block in blocks.split(",") if not re.fullmatch(rf"[1-9]\d*([{signs}][1-9]\d*)?", block)]
            if odd:
                raise ValueError(f"{name} has {odd[0]!r}, expected blocks such as 4, 4x2 or 4{signs[1]}2")
        encoded, size = set(), self.image_size
        for found, rate in parse_blocks(self.enc_blocks):
            if found != size:
                raise ValueError(f"enc_blocks has a block at {found} pixels where the block before leaves {size}")
            encoded.add(size)
            size //= rate or 1
        decoded: list[int] = []
        for found, mixed in parse_blocks(self.dec_blocks):
            if found not in encoded or (decoded and found != decoded[-1] and mixed != decoded[-1]):
                raise ValueError(
                    f"dec_blocks has a block at {found} pixels that the encoder lacks, or that does not mix in the size before"
                )
            decoded.append(found)
        if decoded[-1] != self.image_size:
            raise ValueError(f"dec_blocks ends at {decoded[-1]} pixels, but image_size is {self.image_size}")
        return self

    @property
    def widths(self) -> dict[int, int]:
        """Channels of the residual stream at each resolution."""
        sizes = {size for size, _ in parse_blocks(self.enc_blocks)} | {
            size for size, _ in parse_blocks(self.dec_blocks)
        }
        pairs = [entry.split(":") for entry in self.custom_width_str.split(",") if entry]
        custom = {int(size): int(width) for size, width in pairs}
        return {size: custom.get(size, self.width) for size in sorted(sizes | {self.image_size})}

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (channels, height, width) of each latent group, coarse to fine."""
        return [(self.zdim, size, size) for size, _ in parse_blocks(self.dec_blocks)]

    def build(self) -> VDVAE:
        """Make the network, untrained."""
        return VDVAE(self)


IMAGENET64 = VDVAEConfig(
    image_size=64,
    enc_blocks="64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5",
    dec_blocks="1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12",
    width=512,
)
"""OpenAI's ImageNet-64 network, whose first 31 of 75 layers Brain-Diffuser predicts: 91,168 latents."""


class Block(nn.Module):
    """GELU before each of four convolutions, 1×1 – 3×3 – 3×3 – 1×1 through a bottleneck."""

    def __init__(
        self, channels: tuple[int, int, int], kernel: int, residual: bool = False, rate: int | None = None
    ) -> None:
        """Make a block of (in, middle, out) channels; `rate` averages the output over rate × rate pixels."""
        super().__init__()
        n_in, n_middle, n_out = channels
        self.residual, self.rate = residual, rate
        self.c1 = _conv(n_in, n_middle, 1)
        self.c2 = _conv(n_middle, n_middle, kernel)
        self.c3 = _conv(n_middle, n_middle, kernel)
        self.c4 = _conv(n_middle, n_out, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Apply the block."""
        y = x
        for conv in (self.c1, self.c2, self.c3, self.c4):
            y = conv(F.gelu(y))
        out = x + y if self.residual else y
        return out if self.rate is None else F.avg_pool2d(out, self.rate, self.rate)


class BottomUp(nn.Module):
    """Bottom-up pass: a picture to activations at every resolution."""

    def __init__(self, config: VDVAEConfig) -> None:
        """Make the pass."""
        super().__init__()
        self.widths = config.widths
        self.in_conv = _conv(3, self.widths[config.image_size], 3)
        blocks = parse_blocks(config.enc_blocks)
        self.enc_blocks = nn.ModuleList()
        for size, rate in blocks:
            block = Block(_channels(config, size, self.widths[size]), _kernel(size), residual=True, rate=rate)
            _shrink(block.c4, len(blocks))
            self.enc_blocks.append(block)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> dict[int, Tensor]:
        """Return the last activation (n, width, size, size) at each size."""
        x = self.in_conv(inputs)
        activations = {x.shape[-1]: x}
        for block in self.enc_blocks:
            x = _match_width(block(x), self.widths)
            activations[x.shape[-1]] = x
        return activations


@dataclass(frozen=True)
class Posterior:
    """One layer's latents z, and the divergence of its posterior from its prior in nats; both (n, zdim, h, w)."""

    z: Tensor
    kl: Tensor


class TopDownBlock(nn.Module):
    """One group of latents in the top-down pass."""

    def __init__(self, config: VDVAEConfig, size: int, mixin: int | None, n_blocks: int) -> None:
        """Make the block at `size`; `mixin` is the coarser size whose stream is added first."""
        super().__init__()
        width, zdim, kernel = config.widths[size], config.zdim, _kernel(size)
        self.size, self.mixin, self.zdim = size, mixin, zdim
        self.enc = Block(_channels(config, size, 2 * zdim, n_in=2 * width), kernel)
        self.prior = Block(_channels(config, size, 2 * zdim + width), kernel)
        self.z_proj = _conv(zdim, width, 1)
        self.resnet = Block(_channels(config, size, width), kernel, residual=True)
        nn.init.zeros_(self.prior.c4.weight)
        _shrink(self.z_proj, n_blocks)
        _shrink(self.resnet.c4, n_blocks)

    def enter(self, streams: dict[int, Tensor]) -> Tensor:
        """Return this size's stream with the coarser one mixed in."""
        x = streams[self.size]
        if self.mixin is None:
            return x
        coarse = streams[self.mixin][:, : x.shape[1]]
        return x + F.interpolate(coarse, scale_factor=self.size // self.mixin)

    def split_prior(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the prior's mean and log standard deviation, and the stream after it."""
        mean, log_std, extra = torch.split(self.prior(x), [self.zdim, self.zdim, x.shape[1]], dim=1)
        return mean, log_std, x + extra

    def leave(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the stream after the latents."""
        out: Tensor = self.resnet(x + self.z_proj(z))
        return out

    def infer(self, streams: dict[int, Tensor], activation: Tensor, noise: Tensor | None) -> Posterior:
        """Draw latents from the posterior and advance the stream of this size in place."""
        x = self.enter(streams)
        q_mean, q_log_std = self.enc(torch.cat([x, activation], dim=1)).chunk(2, dim=1)
        p_mean, p_log_std, x = self.split_prior(x)
        z = q_mean if noise is None else q_mean + q_log_std.exp() * noise
        streams[self.size] = self.leave(x, z)
        return Posterior(z, gaussian_kl(q_mean, q_log_std, p_mean, p_log_std))

    def generate(self, streams: dict[int, Tensor], z: Tensor | None, noise: Tensor | None, temperature: float) -> None:
        """Advance the stream with the given latents, or with some from the prior."""
        mean, log_std, x = self.split_prior(self.enter(streams))
        if z is None:
            z = mean if noise is None else mean + temperature * log_std.exp() * noise
        streams[self.size] = self.leave(x, z)


class TopDown(nn.Module):
    """Top-down pass: latents, coarse to fine, to the parameters of the picture's distribution."""

    def __init__(self, config: VDVAEConfig) -> None:
        """Make the pass."""
        super().__init__()
        blocks = parse_blocks(config.dec_blocks)
        self.image_size, self.widths = config.image_size, config.widths
        self.sizes = sorted({size for size, _ in blocks})
        self.dec_blocks = nn.ModuleList(TopDownBlock(config, size, mixin, len(blocks)) for size, mixin in blocks)
        self.bias_xs = nn.ParameterList(
            torch.zeros(1, self.widths[size], size, size) for size in self.sizes if size <= config.no_bias_above
        )
        width = self.widths[config.image_size]
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.out_net = nn.ModuleDict({"out_conv": _conv(width, 10 * config.num_mixtures, 1)})

    @property
    def blocks(self) -> list[TopDownBlock]:
        """The blocks, coarse to fine."""
        return [block for block in self.dec_blocks if isinstance(block, TopDownBlock)]

    def start(self, n: int) -> dict[int, Tensor]:
        """Return the streams (n, width, size, size) before the first block."""
        streams = {bias.shape[-1]: bias.expand(n, -1, -1, -1) for bias in self.bias_xs}
        for size in self.sizes:
            if size not in streams:
                streams[size] = self.gain.new_zeros(n, self.widths[size], size, size)
        return streams

    def finish(self, streams: dict[int, Tensor]) -> Tensor:
        """Return the features (n, width, image_size, image_size) that the output distribution is read from."""
        return streams[self.image_size] * self.gain + self.bias


class VDVAE(nn.Module):
    """Very deep VAE. Pictures are (n, 3, image_size, image_size) in [0, 1]; latents are lists, coarse to fine."""

    def __init__(self, config: VDVAEConfig) -> None:
        """Make the network, untrained."""
        super().__init__()
        self.config = config
        self.encoder = BottomUp(config)
        self.decoder = TopDown(config)

    def infer(
        self, pictures: Float[Tensor, "n 3 h w"], noise: Noise = None, n_layers: int | None = None
    ) -> tuple[list[Posterior], Float[Tensor, "n c h w"] | None]:
        """Infer the latents of pictures: z_l = mean_l + std_l · noise_l, each layer given those before it.

        Args:
            pictures: RGB in [0, 1], of the network's own size.
            noise: standard normal noise for each layer, a generator, or None for posterior means.
            n_layers: number of layers after which to stop (same values, less work); None runs all.

        Returns:
            The layers' latents and divergences, and the output features (None when stopped early).

        Raises:
            ValueError: if the network has fewer layers than n_layers.
        """
        config, blocks = self.config, self.decoder.blocks
        if n_layers is not None and not 1 <= n_layers <= len(blocks):
            raise ValueError(f"n_layers must be in 1..{len(blocks)}, the layers of this network; got {n_layers}")
        activations = self.encoder((pictures * 255 + config.shift) * config.scale)
        streams = self.decoder.start(len(pictures))
        layers = [
            block.infer(streams, activations[block.size], self._noise(noise, layer, pictures))
            for layer, block in enumerate(blocks[:n_layers])
        ]
        return layers, self.decoder.finish(streams) if len(layers) == len(blocks) else None

    def generate(
        self, latents: Sequence[Float[Tensor, "n z _ _"]], noise: Noise = None, temperature: float = 1.0
    ) -> Float[Tensor, "n c h w"]:
        """Generate output features from the first latents; the remaining layers come from their priors.

        Args:
            latents: latents of the first layers, at least one, each (n, zdim, size, size).
            noise: noise for every layer (that of given layers is unused), a generator, or None for prior means.
            temperature: factor on the priors' standard deviations; 1 as published.

        Returns:
            Features (n, width, image_size, image_size) for `distribution`.
        """
        streams = self.decoder.start(len(latents[0]))
        for layer, block in enumerate(self.decoder.blocks):
            if layer < len(latents):
                block.generate(streams, latents[layer], None, temperature)
            else:
                block.generate(streams, None, self._noise(noise, layer, latents[0]), temperature)
        return self.decoder.finish(streams)

    def distribution(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w k"]:
        """Return the parameters (n, h, w, 10 · num_mixtures) of the mixture of logistics."""
        parameters: Tensor = self.decoder.out_net["out_conv"](features)
        return parameters.permute(0, 2, 3, 1)

    def _noise(self, noise: Noise, layer: int, like: Tensor) -> Tensor | None:
        if noise is None:
            return None
        if isinstance(noise, torch.Generator):
            shape = (len(like), *self.config.latent_shapes[layer])
            return torch.randn(shape, generator=noise, device=noise.device).to(like)
        return noise[layer]


def flatten_latents(latents: Sequence[Float[Tensor, "n z _ _"]]) -> Float[Tensor, "n n_latents"]:
    """Join layers of latents, coarse to fine, each flattened as (zdim, height, width): 91,168 for the 31 of the paper."""
    return torch.cat([z.flatten(1) for z in latents], dim=1)


def unflatten_latents(config: VDVAEConfig, flat: Float[Tensor, "n n_latents"]) -> list[Float[Tensor, "n z _ _"]]:
    """Split flat latents into layers: the inverse of `flatten_latents`.

    Raises:
        ValueError: if the numbers do not end where a layer ends.
    """
    layers: list[Tensor] = []
    start = 0
    for shape in config.latent_shapes:
        if start == flat.shape[1]:
            return layers
        end = start + math.prod(shape)
        if end > flat.shape[1]:
            raise ValueError(
                f"{flat.shape[1]} latents end inside layer {len(layers)}, which is numbers {start} to {end}"
            )
        layers.append(flat[:, start:end].reshape(-1, *shape))
        start = end
    if start != flat.shape[1]:
        raise ValueError(f"{flat.shape[1]} latents are more than the network's {len(layers)} layers hold ({start})")
    return layers


def gaussian_kl(mean_q: Tensor, log_std_q: Tensor, mean_p: Tensor, log_std_p: Tensor) -> Tensor:
    """KL(q‖p) = log σp − log σq − ½ + (σq² + (μq − μp)²) / 2σp², elementwise, in nats."""
    return log_std_p - log_std_q - 0.5 + 0.5 * (log_std_q.exp() ** 2 + (mean_q - mean_p) ** 2) / log_std_p.exp() ** 2


def _conv(n_in: int, n_out: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _kernel(size: int) -> int:
    return 3 if size > 2 else 1


def _channels(config: VDVAEConfig, size: int, n_out: int, n_in: int | None = None) -> tuple[int, int, int]:
    width = config.widths[size]
    return n_in or width, int(width * config.bottleneck_multiple), n_out


def _match_width(x: Tensor, widths: dict[int, int]) -> Tensor:
    missing = widths[x.shape[-1]] - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing > 0 else x[:, : widths[x.shape[-1]]]


def _shrink(conv: nn.Conv2d, n_blocks: int) -> None:
    with torch.no_grad():
        conv.weight.mul_(math.sqrt(1 / n_blocks))
