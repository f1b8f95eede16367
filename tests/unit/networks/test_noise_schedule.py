"""Laws of noise schedules: closed forms, other implementations, and what is refused."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from braindiffuser.networks.noise_schedule import SCALED_LINEAR, Schedule


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (SCALED_LINEAR, {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
        (Schedule.linear(), {}),  # DDPM's numbers are diffusers' defaults
        (Schedule.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
        (Schedule.cosine(n_timesteps=300), {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 300}),
    ],
)
def test_schedules_are_diffusers(schedule, theirs):
    expected = DDIMScheduler(**theirs).alphas_cumprod  # float32
    torch.testing.assert_close(schedule.alphas_cumprod.float(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("make", "power"), [(Schedule.linear, 1), (Schedule.scaled_linear, 2)])
def test_products_of_betas(make, power):
    first, last = 0.001 ** (1 / power), 0.05 ** (1 / power)
    products = np.cumprod([1 - (first + (last - first) * t / 39) ** power for t in range(40)])
    np.testing.assert_allclose(make(0.001, 0.05, 40).alphas_cumprod.numpy(), products, rtol=1e-13)


def test_cosine_in_closed_form():
    """Products of ratios telescope: a_t = f(t + 1) / f(0), but for the last beta, which is kept below 1."""

    def f(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    found = Schedule.cosine().alphas_cumprod.numpy()
    np.testing.assert_allclose(found[:-1], [f(t + 1) / f(0) for t in range(999)], rtol=1e-9)
    assert found[-1] == pytest.approx(0.001 * found[-2])


@pytest.mark.parametrize("schedule", [SCALED_LINEAR, Schedule.linear(), Schedule.cosine()])
def test_signal_and_noise_share_the_variance(schedule):
    assert schedule.n_timesteps == 1000
    parts = [schedule.alpha_sigma(t) for t in range(1000)]
    assert all(alpha**2 + sigma**2 == pytest.approx(1, abs=1e-15) for alpha, sigma in parts)
    assert parts == sorted(parts, reverse=True)  # ever less signal


@pytest.mark.parametrize("make", [Schedule.scaled_linear, Schedule.linear, Schedule.cosine])
def test_numbers_do_not_depend_on_the_default_device(make):
    with torch.device("meta"):
        schedule = make()
    assert torch.equal(schedule.alphas_cumprod, make().alphas_cumprod)


@pytest.mark.parametrize(
    "products", [[0.5, 0.9], [0.9, 0.9], [0.9, 0.0], [1.0, 0.5], [0.9, math.nan], [0.5, -0.1]], ids=str
)
def test_what_is_no_schedule_is_refused(products):
    with pytest.raises(ValueError, match="alphas_cumprod must fall and stay between 0 and 1"):
        Schedule(torch.tensor(products, dtype=torch.float64))
