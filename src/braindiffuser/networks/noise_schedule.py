"""How much noise is in the latents at each timestep: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float64

Products: TypeAlias = Float64[torch.Tensor, " n_timesteps"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """a_t = prod_{s <= t} (1 - beta_s), with beta_s the share of variance that timestep s replaces by noise.

    A network works only with the schedule that it was trained with: give samplers and adapters that one.

    Attributes:
        alphas_cumprod: a_t for t = 0..n_timesteps - 1, float64, falling, between 0 and 1.

    Raises:
        ValueError: if a_t does not fall, or reaches 0 or 1.
    """

    alphas_cumprod: Products

    def __post_init__(self) -> None:
        """Check a_t."""
        a = self.alphas_cumprod
        if not (a.diff() < 0).all() or not ((a > 0) & (a < 1)).all():
            raise ValueError(
                f"alphas_cumprod must fall and stay between 0 and 1 (both excluded); got {a[0]:.6g} … {a[-1]:.6g}: "
                "give the cumulative products of 1 - beta, least noise first; at a_t = 0, x_0 cannot be computed from eps"
            )

    @classmethod
    def scaled_linear(cls, beta_start: float = 0.00085, beta_end: float = 0.012, n_timesteps: int = 1000) -> Schedule:
        """sqrt(beta_t) linear between its ends: latent diffusion (Rombach et al., CVPR 2022).

        The defaults are Stable Diffusion's and Versatile Diffusion's.
        """
        return _of_betas(
            torch.linspace(beta_start**0.5, beta_end**0.5, n_timesteps, dtype=torch.float64, device="cpu") ** 2
        )

    @classmethod
    def linear(cls, beta_start: float = 1e-4, beta_end: float = 0.02, n_timesteps: int = 1000) -> Schedule:
        """beta_t linear between its ends: DDPM (Ho, Jain & Abbeel, NeurIPS 2020), whose numbers are the defaults."""
        return _of_betas(torch.linspace(beta_start, beta_end, n_timesteps, dtype=torch.float64, device="cpu"))

    @classmethod
    def cosine(cls, offset: float = 0.008, max_beta: float = 0.999, n_timesteps: int = 1000) -> Schedule:
        """a_t = f(t + 1) / f(0), f(t) = cos²((t / T + s) / (1 + s) · pi / 2), with beta_t = 1 - a_t / a_{t-1} <= max_beta.

        Equation 17 of Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (ICML 2021), whose
        numbers are the defaults; s is the offset and T the number of timesteps.
        """
        t = torch.arange(n_timesteps + 1, dtype=torch.float64, device="cpu")
        f = torch.cos((t / n_timesteps + offset) / (1 + offset) * math.pi / 2) ** 2
        return _of_betas((1 - f[1:] / f[:-1]).clamp(max=max_beta))

    @property
    def n_timesteps(self) -> int:
        """Number of timesteps that the network was trained on."""
        return len(self.alphas_cumprod)

    def alpha_sigma(self, t: int) -> tuple[float, float]:
        """alpha_t = sqrt(a_t), sigma_t = sqrt(1 - a_t): the factors of x_0 and of eps in x_t."""
        a = self.alphas_cumprod[t].item()
        return math.sqrt(a), math.sqrt(1 - a)


def _of_betas(betas: Products) -> Schedule:
    return Schedule(torch.cumprod(1 - betas, dim=0))


SCALED_LINEAR = Schedule.scaled_linear()
"""What Versatile Diffusion, Stable Diffusion and the bundled UNet were trained with."""
