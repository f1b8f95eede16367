"""Samplers: from noise to latents, given a network that predicts noise.

One algorithm is one function, and all share one head `(denoise, x, timesteps, callback)`, so that they are
interchangeable. A network enters as a callable eps = denoise(x, t); samplers never learn what it is or what guides it.

The noise schedule is Stable Diffusion's and Versatile Diffusion's: betas scaled-linear from 0.00085 to 0.012 over 1,000
timesteps, so that x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps with a_t = prod_{s <= t} (1 - beta_s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float

N_TRAIN_TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012

Latents: TypeAlias = Float[torch.Tensor, "n channels height width"]
Denoise: TypeAlias = Callable[[torch.Tensor, int], torch.Tensor]
"""eps = denoise(x, t): the noise predicted in x (n, channels, height, width) at timestep t, of the same shape."""
Callback: TypeAlias = Callable[[int, int, torch.Tensor], None]
"""callback(i, n_steps, x): called after step i = 1..n_steps with the latents it made."""
NoiseLevel: TypeAlias = Literal["as_published", "consistent"]
"""Where image-to-image starts: one step above the first denoised timestep, or at it."""
SamplerName: TypeAlias = Literal["ddim", "dpm-solver++", "unipc"]


def alphas_cumprod() -> Float[torch.Tensor, " n_train_timesteps"]:
    """a_t = prod_{s <= t} (1 - beta_s), sqrt(beta) linear between its ends; float64, for t = 0..999."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, N_TRAIN_TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def uniform_timesteps(n_steps: int) -> list[int]:
    """t_i = 1 + floor(i 1000 / n_steps), falling from i = n_steps - 1 to 0: 981, 961, …, 1 for 50 steps.

    Raises:
        ValueError: if n_steps is not in 1..999.
    """
    if not 1 <= n_steps < N_TRAIN_TIMESTEPS:
        raise ValueError(f"n_steps must be in 1..{N_TRAIN_TIMESTEPS - 1}, got {n_steps}")
    return [1 + i * N_TRAIN_TIMESTEPS // n_steps for i in reversed(range(n_steps))]


def image_to_image_timesteps(n_steps: int, strength: float, noise_level: NoiseLevel) -> tuple[int, list[int]]:
    """Choose the timestep to noise latents to, and the floor(strength n_steps) timesteps to denoise them over.

    `as_published` noises Brain-Diffuser's way, to the timestep above the first that is denoised (741, then 721 to 1
    for 50 steps at strength 0.75); `consistent` noises to the very timestep that is denoised first (721). At strength
    1 there is no timestep above, and both are the same. At a strength that leaves no step, the noised timestep is 0
    and the list empty.

    Raises:
        ValueError: if strength is not in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is the share of steps that run, between 0 and 1; got {strength}")
    timesteps = uniform_timesteps(n_steps)
    n_denoised = math.floor(strength * n_steps + 1e-9)  # 0.58 * 50 is 28.999… in binary
    if n_denoised == 0:
        return 0, []
    n_above = 1 if noise_level == "as_published" and n_denoised < n_steps else 0
    return timesteps[n_steps - n_denoised - n_above], timesteps[n_steps - n_denoised :]


def add_noise(latents: Latents, noise: Latents, timestep: int) -> Latents:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps."""
    a_t = alphas_cumprod()[timestep].item()
    return math.sqrt(a_t) * latents + math.sqrt(1 - a_t) * noise


@torch.no_grad()
def sample_ddim(denoise: Denoise, x: Latents, timesteps: Sequence[int], callback: Callback | None = None) -> Latents:
    """Equation 12 of Song, Meng & Ermon, "Denoising Diffusion Implicit Models" (ICLR 2021), with sigma = 0.

    x_prev = sqrt(a_prev) x_0 + sqrt(1 - a_prev) eps,   x_0 = (x - sqrt(1 - a_t) eps) / sqrt(a_t);
    the step from the last timestep goes to a_0, not to 1, as in Versatile Diffusion.

    Args:
        denoise: eps = denoise(x, t).
        x: latents noised to the first timestep.
        timesteps: falling, each in 0..999.
        callback: told about every step.
    """
    a = alphas_cumprod().tolist()
    for i, (t, t_prev) in enumerate(zip(timesteps, [*timesteps[1:], 0], strict=True), start=1):
        eps = denoise(x, t)
        x_0 = (x - math.sqrt(1 - a[t]) * eps) / math.sqrt(a[t])
        x = math.sqrt(a[t_prev]) * x_0 + math.sqrt(1 - a[t_prev]) * eps
        if callback:
            callback(i, len(timesteps), x)
    return x


@torch.no_grad()
def sample_dpm_solver(
    denoise: Denoise, x: Latents, timesteps: Sequence[int], callback: Callback | None = None
) -> Latents:
    """DPM-Solver++(2M): Algorithm 2 of Lu et al., "DPM-Solver++" (2022, arXiv:2211.01095), ending at x_0.

    Arguments as in `sample_ddim`. About 20 steps do what DDIM does in 50; the pictures are not the same.
    """
    x_0_before, before = x, None
    for i, t in enumerate(timesteps):
        x_0 = _predicted(x, denoise(x, t), t)
        if i + 1 < len(timesteps):
            x = _exponential_step(x, t, timesteps[i + 1], _extrapolated(x_0, x_0_before, before, t, timesteps[i + 1]))
        else:
            x = x_0
        x_0_before, before = x_0, t
        if callback:
            callback(i + 1, len(timesteps), x)
    return x


@torch.no_grad()
def sample_unipc(denoise: Denoise, x: Latents, timesteps: Sequence[int], callback: Callback | None = None) -> Latents:
    """UniPC-2: Algorithms 1 and 2 of Zhao et al., "UniPC" (NeurIPS 2023, arXiv:2302.04867), B_2(h), ending at x_0.

    The predictor is DPM-Solver++(2M); the corrector goes over each step again, now knowing x_0 predicted at its end, at
    no further call of the network. Arguments as in `sample_ddim`. About 20 steps do what DDIM does in 50; the pictures
    are not the same.
    """
    history: list[tuple[int, torch.Tensor]] = []  # (t, x_0 predicted there) of the last two steps
    x_corrected = x
    for i, t in enumerate(timesteps):
        x_0 = _predicted(x, denoise(x, t), t)
        if history:
            s = history[-1][0]
            x = _exponential_step(x_corrected, s, t, _corrected(history, t, x_0))
        x_corrected = x
        if i + 1 < len(timesteps):
            before, x_0_before = history[-1] if history else (None, x_0)
            x = _exponential_step(x, t, timesteps[i + 1], _extrapolated(x_0, x_0_before, before, t, timesteps[i + 1]))
        else:
            x = x_0
        history = [*history[-1:], (t, x_0)]
        if callback:
            callback(i + 1, len(timesteps), x)
    return x


SAMPLERS: dict[SamplerName, Callable[[Denoise, torch.Tensor, Sequence[int], Callback | None], torch.Tensor]] = {
    "ddim": sample_ddim,
    "dpm-solver++": sample_dpm_solver,
    "unipc": sample_unipc,
}


def sample_from_noise(
    denoise: Denoise,
    noise: Latents,
    *,
    sampler: SamplerName = "ddim",
    n_steps: int = 50,
    callback: Callback | None = None,
) -> Latents:
    """Sample latents from nothing but noise, over all n_steps timesteps."""
    return SAMPLERS[sampler](denoise, noise, uniform_timesteps(n_steps), callback)


def sample_from_latents(
    denoise: Denoise,
    latents: Latents,
    noise: Latents,
    *,
    sampler: SamplerName = "ddim",
    n_steps: int = 50,
    strength: float = 0.75,
    noise_level: NoiseLevel = "as_published",
    callback: Callback | None = None,
) -> Latents:
    """Image to image (SDEdit; Meng et al., ICLR 2022): noise latents part of the way, then denoise them.

    Args:
        denoise: eps = denoise(x, t).
        latents: x_0, scaled as the network was trained on them.
        noise: eps, standard normal, one per latent.
        sampler: the name of the algorithm.
        n_steps: steps from pure noise; floor(strength n_steps) of them run.
        strength: in [0, 1]; 0 returns the latents as they are, 1 starts from (almost) pure noise.
        noise_level: see `image_to_image_timesteps`.
        callback: told about every step.
    """
    noised_at, timesteps = image_to_image_timesteps(n_steps, strength, noise_level)
    if not timesteps:
        return latents
    return SAMPLERS[sampler](denoise, add_noise(latents, noise, noised_at), timesteps, callback)


def _predicted(x: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
    """x_0 = (x - sigma_t eps) / alpha_t, with alpha = sqrt(a) and sigma = sqrt(1 - a)."""
    alpha, sigma = _alpha_sigma(t)
    return (x - sigma * eps) / alpha


def _exponential_step(x: torch.Tensor, s: int, t: int, x_0: torch.Tensor) -> torch.Tensor:
    """x_t = (sigma_t / sigma_s) x_s + alpha_t (1 - e^-h) x_0, h = lambda_t - lambda_s: exact if x_0 stays the same."""
    (_, sigma_s), (alpha_t, sigma_t) = _alpha_sigma(s), _alpha_sigma(t)
    return sigma_t / sigma_s * x - alpha_t * math.expm1(-_log_step(s, t)) * x_0


def _extrapolated(x_0: torch.Tensor, x_0_before: torch.Tensor, before: int | None, s: int, t: int) -> torch.Tensor:
    """x_0 + (h / 2 h_before) (x_0 - x_0_before): x_0 half a step ahead; x_0 itself at the first step."""
    if before is None:
        return x_0
    return x_0 + _log_step(s, t) / (2 * _log_step(before, s)) * (x_0 - x_0_before)


def _corrected(history: Sequence[tuple[int, torch.Tensor]], t: int, x_0_t: torch.Tensor) -> torch.Tensor:
    """x_0 + rho_1 D_1 + rho_t D_t: UniPC's corrector of order 2 (or 1, after the first step).

    D_1 = (x_0_before - x_0) / r, D_t = x_0_t - x_0; rho solves rho_1 + rho_t = b_1, r rho_1 + rho_t = b_2.
    """
    s, x_0 = history[-1]
    D_t = x_0_t - x_0
    if len(history) == 1:
        return x_0 + 0.5 * D_t
    before, x_0_before = history[-2]
    h = _log_step(s, t)
    r = -_log_step(before, s) / h
    phi_1 = math.expm1(-h)
    phi_2 = -phi_1 / h - 1
    phi_3 = -phi_2 / h - 0.5
    b_1, b_2 = phi_2 / phi_1, 2 * phi_3 / phi_1
    rho_1 = (b_1 - b_2) / (1 - r)
    return x_0 + rho_1 * (x_0_before - x_0) / r + (b_1 - rho_1) * D_t


def _log_step(s: int, t: int) -> float:
    """lambda_t - lambda_s, with lambda = log(alpha / sigma)."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = _alpha_sigma(s), _alpha_sigma(t)
    return math.log(alpha_t * sigma_s / (sigma_t * alpha_s))


def _alpha_sigma(t: int) -> tuple[float, float]:
    a = alphas_cumprod()[t].item()
    return math.sqrt(a), math.sqrt(1 - a)
