"""Samplers: from noise to latents, given a network that predicts noise.

One algorithm is one function, which yields the latents after each step; all share one signature, `Sampler`, so that they are
interchangeable, and `sample` runs any of them. A network enters as a callable eps = denoise(x, t); samplers are independent
of network and guidance. A network that predicts v or x_0 enters through a function of `adapters.py`. Every function takes
the noise schedule that the network was trained with; in those that choose timesteps, add noise or run a sampler, it defaults to
Versatile Diffusion's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float

from braindiffuser.networks.noise_schedule import SCALED_LINEAR, Schedule
from braindiffuser.networks.sampling_choices import NoiseLevel, SamplerName

Latents: TypeAlias = Float[torch.Tensor, "n channels height width"]
Denoise: TypeAlias = Callable[[torch.Tensor, int], torch.Tensor]
"""eps = denoise(x, t): the noise predicted in x (n, channels, height, width) at timestep t, of the same shape."""
Callback: TypeAlias = Callable[[int, int, torch.Tensor], None]
"""callback(i, n_steps, x): called after step i = 1..n_steps with the latents it made."""
Sampler: TypeAlias = Callable[[Denoise, Latents, Sequence[int], Schedule], Iterator[Latents]]
"""sampler(denoise, x, timesteps, schedule): yields x after each step; its arguments are explained in `sample`."""


def uniform_timesteps(n_steps: int, *, schedule: Schedule = SCALED_LINEAR) -> list[int]:
    """t_i = 1 + floor(i T / n_steps), falling from i = n_steps - 1 to 0: 981, 961, …, 1 for 50 steps of T = 1000.

    Raises:
        ValueError: if n_steps is not in 1..T - 1, with T the schedule's number of timesteps.
    """
    n_timesteps = schedule.n_timesteps
    if not 1 <= n_steps < n_timesteps:
        raise ValueError(f"n_steps must be in 1..{n_timesteps - 1}, got {n_steps}")
    return [1 + i * n_timesteps // n_steps for i in reversed(range(n_steps))]


def image_to_image_timesteps(
    n_steps: int, strength: float, noise_level: NoiseLevel, *, schedule: Schedule = SCALED_LINEAR
) -> tuple[int, list[int]]:
    """Choose the timestep to noise latents to, and the floor(strength n_steps) timesteps to denoise them over.

    `as-published` noises Brain-Diffuser's way, to the timestep above the first that is denoised (741, then 721 to 1
    for 50 steps at strength 0.75); `consistent` noises to the very timestep that is denoised first (721). At strength
    1 there is no timestep above, and both are the same. At a strength that leaves no step, the noised timestep is 0
    and the list empty.

    Raises:
        ValueError: if strength is not in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is the share of steps that run, between 0 and 1; got {strength}")
    timesteps = uniform_timesteps(n_steps, schedule=schedule)
    n_denoised = math.floor(strength * n_steps + 1e-9)  # 0.58 * 50 is 28.999… in binary
    if n_denoised == 0:
        return 0, []
    n_above = 1 if noise_level == "as-published" and n_denoised < n_steps else 0
    return timesteps[n_steps - n_denoised - n_above], timesteps[n_steps - n_denoised :]


def add_noise(latents: Latents, noise: Latents, timestep: int, *, schedule: Schedule = SCALED_LINEAR) -> Latents:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps."""
    alpha, sigma = schedule.alpha_sigma(timestep)
    return alpha * latents + sigma * noise


def ddim_steps(denoise: Denoise, x: Latents, timesteps: Sequence[int], schedule: Schedule) -> Iterator[Latents]:
    """Equation 12 of Song, Meng & Ermon, "Denoising Diffusion Implicit Models" (ICLR 2021), with sigma = 0.

    x_prev = sqrt(a_prev) x_0 + sqrt(1 - a_prev) eps,   x_0 = (x - sqrt(1 - a_t) eps) / sqrt(a_t);
    the step from the last timestep goes to a_0, not to 1, as in Versatile Diffusion.
    """
    for t, t_prev in zip(timesteps, [*timesteps[1:], 0], strict=True):
        eps = denoise(x, t)
        x_0 = _predicted(x, eps, t, schedule)
        x = add_noise(x_0, eps, t_prev, schedule=schedule)
        yield x


def dpm_solver_steps(denoise: Denoise, x: Latents, timesteps: Sequence[int], schedule: Schedule) -> Iterator[Latents]:
    """DPM-Solver++(2M): Algorithm 2 of Lu et al., "DPM-Solver++" (2022, arXiv:2211.01095), ending at x_0.

    About 20 steps do what DDIM does in 50; the pictures are not the same.
    """
    x_0_before, before = x, None
    for t, t_next in zip(timesteps, [*timesteps[1:], None], strict=True):
        x_0 = _predicted(x, denoise(x, t), t, schedule)
        if t_next is None:
            x = x_0
        else:
            x_0_ahead = _extrapolated(x_0, x_0_before, before, t, t_next, schedule)
            x = _exponential_step(x, t, t_next, x_0_ahead, schedule)
        x_0_before, before = x_0, t
        yield x


def unipc_steps(denoise: Denoise, x: Latents, timesteps: Sequence[int], schedule: Schedule) -> Iterator[Latents]:
    """UniPC-2: Algorithms 1 and 2 of Zhao et al., "UniPC" (NeurIPS 2023, arXiv:2302.04867), B_2(h), ending at x_0.

    The predictor is DPM-Solver++(2M); the corrector repeats each step with x_0 predicted at its end, without another call of
    the network. About 20 steps give similar quality to DDIM's 50, with other pictures.
    """
    history: list[tuple[int, torch.Tensor]] = []  # (t, x_0 predicted there) of the last two steps
    x_corrected = x
    for t, t_next in zip(timesteps, [*timesteps[1:], None], strict=True):
        x_0 = _predicted(x, denoise(x, t), t, schedule)
        if history:
            s = history[-1][0]
            x = _exponential_step(x_corrected, s, t, _corrected(history, t, x_0, schedule), schedule)
        x_corrected = x
        if t_next is None:
            x = x_0
        else:
            before, x_0_before = history[-1] if history else (None, x_0)
            x_0_ahead = _extrapolated(x_0, x_0_before, before, t, t_next, schedule)
            x = _exponential_step(x, t, t_next, x_0_ahead, schedule)
        history = [*history[-1:], (t, x_0)]
        yield x


SAMPLERS: dict[SamplerName, Sampler] = {"ddim": ddim_steps, "dpm-solver++": dpm_solver_steps, "unipc": unipc_steps}


@torch.no_grad()
def sample(
    denoise: Denoise,
    x: Latents,
    timesteps: Sequence[int],
    sampler: SamplerName = "ddim",
    *,
    schedule: Schedule = SCALED_LINEAR,
    callback: Callback | None = None,
) -> Latents:
    """Denoise latents over the timesteps.

    Args:
        denoise: eps = denoise(x, t).
        x: latents noised to the first timestep.
        timesteps: falling, each one of the schedule's.
        sampler: the name of the algorithm.
        schedule: the one that the network was trained with.
        callback: called after every step.
    """
    made = x
    for i, made in enumerate(SAMPLERS[sampler](denoise, x, timesteps, schedule), start=1):
        if callback:
            callback(i, len(timesteps), made)
    return made


def sample_from_noise(
    denoise: Denoise,
    noise: Latents,
    *,
    sampler: SamplerName = "ddim",
    n_steps: int = 50,
    schedule: Schedule = SCALED_LINEAR,
    callback: Callback | None = None,
) -> Latents:
    """Sample latents from nothing but noise, over all n_steps timesteps."""
    timesteps = uniform_timesteps(n_steps, schedule=schedule)
    return sample(denoise, noise, timesteps, sampler, schedule=schedule, callback=callback)


def sample_from_latents(  # noqa: PLR0913 (all but three are keywords with defaults)
    denoise: Denoise,
    latents: Latents,
    noise: Latents,
    *,
    sampler: SamplerName = "ddim",
    n_steps: int = 50,
    strength: float = 0.75,
    noise_level: NoiseLevel = "as-published",
    schedule: Schedule = SCALED_LINEAR,
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
        schedule: the one that the network was trained with.
        callback: called after every step.
    """
    noised_at, timesteps = image_to_image_timesteps(n_steps, strength, noise_level, schedule=schedule)
    if not timesteps:
        return latents
    x = add_noise(latents, noise, noised_at, schedule=schedule)
    return sample(denoise, x, timesteps, sampler, schedule=schedule, callback=callback)


def _predicted(x: torch.Tensor, eps: torch.Tensor, t: int, schedule: Schedule) -> torch.Tensor:
    """x_0 = (x - sigma_t eps) / alpha_t, with alpha = sqrt(a) and sigma = sqrt(1 - a)."""
    alpha, sigma = schedule.alpha_sigma(t)
    return (x - sigma * eps) / alpha


def _exponential_step(x: torch.Tensor, s: int, t: int, x_0: torch.Tensor, schedule: Schedule) -> torch.Tensor:
    """x_t = (sigma_t / sigma_s) x_s + alpha_t (1 - e^-h) x_0, h = lambda_t - lambda_s: exact if x_0 stays the same."""
    (_, sigma_s), (alpha_t, sigma_t) = schedule.alpha_sigma(s), schedule.alpha_sigma(t)
    return sigma_t / sigma_s * x - alpha_t * math.expm1(-_log_step(s, t, schedule)) * x_0


def _extrapolated(
    x_0: torch.Tensor, x_0_before: torch.Tensor, before: int | None, s: int, t: int, schedule: Schedule
) -> torch.Tensor:
    """x_0 + (h / 2 h_before) (x_0 - x_0_before): x_0 half a step ahead; x_0 itself at the first step."""
    if before is None:
        return x_0
    return x_0 + _log_step(s, t, schedule) / (2 * _log_step(before, s, schedule)) * (x_0 - x_0_before)


def _corrected(
    history: Sequence[tuple[int, torch.Tensor]], t: int, x_0_t: torch.Tensor, schedule: Schedule
) -> torch.Tensor:
    """x_0 + rho_1 D_1 + rho_t D_t: UniPC's corrector of order 2 (or 1, after the first step).

    D_1 = (x_0_before - x_0) / r, D_t = x_0_t - x_0; rho solves rho_1 + rho_t = b_1, r rho_1 + rho_t = b_2.
    """
    s, x_0 = history[-1]
    D_t = x_0_t - x_0
    if len(history) == 1:
        return x_0 + 0.5 * D_t
    before, x_0_before = history[-2]
    h = _log_step(s, t, schedule)
    r = -_log_step(before, s, schedule) / h
    phi_1 = math.expm1(-h)
    phi_2 = -phi_1 / h - 1
    phi_3 = -phi_2 / h - 0.5
    b_1, b_2 = phi_2 / phi_1, 2 * phi_3 / phi_1
    rho_1 = (b_1 - b_2) / (1 - r)
    return x_0 + rho_1 * (x_0_before - x_0) / r + (b_1 - rho_1) * D_t


def _log_step(s: int, t: int, schedule: Schedule) -> float:
    """lambda_t - lambda_s, with lambda = log(alpha / sigma)."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule.alpha_sigma(s), schedule.alpha_sigma(t)
    return math.log(alpha_t * sigma_s / (sigma_t * alpha_s))
