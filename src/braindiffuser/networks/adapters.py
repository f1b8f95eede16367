"""Adapters for networks that predict v or x_0: each returns the eps = denoise(x, t) that samplers take.

A network that predicts eps needs none. An adapter takes network(x, t), whose answer has the shape and precision of x,
and the schedule that the network was trained with; give the sampler the same schedule. Classifier-free guidance may be
applied before or after an adapter, with the same result: eps is affine in what the network predicts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from braindiffuser.networks.noise_schedule import Schedule
from braindiffuser.networks.samplers import Denoise


def eps_from_v(network: Callable[[torch.Tensor, int], torch.Tensor], schedule: Schedule) -> Denoise:
    """eps = sqrt(a_t) v + sqrt(1 - a_t) x, for a network that predicts v = sqrt(a_t) eps - sqrt(1 - a_t) x_0.

    Appendix D of Salimans & Ho, "Progressive Distillation" (ICLR 2022, arXiv:2202.00512).
    """

    def denoise(x: torch.Tensor, t: int) -> torch.Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        return alpha * network(x, t) + sigma * x

    return denoise


def eps_from_x_0(network: Callable[[torch.Tensor, int], torch.Tensor], schedule: Schedule) -> Denoise:
    """eps = (x - sqrt(a_t) x_0) / sqrt(1 - a_t), for a network that predicts the clean latents x_0."""

    def denoise(x: torch.Tensor, t: int) -> torch.Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        return (x - alpha * network(x, t)) / sigma

    return denoise
