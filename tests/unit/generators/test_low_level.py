"""Laws of the first stage: what a picture depends on, and what it must not."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from braindiffuser import images
from braindiffuser.errors import RunError
from braindiffuser.generators.low_level import reconstruct_low_level
from braindiffuser.generators.settings import LowLevelConfig
from braindiffuser.networks.logistic_mixture import mixture_mean
from braindiffuser.networks.vdvae import VDVAE, VDVAEConfig, flatten_latents
from braindiffuser.targets.vdvae import VDVAELatents
from braindiffuser.targets.vdvae_latents import extract_latents, posterior_noise

TINY = VDVAEConfig(
    image_size=8,
    enc_blocks="8x1,8d2,4x1,4d4,1x1",
    dec_blocks="1x1,4m1,4x1,8m4,8x1",
    width=8,
    zdim=2,
    num_mixtures=2,
)
IDS = np.array([7, 3, 2**40, 0, 3])
STILL = LowLevelConfig(temperature=0.0, output="mean")
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    built = TINY.build().eval().requires_grad_(False)
    for parameter in built.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return built


@pytest.fixture
def latents():
    """Latents of the first three layers."""
    return np.random.default_rng(1).normal(size=(5, 66)).astype(np.float32)


@pytest.mark.parametrize("output", ["sample", "mean"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_order_and_batches_change_nothing(network, latents, output, temperature):
    config = {"temperature": temperature, "output": output}
    made = reconstruct_low_level(network, latents, IDS, LowLevelConfig(**config))
    assert made.shape == (5, 3, 8, 8)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    one_level = {"rtol": 0, "atol": 1.01 / 255} if output == "sample" else CLOSE
    for rows in (slice(0, 1), slice(1, 3)):
        other = reconstruct_low_level(network, latents[rows], IDS[rows], LowLevelConfig(**config))
        np.testing.assert_allclose(other, made[rows], **one_level)
    order = np.array([4, 2, 0, 1, 3])
    permuted = reconstruct_low_level(network, latents[order], IDS[order], LowLevelConfig(**config))
    np.testing.assert_allclose(permuted, made[order], **one_level)


@pytest.mark.parametrize(
    "config", [LowLevelConfig(temperature=0.0), LowLevelConfig(output="mean")], ids=["pixel noise", "prior noise"]
)
def test_noise_follows_the_id_and_the_seed(network, latents, config):
    same = np.repeat(latents[:1], 5, axis=0)
    made = reconstruct_low_level(network, same, IDS, config)
    np.testing.assert_allclose(made[1], made[4], atol=1.01 / 255)  # both have id 3
    different = {made[row].round(2).tobytes() for row in range(4)}
    assert len(different) == 4
    assert np.abs(reconstruct_low_level(network, same, IDS, config, seed=1) - made).max() > 0.01


def test_without_noise_neither_id_nor_seed_matters(network, latents):
    made = reconstruct_low_level(network, latents, IDS, STILL)
    np.testing.assert_array_equal(reconstruct_low_level(network, latents, IDS + 1, STILL, seed=5), made)


def test_all_latents_of_a_picture_give_its_expected_picture(network):
    pictures = np.random.default_rng(2).random((3, 3, 8, 8), dtype=np.float32)
    every = VDVAELatents(checkpoint="any", n_layers=5, posterior="mean")
    latents = extract_latents(network, pictures, np.arange(3), every)
    _, features = network.infer(torch.from_numpy(pictures))
    expected = mixture_mean(network.distribution(features)).numpy()
    for temperature in (0.0, 1.0):  # no layer is missing, so it does not matter
        config = LowLevelConfig(temperature=temperature, output="mean")
        np.testing.assert_allclose(reconstruct_low_level(network, latents, np.arange(3), config), expected, **CLOSE)


def test_temperature_moves_the_picture_away_from_the_prior_mean(network, latents):
    still = reconstruct_low_level(network, latents, IDS, STILL)
    moved = [
        np.abs(reconstruct_low_level(network, latents, IDS, STILL.model_copy(update={"temperature": t})) - still).mean()
        for t in (0.01, 0.1, 1.0)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_sampled_pictures_have_eight_bits(network, latents):
    made = reconstruct_low_level(network, latents, IDS, LowLevelConfig())
    np.testing.assert_array_equal(images.from_uint8(images.to_uint8(made)), made)


def test_pixel_noise_of_different_ids_is_uncorrelated(network, latents):
    n = 1500
    same = np.repeat(latents[:1], n, axis=0)
    samples = reconstruct_low_level(network, same, np.arange(n), LowLevelConfig(temperature=0.0))
    assert samples.std(axis=0).min() > 0
    brightness = samples.mean(axis=(1, 2, 3))
    assert np.abs(np.corrcoef(brightness[:-1], brightness[1:])[0, 1]) < 4 / np.sqrt(n)


def test_noise_is_independent_of_the_posterior_samples(network, latents, monkeypatch):
    """With one seed and id, the prior's noise must not repeat the noise that made the targets."""
    drawn = []

    def remember(self, given, noise, temperature):
        drawn.extend(layer for layer in noise if layer.numel())
        return torch.zeros(len(given[0]), 8, 8, 8)

    monkeypatch.setattr(VDVAE, "generate", remember)
    reconstruct_low_level(network, latents, IDS, LowLevelConfig(), seed=4)
    prior = flatten_latents(drawn).flatten()
    posterior = flatten_latents(posterior_noise(TINY, IDS, 5, seed=4))[:, : len(prior) // 5].flatten()
    assert abs(torch.corrcoef(torch.stack([prior, posterior]))[0, 1]) < 4 / len(prior) ** 0.5
    assert abs(prior.mean()) < 4 / len(prior) ** 0.5


def test_double_precision_is_accepted(network, latents):
    made = reconstruct_low_level(network, latents.astype(np.float64), IDS, STILL)
    np.testing.assert_array_equal(made, reconstruct_low_level(network, latents, IDS, STILL))


def test_latents_that_end_inside_a_layer_are_refused(network, latents):
    with pytest.raises(ValueError, match="60 latents end inside layer 2"):
        reconstruct_low_level(network, latents[:, :60], IDS, STILL)


def test_the_default_is_the_published_choice():
    assert LowLevelConfig().temperature == 1.0
    assert LowLevelConfig().output == "sample"


@pytest.mark.parametrize("entries", [{"temperature": -0.1}, {"output": "median"}, {"batch_size": 2}])
def test_unknown_or_impossible_entries_are_refused(entries):
    with pytest.raises(ValidationError, match=next(iter(entries))):
        LowLevelConfig(**entries)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("output", ["sample", "mean"])
def test_what_the_network_yields_that_is_not_finite_is_told_and_not_clipped(network, latents, output, value):
    latents[2, 0] = value
    with pytest.raises(
        RunError, match=rf"the VDVAE yields values that are not finite, .* the picture with id {IDS[2]}:"
    ):
        reconstruct_low_level(network, latents, IDS, LowLevelConfig(output=output))
