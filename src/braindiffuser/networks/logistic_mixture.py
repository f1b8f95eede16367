"""Discretised mixture of logistics: the distribution over 8-bit pictures that a VDVAE ends in (PixelCNN++, Salimans 2017)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F


def split_mixture(parameters: Float[Tensor, "n h w k"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split output parameters into logits (n, h, w, m) and means, log scales, coefficients (n, h, w, 3, m).

    The log scales are at least −7; the coefficients couple green to red, and blue to red and green (PixelCNN++, Salimans 2017).
    """
    n_mixtures = parameters.shape[-1] // 10
    logits, rest = torch.split(parameters, [n_mixtures, 9 * n_mixtures], dim=-1)
    means, log_scales, coefficients = rest.reshape(*rest.shape[:-1], 3, 3 * n_mixtures).chunk(3, dim=-1)
    return logits, means, log_scales.clamp(min=-7.0), coefficients.tanh()


def mixture_nll(pictures: Float[Tensor, "n 3 h w"], parameters: Float[Tensor, "n h w k"]) -> Float[Tensor, " n"]:
    """−log p(x) / (3·h·w): nats per dimension of 8-bit pictures in [0, 1] under a discretised mixture of logistics."""
    logits, means, log_scales, coefficients = split_mixture(parameters)
    x = (pictures.permute(0, 2, 3, 1) * 2 - 1).unsqueeze(-1).expand_as(means)
    red, green, _ = means.unbind(-2)
    coupled = torch.stack(
        [
            red,
            green + coefficients[..., 0, :] * x[..., 0, :],
            means[..., 2, :] + coefficients[..., 1, :] * x[..., 0, :] + coefficients[..., 2, :] * x[..., 1, :],
        ],
        dim=-2,
    )
    inverse = (-log_scales).exp()
    centred = x - coupled
    upper, lower, middle = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255), inverse * centred
    mass = upper.sigmoid() - lower.sigmoid()
    density = middle - log_scales - 2 * F.softplus(middle) - math.log(127.5)
    inside = torch.where(mass > 1e-5, mass.clamp(min=1e-12).log(), density)
    log_mass = torch.where(x < -0.999, upper - F.softplus(upper), torch.where(x > 0.999, -F.softplus(lower), inside))
    log_likelihood = (log_mass.sum(dim=-2) + logits.log_softmax(dim=-1)).logsumexp(dim=-1)
    return -log_likelihood.sum(dim=(1, 2)) / pictures[0].numel()


def sample_mixture(
    parameters: Float[Tensor, "n h w k"],
    mixture_uniform: Float[Tensor, "n h w m"],
    logistic_uniform: Float[Tensor, "n h w 3"],
) -> UInt8[Tensor, "n h w 3"]:
    """x = μₖ + sₖ · logit(u), k = argmax(logits − log(−log u′)): sample 8-bit pictures, as published.

    Args:
        parameters: from `VDVAE.distribution`.
        mixture_uniform: uniform noise in (0, 1) that chooses one component per pixel.
        logistic_uniform: uniform noise in (0, 1) for its three channels.
    """
    logits, means, log_scales, coefficients = split_mixture(parameters)
    chosen = (
        (logits - (-mixture_uniform.log()).log())
        .argmax(dim=-1, keepdim=True)
        .unsqueeze(-2)
        .expand(*means.shape[:-1], 1)
    )
    mean, log_scale, c = (values.gather(-1, chosen).squeeze(-1) for values in (means, log_scales, coefficients))
    x = mean + log_scale.exp() * (logistic_uniform.log() - (1 - logistic_uniform).log())
    return _couple(x, c).add(1).mul(127.5).clamp(0, 255).to(torch.uint8)


def mixture_mean(parameters: Float[Tensor, "n h w k"]) -> Float[Tensor, "n 3 h w"]:
    """E[x] = Σₖ πₖ μₖ: the expected picture in [0, 1], without sampling noise (not as published)."""
    logits, means, _, coefficients = split_mixture(parameters)
    coupled = _couple(means.movedim(-2, -1), coefficients.movedim(-2, -1))
    expected = (logits.softmax(dim=-1).unsqueeze(-1) * coupled).sum(dim=-2)
    return expected.permute(0, 3, 1, 2).add(1).div(2).clamp(0, 1)


def _couple(x: Tensor, coefficients: Tensor) -> Tensor:
    red = x[..., 0].clamp(-1, 1)
    green = (x[..., 1] + coefficients[..., 0] * red).clamp(-1, 1)
    blue = (x[..., 2] + coefficients[..., 1] * red + coefficients[..., 2] * green).clamp(-1, 1)
    return torch.stack([red, green, blue], dim=-1)
