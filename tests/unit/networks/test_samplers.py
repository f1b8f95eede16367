"""Laws of the samplers: known answers, other implementations, and the limits of strength."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.networks.noise_schedule import SCALED_LINEAR, Schedule
from braindiffuser.networks.samplers import (
    SAMPLERS,
    add_noise,
    image_to_image_timesteps,
    sample,
    sample_from_latents,
    sample_from_noise,
    uniform_timesteps,
)

SCHEDULES = {  # ours, and what diffusers calls it
    "versatile diffusion": (
        SCALED_LINEAR,
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    ),
    "linear": (Schedule.linear(), {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
    "cosine": (Schedule.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    "short": (
        Schedule.linear(0.001, 0.1, 200),
        {"beta_schedule": "linear", "beta_start": 0.001, "beta_end": 0.1, "num_train_timesteps": 200},
    ),
}


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES)
def schedules(request):
    """A schedule, and diffusers' arguments for it."""
    return request.param


@pytest.fixture
def schedule(schedules):
    return schedules[0]


@pytest.fixture
def latents():
    return torch.randn((2, 4, 6, 6), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noise():
    return torch.randn((2, 4, 6, 6), generator=torch.Generator().manual_seed(1))


def bent(x, t):
    """A smooth made-up network."""
    return torch.tanh(0.7 * x + t / 1000)


def gaussian(schedule, variance=0.25):
    """E[eps | x] where latents are normal with this variance."""

    def denoise(x, t):
        a = schedule.alphas_cumprod[t].item()
        return math.sqrt(1 - a) * x / (a * variance + 1 - a)

    return denoise


def test_published_timesteps():
    assert uniform_timesteps(50) == list(range(981, 0, -20))
    assert image_to_image_timesteps(50, 0.75, "as-published") == (741, list(range(721, 0, -20)))
    assert image_to_image_timesteps(50, 0.75, "consistent") == (721, list(range(721, 0, -20)))
    assert len(image_to_image_timesteps(50, 0.58, "consistent")[1]) == 29  # 0.58 * 50 < 29 in binary


@settings(deadline=None, max_examples=25)
@given(
    n_steps=st.integers(1, 999), strength=st.floats(0, 1), noise_level=st.sampled_from(["as-published", "consistent"])
)
def test_timesteps_fall_within_the_schedule(n_steps, strength, noise_level):
    every = uniform_timesteps(n_steps)
    noised_at, timesteps = image_to_image_timesteps(n_steps, strength, noise_level)
    assert len(every) == n_steps
    assert every == sorted(set(every), reverse=True)
    assert 1 <= every[-1] <= every[0] <= 999
    assert timesteps == every[n_steps - len(timesteps) :]
    assert len(timesteps) == pytest.approx(n_steps * strength, abs=1)
    if timesteps:
        assert timesteps[0] <= noised_at <= 999


@pytest.mark.parametrize("n_steps", [0, 1000])
def test_impossible_step_counts_are_refused(n_steps):
    with pytest.raises(ValueError, match=r"n_steps must be in 1\.\.999"):
        uniform_timesteps(n_steps)


@given(n_steps=st.integers(1, 39))
def test_timesteps_are_those_of_the_schedule(n_steps):
    schedule = Schedule.linear(0.01, 0.2, 40)
    every = uniform_timesteps(n_steps, schedule=schedule)
    assert len(every) == n_steps
    assert every == sorted(set(every), reverse=True)
    assert 1 <= every[-1] <= every[0] <= 39
    assert image_to_image_timesteps(n_steps, 1.0, "consistent", schedule=schedule) == (every[0], every)
    with pytest.raises(ValueError, match=r"n_steps must be in 1\.\.39, got 40"):
        uniform_timesteps(40, schedule=schedule)


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_impossible_strengths_are_refused(strength):
    with pytest.raises(ValueError, match="between 0 and 1"):
        image_to_image_timesteps(50, strength, "consistent")


def test_strength_one_starts_at_the_top_either_way():
    assert image_to_image_timesteps(50, 1.0, "as-published") == image_to_image_timesteps(50, 1.0, "consistent")
    assert image_to_image_timesteps(50, 1.0, "consistent") == (981, uniform_timesteps(50))


def test_noise_is_mixed_as_diffusers_mixes_it(latents, noise, schedules):
    schedule, arguments = schedules
    theirs = DDIMScheduler(**arguments).add_noise(latents, noise, torch.tensor([150, 150]))
    torch.testing.assert_close(add_noise(latents, noise, 150, schedule=schedule), theirs, rtol=0, atol=1e-5)


def test_ddim_is_diffusers_ddim(latents, schedules):
    schedule, arguments = schedules
    scheduler = DDIMScheduler(**arguments, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(50)
    x = latents
    for t in scheduler.timesteps[13:]:
        x = scheduler.step(bent(x, t.item()), t, x).prev_sample
    _, timesteps = image_to_image_timesteps(50, 0.75, "as-published", schedule=schedule)
    torch.testing.assert_close(sample(bent, latents, timesteps, schedule=schedule), x, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers' set_timesteps
@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("dpm-solver++", DPMSolverMultistepScheduler), ("unipc", UniPCMultistepScheduler)],
)
@pytest.mark.parametrize("n_steps", [1, 2, 3, 8, 20])
def test_multistep_samplers_are_diffusers_own(latents, schedules, sampler, scheduler, n_steps):
    schedule, arguments = schedules
    theirs = scheduler(**arguments, timestep_spacing="leading", steps_offset=1)
    theirs.set_timesteps(n_steps)
    x = latents
    for t in theirs.timesteps:
        x = theirs.step(bent(x, t.item()), t, x).prev_sample
    found = sample(bent, latents, theirs.timesteps.tolist(), sampler, schedule=schedule)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_true_noise_leads_back_to_the_latents(name, latents, noise, schedule):
    def oracle(x, t):
        a = schedule.alphas_cumprod[t].item()
        return (x - math.sqrt(a) * latents) / math.sqrt(1 - a)

    found = sample_from_latents(
        oracle, latents, noise, sampler=name, n_steps=20, noise_level="consistent", schedule=schedule
    )
    expected = add_noise(latents, noise, 0, schedule=schedule) if name == "ddim" else latents
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpm-solver++", 2), ("unipc", 3)])
def test_error_falls_with_the_order_of_the_sampler(name, order, noise):
    """Where latents are normal the trajectory is known: x_t stays the same multiple of its standard deviation."""

    def spread(t):
        a = SCALED_LINEAR.alphas_cumprod[t].item()
        return math.sqrt(a * 0.25 + 1 - a)

    def error(n_steps):
        timesteps = [round(981 - 640 * i / n_steps) for i in range(n_steps + 1)]
        reached = list(SAMPLERS[name](gaussian(SCALED_LINEAR), noise.double(), timesteps, SCALED_LINEAR))
        truth = noise.double() * spread(timesteps[-1]) / spread(timesteps[0])
        return (reached[-2] - truth).norm().item()  # the last step goes on to x_0

    assert math.log2(error(40) / error(80)) == pytest.approx(order, abs=0.1)


def test_ddim_turns_noise_into_the_data_distribution(noise, schedule):
    made = sample_from_noise(gaussian(schedule), noise, n_steps=schedule.n_timesteps - 1, schedule=schedule)
    torch.testing.assert_close(made, 0.5 * noise, rtol=0.02, atol=1e-3)  # standard deviation 0.5, order kept


@pytest.mark.parametrize("name", SAMPLERS)
def test_strength_zero_returns_the_latents(name, latents, noise):
    assert torch.equal(sample_from_latents(bent, latents, noise, sampler=name, strength=0.0), latents)


@pytest.mark.parametrize("name", SAMPLERS)
def test_more_strength_goes_further_from_the_latents(name, latents, noise):
    distances = [
        (sample_from_latents(gaussian(SCALED_LINEAR), latents, noise, sampler=name, strength=s) - latents).norm().item()
        for s in (0.05, 0.3, 0.9)
    ]
    assert distances == sorted(distances)


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_reported(name, latents, noise):
    told = []
    found = sample_from_latents(
        bent, latents, noise, sampler=name, n_steps=8, callback=lambda i, n, x: told.append((i, n, x))
    )
    assert [(i, n) for i, n, _ in told] == [(i, 6) for i in range(1, 7)]
    assert told[-1][2] is found


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_do_not_see_each_other(name, latents, noise):
    together = sample_from_latents(bent, latents, noise, sampler=name, n_steps=8)
    alone = sample_from_latents(bent, latents[1:], noise[1:], sampler=name, n_steps=8)
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-6)
