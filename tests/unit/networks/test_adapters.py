"""Laws of the adapters: one denoiser, whichever of eps, v and x_0 it predicts, leads to the same samples."""

import math

import pytest
import torch

from braindiffuser.networks.adapters import eps_from_v, eps_from_x_0
from braindiffuser.networks.noise_schedule import SCALED_LINEAR, Schedule
from braindiffuser.networks.samplers import SAMPLERS, add_noise, sample_from_latents, sample_from_noise

SCHEDULES = {"versatile diffusion": SCALED_LINEAR, "linear": Schedule.linear(), "cosine": Schedule.cosine()}
MEAN, VARIANCE = 0.3, 0.25


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES)
def schedule(request):
    return request.param


@pytest.fixture
def latents():
    return torch.randn((2, 4, 6, 6), generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def noise():
    return torch.randn((2, 4, 6, 6), generator=torch.Generator().manual_seed(1)).double()


def gaussian(schedule):
    """E[eps | x], E[v | x] and E[x_0 | x] where latents are normal with this mean and variance.

    Each is the regression of that variable on x = alpha x_0 + sigma eps: mean + covariance / variance (x - E[x]).
    """

    def regression(mean, covariance):
        def network(x, t):
            a = schedule.alphas_cumprod[t].item()
            alpha, sigma = math.sqrt(a), math.sqrt(1 - a)
            slope = covariance(alpha, sigma) / (alpha**2 * VARIANCE + sigma**2)
            return mean(alpha, sigma) + slope * (x - alpha * MEAN)

        return network

    return (
        regression(lambda alpha, sigma: 0.0, lambda alpha, sigma: sigma),
        regression(lambda alpha, sigma: -sigma * MEAN, lambda alpha, sigma: alpha * sigma * (1 - VARIANCE)),
        regression(lambda alpha, sigma: MEAN, lambda alpha, sigma: alpha * VARIANCE),
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_eps_v_and_x_0_give_the_same_samples(name, schedule, latents, noise):
    eps, v, x_0 = gaussian(schedule)
    options = {"sampler": name, "n_steps": 20, "schedule": schedule}
    from_noise = sample_from_noise(eps, noise, **options)
    from_latents = sample_from_latents(eps, latents, noise, **options)
    for denoise in (eps_from_v(v, schedule), eps_from_x_0(x_0, schedule)):
        torch.testing.assert_close(sample_from_noise(denoise, noise, **options), from_noise, rtol=0, atol=1e-9)
        found = sample_from_latents(denoise, latents, noise, **options)
        torch.testing.assert_close(found, from_latents, rtol=0, atol=1e-9)


@pytest.mark.parametrize("t", [0, 1, 500, 990])
def test_the_true_v_and_x_0_give_back_the_noise(t, schedule, latents, noise):
    x, (alpha, sigma) = add_noise(latents, noise, t, schedule=schedule), schedule.alpha_sigma(t)
    from_v = eps_from_v(lambda x, t: alpha * noise - sigma * latents, schedule)
    from_x_0 = eps_from_x_0(lambda x, t: latents, schedule)
    torch.testing.assert_close(from_v(x, t), noise, rtol=0, atol=1e-12)
    torch.testing.assert_close(from_x_0(x, t), noise, rtol=0, atol=1e-12)


@pytest.mark.parametrize("adapter", [eps_from_v, eps_from_x_0])
def test_guidance_before_an_adapter_is_guidance_after_it(adapter, schedule, latents):
    def unconditional(x, t):
        return torch.tanh(0.7 * x + t / 1000)

    def conditional(x, t):
        return torch.sin(x)

    def guide(u, c):
        return lambda x, t: u(x, t) + 7.5 * (c(x, t) - u(x, t))

    before = adapter(guide(unconditional, conditional), schedule)(latents, 500)
    after = guide(adapter(unconditional, schedule), adapter(conditional, schedule))(latents, 500)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-10)


@pytest.mark.parametrize("adapter", [eps_from_v, eps_from_x_0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adapters_keep_the_precision(adapter, dtype, latents):
    assert adapter(lambda x, t: x, SCALED_LINEAR)(latents.to(dtype), 500).dtype == dtype
