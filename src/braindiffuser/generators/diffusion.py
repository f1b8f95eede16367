"""Second stage: predicted embeddings, and the low-level reconstruction, to pictures.

The low-level reconstruction's autoencoder latents are noised part of the way and denoised under the guidance of the
vision and the text embedding: image-to-image latent diffusion, as Brain-Diffuser does with Versatile Diffusion.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int

from braindiffuser.arrays import Pictures
from braindiffuser.generators.autoencoder import Autoencoder, to_latents, to_pictures
from braindiffuser.generators.finite import check_finite
from braindiffuser.generators.settings import DiffusionConfig
from braindiffuser.networks.samplers import (
    Callback,
    Denoise,
    sample_from_latents,
    sample_from_noise,
)
from braindiffuser.networks.versatile import DualGuidedUNet, Latents, TextTokens, VisionTokens

NullVisionTokens: TypeAlias = Float[torch.Tensor, "1 n_vision_tokens vision_dim"]
NullTextTokens: TypeAlias = Float[torch.Tensor, "1 n_text_tokens text_dim"]


class DiffusionNetworks(NamedTuple):
    """The two networks of this stage, and the device that they compute on (offloaded ones stay in main memory)."""

    unet: DualGuidedUNet
    autoencoder: Autoencoder
    device: torch.device | str = "cpu"


class Embeddings(NamedTuple):
    """Vision tokens (n, n_vision_tokens, vision_dim) and text tokens (n, n_text_tokens, text_dim), float32."""

    vision: Float[np.ndarray, "n n_vision_tokens vision_dim"]
    text: Float[np.ndarray, "n n_text_tokens text_dim"]


def guided_denoiser(
    unet: DualGuidedUNet,
    tokens: tuple[VisionTokens, TextTokens],
    null_tokens: tuple[NullVisionTokens, NullTextTokens],
    guidance_scale: float,
    vision_weight: float,
) -> Denoise:
    """eps(x, t) = u + g (c - u): classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), in one doubled batch.

    Args:
        unet: predicts u from the null tokens and c from the tokens.
        tokens: vision and text tokens of the batch, (n, …) each.
        null_tokens: unconditional tokens (of a grey picture, an empty caption), (1, …) each.
        guidance_scale: g; at 1 the null tokens are not used and the batch not doubled.
        vision_weight: the share of vision, in [0, 1].

    Returns:
        denoise(x, t) for a sampler; it converts precision both ways, so that x and the network keep their own.
    """
    n, dtype = len(tokens[0]), next(unet.parameters()).dtype
    guided = guidance_scale != 1
    vision, text = (
        torch.cat([null.expand(n, -1, -1), token]) if guided else token
        for null, token in zip(null_tokens, tokens, strict=True)
    )
    vision, text = vision.to(dtype), text.to(dtype)

    def denoise(x: torch.Tensor, t: int) -> torch.Tensor:
        x_in = (torch.cat([x, x]) if guided else x).to(dtype)
        timesteps = torch.full((len(x_in),), t, device=x.device)
        eps: torch.Tensor = unet(x_in, timesteps, vision, text, vision_weight).to(x.dtype)
        if guided:
            u, c = eps.chunk(2)
            eps = u + guidance_scale * (c - u)
        return eps

    return denoise


def picture_noise(
    shape: tuple[int, ...], seed: int, picture_ids: Int[np.ndarray, " n"], device: torch.device | str
) -> tuple[Latents, Latents]:
    """Draw two standard normal noises (n, *shape): one for diffusion, one for the autoencoder's posterior.

    Each picture has its own CPU generator seeded by (seed, id), so its noise depends neither on the other pictures, nor on
    their order, nor on the device.
    """
    drawn = []
    for picture_id in picture_ids:
        state = np.random.SeedSequence([seed, int(picture_id)]).generate_state(1, np.uint64)
        drawn.append(torch.randn((2, *shape), generator=torch.Generator().manual_seed(int(state[0]))))
    diffusion, posterior = torch.stack(drawn, dim=1).to(device)
    return diffusion, posterior


@torch.no_grad()
def reconstruct(
    networks: DiffusionNetworks,
    low_level_pictures: Pictures | None,
    embeddings: Embeddings,
    null_embeddings: Embeddings,
    picture_ids: Int[np.ndarray, " n"],
    config: DiffusionConfig,
    seed: int = 0,
    callback: Callback | None = None,
) -> Pictures:
    """Draw one picture per pair of embeddings, as one batch.

    Args:
        networks: the UNet and the autoencoder, and the device that they compute on.
        low_level_pictures: where diffusion starts, at the size that the autoencoder was made for; None starts from
            pure noise and runs all steps (the ablation without the low level).
        embeddings: predicted vision and text tokens.
        null_embeddings: unconditional tokens, (1, …): what guidance leads away from.
        picture_ids: a number ≥ 0 per picture (its stimulus id, say) that, with the seed, fixes its noise. Results
            depend neither on their order nor on which others are drawn with them.
        config: settings of this stage.
        seed: of all noise, with each picture's id.
        callback: called after every denoising step, as samplers call it.

    Returns:
        Reconstructions, float32 RGB in [0, 1], (n, 3, height, width).

    Raises:
        ValueError: if there are no pictures, counts differ, or ids are negative.
        RunError: if a network yields a value that is not finite.
    """
    _check(low_level_pictures, embeddings, null_embeddings, picture_ids)
    autoencoder, device = networks.autoencoder, networks.device
    tokens, null_tokens = _on(embeddings, device), _on(null_embeddings, device)
    denoise = guided_denoiser(networks.unet, tokens, null_tokens, config.guidance_scale, config.vision_weight)
    scaling_factor = config.scaling_factor or float(autoencoder.config.scaling_factor)
    if low_level_pictures is None:
        size = networks.unet.config.sample_size
        shape = (networks.unet.config.in_channels, size, size)
        noise, _ = picture_noise(shape, seed, picture_ids, device)
        latents = sample_from_noise(denoise, noise, sampler=config.sampler, n_steps=config.n_steps, callback=callback)
    else:
        mean, std = to_latents(autoencoder, torch.from_numpy(low_level_pictures).to(device))
        check_finite("autoencoder", mean + std, picture_ids)
        noise, posterior_noise = picture_noise(tuple(mean.shape[1:]), seed, picture_ids, device)
        if config.posterior == "sample":
            mean = mean + std * posterior_noise
        latents = sample_from_latents(
            denoise,
            scaling_factor * mean,
            noise,
            sampler=config.sampler,
            n_steps=config.n_steps,
            strength=config.strength,
            noise_level=config.noise_level,
            callback=callback,
        )
    check_finite("dual-guided UNet", latents, picture_ids)
    return to_pictures(autoencoder, latents / scaling_factor, picture_ids)


def _on(embeddings: Embeddings, device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    vision, text = (torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device) for values in embeddings)
    return vision, text


def _check(
    low_level_pictures: Pictures | None,
    embeddings: Embeddings,
    null_embeddings: Embeddings,
    picture_ids: Int[np.ndarray, " n"],
) -> None:
    counts = {"picture_ids": len(picture_ids), "vision": len(embeddings.vision), "text": len(embeddings.text)}
    if low_level_pictures is not None:
        counts["low_level_pictures"] = len(low_level_pictures)
    if len(set(counts.values())) > 1 or not len(picture_ids):
        raise ValueError(f"give one of each per picture, and at least one picture; got {counts}")
    if len(null_embeddings.vision) != 1 or len(null_embeddings.text) != 1:
        raise ValueError(
            f"null_embeddings are one per condition; got {len(null_embeddings.vision)} for vision "
            f"and {len(null_embeddings.text)} for text"
        )
    if picture_ids.min() < 0:
        raise ValueError(f"picture_ids seed the noise and must not be negative; got {picture_ids.min()}")
