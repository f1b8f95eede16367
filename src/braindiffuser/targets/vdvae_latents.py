"""Pictures to VDVAE latents, the targets of the low-level stage."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Int
from PIL import Image
from torch.nn import functional as F

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.networks.vdvae import VDVAE, VDVAEConfig, flatten_latents
from braindiffuser.targets.vdvae import VDVAELatents


def extract_latents(
    network: VDVAE, pictures: Pictures, picture_ids: Int[np.ndarray, " n"], config: VDVAELatents, seed: int = 0
) -> Float32[np.ndarray, "n n_latents"]:
    """Infer the latents of the first layers, flattened.

    Pictures are resized bilinearly with antialias to the network's size. A sample's noise depends on the seed and the picture's
    id alone, not on its batch.

    Args:
        network: any `VDVAE`.
        pictures: (n, 3, height, width) in [0, 1].
        picture_ids: one number per picture; seeds its sample.
        config: which layers, sample or mean, and whether pictures are resized in float32 or, as published, in 8 bits.
        seed: of the posterior samples.
    """
    device = next(network.parameters()).device
    size = network.config.image_size
    with torch.inference_mode():
        if config.resizing == "as-published":
            pictures = images.resize(pictures, size, Image.Resampling.BILINEAR)
        small = torch.from_numpy(pictures).to(device)
        if config.resizing == "once":
            small = F.interpolate(small, (size, size), mode="bilinear", antialias=True).clamp(0, 1)
        noise = None
        if config.posterior == "sample":
            noise = [layer.to(device) for layer in posterior_noise(network.config, picture_ids, config.n_layers, seed)]
        layers, _ = network.infer(small, noise, config.n_layers)
        latents: Float32[np.ndarray, "n n_latents"] = flatten_latents([layer.z for layer in layers]).cpu().numpy()
    return latents


def posterior_noise(
    network: VDVAEConfig, picture_ids: Int[np.ndarray, " n"], n_layers: int, seed: int
) -> list[torch.Tensor]:
    """Draw standard normal noise for each layer, from one generator per picture seeded by (seed, id)."""
    generators = [np.random.default_rng([seed, int(picture_id)]) for picture_id in picture_ids]
    shapes = network.latent_shapes[:n_layers]
    return [
        torch.from_numpy(np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in generators]))
        for shape in shapes
    ]
