"""Pictures to an autoencoder's latents and back, a few at a time."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int

from braindiffuser.arrays import Pictures
from braindiffuser.generators.finite import check_finite
from braindiffuser.networks.versatile import Latents

CODED_AT_A_TIME = 512 * 512
"""Pixels per call: one 512 × 512 picture; more would dominate peak memory."""


@runtime_checkable
class Autoencoder(Protocol):
    """Interface of an autoencoder; diffusers' AutoencoderKL fulfils it."""

    @property
    def config(self) -> Any:
        """Holds `scaling_factor`, unless DiffusionConfig does."""

    def encode(self, x: torch.Tensor, /) -> Any:
        """Encode pictures in [-1, 1], return an object whose `latent_dist` has `mean` and `std`."""

    def decode(self, z: torch.Tensor, /) -> Any:
        """Decode latents, return an object whose `sample` is pictures in [-1, 1]."""


def pictures_per_call(autoencoder: Autoencoder) -> int:
    """Return the pictures per call: as many as hold `CODED_AT_A_TIME` pixels, at least one."""
    size = int(getattr(autoencoder.config, "sample_size", CODED_AT_A_TIME))
    return max(1, CODED_AT_A_TIME // size**2)


def to_latents(autoencoder: Autoencoder, pictures: Float[torch.Tensor, "n 3 rows columns"]) -> tuple[Latents, Latents]:
    """Return mean and standard deviation of the posterior of pictures in [0, 1], float32, whatever the autoencoder's dtype."""
    dtype = _dtype(autoencoder)
    portions = torch.split(2 * pictures - 1, pictures_per_call(autoencoder))
    posteriors = [autoencoder.encode(portion.to(dtype)).latent_dist for portion in portions]
    return torch.cat([p.mean.float() for p in posteriors]), torch.cat([p.std.float() for p in posteriors])


def to_pictures(
    autoencoder: Autoencoder,
    latents: Float[torch.Tensor, "n channels rows columns"],
    picture_ids: Int[np.ndarray, " n"],
) -> Pictures:
    """Pictures in [0, 1], float32, of unscaled latents; raises RunError, with its id, at one that is not finite."""
    dtype = _dtype(autoencoder)
    portions = torch.split(latents, pictures_per_call(autoencoder))
    decoded = torch.cat([autoencoder.decode(portion.to(dtype)).sample.float() for portion in portions])
    check_finite("autoencoder", decoded, picture_ids)
    made: Pictures = ((decoded + 1) / 2).clamp(0, 1).cpu().numpy()
    return made


def _dtype(autoencoder: Autoencoder) -> torch.dtype:
    return next(autoencoder.parameters()).dtype if isinstance(autoencoder, torch.nn.Module) else torch.float32
