"""First stage: predicted VDVAE latents to a picture of layout and colour."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.generators.finite import check_finite
from braindiffuser.generators.settings import LowLevelConfig
from braindiffuser.networks.logistic_mixture import mixture_mean, sample_mixture
from braindiffuser.networks.vdvae import VDVAE, unflatten_latents

STREAM = 1
"""Third component of the seed of this stage's noise, which keeps it independent of `targets.vdvae_latents`' samples."""


def reconstruct_low_level(
    network: VDVAE,
    latents: Float[np.ndarray, "n n_latents"],
    picture_ids: Int[np.ndarray, " n"],
    config: LowLevelConfig,
    seed: int = 0,
) -> Pictures:
    """Generate pictures from predicted latents.

    Args:
        network: any `VDVAE`.
        latents: flattened latents of its first layers, as `targets.vdvae_latents.extract_latents` returns them.
        picture_ids: one number per picture; seeds its noise.
        config: temperature and output.
        seed: of all noise.

    Returns:
        Pictures of the network's own size, (n, 3, image_size, image_size), in [0, 1].

    Raises:
        RunError: if the network yields a value that is not finite.
    """
    device = next(network.parameters()).device
    generators = [np.random.default_rng([seed, int(picture_id), STREAM]) for picture_id in picture_ids]
    with torch.inference_mode():
        given = unflatten_latents(network.config, torch.from_numpy(latents.astype(np.float32)).to(device))
        missing = network.config.latent_shapes[len(given) :]
        noise = [torch.empty(0)] * len(given) + [_normal(generators, shape).to(device) for shape in missing]
        parameters = network.distribution(network.generate(given, noise, config.temperature))
        check_finite("VDVAE", parameters, picture_ids)
        return _picture(parameters, generators, config.output)


def _picture(parameters: torch.Tensor, generators: list[np.random.Generator], output: str) -> Pictures:
    if output == "mean":
        expected: Pictures = mixture_mean(parameters).cpu().numpy()
        return expected
    _, height, width, channels = parameters.shape
    choice = _uniform(generators, (height, width, channels // 10)).to(parameters)
    value = _uniform(generators, (height, width, 3)).to(parameters)
    return images.from_uint8(sample_mixture(parameters, choice, value).cpu().numpy())


def _normal(generators: list[np.random.Generator], shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in generators]))


def _uniform(generators: list[np.random.Generator], shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.stack([rng.uniform(1e-5, 1 - 1e-5, shape) for rng in generators]))
