"""Laws of the VDVAE: passes that must agree, latents as flat numbers, and the mixture of logistics as a distribution."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import logistic
from torch.distributions import Normal, kl_divergence

from braindiffuser.networks.logistic_mixture import mixture_mean, mixture_nll, sample_mixture, split_mixture
from braindiffuser.networks.vdvae import (
    VDVAEConfig,
    flatten_latents,
    gaussian_kl,
    parse_blocks,
    unflatten_latents,
)

TINY = VDVAEConfig(
    image_size=8,
    enc_blocks="8x2,8d2,4x1,4d4,1x1",
    dec_blocks="1x1,4m1,4x1,8m4,8x1",
    width=8,
    zdim=2,
    num_mixtures=2,
)
N_LATENTS = [2, 34, 66, 194, 322]
"""Numbers in the first 1, 2, … layers of `TINY`."""
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def build(config):
    """A network whose every weight is random: fresh ones have priors of zero."""
    torch.manual_seed(0)
    network = config.build().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def network():
    return build(TINY)


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise_of_layers(n=4, seed=0):
    generator = seeded(seed)
    return [torch.randn(n, *shape, generator=generator) for shape in TINY.latent_shapes]


def latents_of(layers):
    return [layer.z for layer in layers]


# The passes


@pytest.mark.parametrize("noise", [None, "sample"])
def test_stopping_early_gives_the_same_latents(network, pictures, noise):
    noise = noise and noise_of_layers()
    full, features = network.infer(pictures, noise)
    assert features is not None
    for n_layers in range(1, 5):
        layers, none = network.infer(pictures, noise, n_layers)
        assert none is None
        assert len(layers) == n_layers
        for layer, expected in zip(layers, full[:n_layers], strict=True):
            assert torch.equal(layer.z, expected.z)
            assert torch.equal(layer.kl, expected.kl)


@pytest.mark.parametrize("noise", [None, "sample"])
def test_generating_from_all_inferred_latents_gives_the_inferred_features(network, pictures, noise):
    layers, features = network.infer(pictures, noise and noise_of_layers())
    torch.testing.assert_close(network.generate(latents_of(layers), seeded()), features)


def test_latents_and_features_have_the_shapes_of_the_config(network, pictures):
    layers, features = network.infer(pictures)
    assert [tuple(layer.z.shape[1:]) for layer in layers] == TINY.latent_shapes
    assert [tuple(layer.kl.shape[1:]) for layer in layers] == TINY.latent_shapes
    assert features.shape == (4, 8, 8, 8)
    assert network.distribution(features).shape == (4, 8, 8, 20)


def test_pictures_do_not_depend_on_their_batch(network, pictures):
    noise, order = noise_of_layers(), torch.tensor([2, 0, 3, 1])
    layers, features = network.infer(pictures, noise)
    permuted, other = network.infer(pictures[order], [layer[order] for layer in noise])
    torch.testing.assert_close(other, features[order], **CLOSE)
    alone, _ = network.infer(pictures[1:2], [layer[1:2] for layer in noise])
    for layer, shuffled, single in zip(layers, permuted, alone, strict=True):
        torch.testing.assert_close(shuffled.z, layer.z[order], **CLOSE)
        torch.testing.assert_close(single.z, layer.z[1:2], **CLOSE)


def test_a_generator_draws_layer_after_layer(network, pictures):
    listed, _ = network.infer(pictures, noise_of_layers(seed=3))
    drawn, _ = network.infer(pictures, seeded(3))
    for one, other in zip(listed, drawn, strict=True):
        assert torch.equal(one.z, other.z)
    given = latents_of(listed)[:2]
    generator = seeded(4)
    missing = [torch.randn(4, *shape, generator=generator) for shape in TINY.latent_shapes[2:]]
    from_list = network.generate(given, [torch.empty(0)] * 2 + missing)
    assert torch.equal(from_list, network.generate(given, seeded(4)))
    assert not torch.equal(from_list, network.generate(given, seeded(5)))


def test_no_noise_is_the_posterior_mean(network, pictures):
    mean, _ = network.infer(pictures)
    zero, _ = network.infer(pictures, [torch.zeros_like(layer) for layer in noise_of_layers()])
    assert all(torch.equal(one.z, other.z) for one, other in zip(mean, zero, strict=True))


def test_temperature_scales_the_prior_noise(network, pictures):
    given = latents_of(network.infer(pictures)[0])[:1]
    noise = noise_of_layers()
    assert torch.equal(network.generate(given, noise, temperature=0.0), network.generate(given))
    halved = network.generate(given, [layer / 2 for layer in noise])
    torch.testing.assert_close(network.generate(given, noise, temperature=0.5), halved)
    assert not torch.allclose(halved, network.generate(given))


def test_latents_that_are_missing_come_from_the_prior(network):
    given = [torch.randn(2, *TINY.latent_shapes[0], generator=seeded())]
    features = network.generate(given)
    streams = network.decoder.start(2)
    for layer, block in enumerate(network.decoder.blocks):
        mean, _, x = block.split_prior(block.enter(streams))
        streams[block.size] = block.leave(x, given[0] if layer == 0 else mean)
    torch.testing.assert_close(features, network.decoder.finish(streams))


def test_other_widths_at_some_sizes(pictures):
    config = TINY.model_copy(update={"custom_width_str": "8:12,4:8", "no_bias_above": 4})
    assert config.widths == {1: 8, 4: 8, 8: 12}
    wide = build(config.model_copy(update={"dec_blocks": "1x1,4m1,4x1,8x1"}))
    assert [bias.shape[-1] for bias in wide.decoder.bias_xs] == [1, 4]
    assert wide.infer(pictures)[1].shape == (4, 12, 8, 8)


def test_strings_of_blocks():
    assert parse_blocks("8x2,8d2,4,4d4") == [(8, None), (8, None), (8, 2), (4, None), (4, 4)]
    assert parse_blocks("1x2,4m1,4") == [(1, None), (1, None), (4, 1), (4, None)]


def test_unknown_entries_are_refused():
    with pytest.raises(ValidationError, match="widht"):
        VDVAEConfig(**TINY.model_dump(), widht=3)


def test_fresh_networks_do_not_know_the_picture_in_their_priors():
    torch.manual_seed(0)
    network = TINY.build()
    means = network.decoder.blocks[0].split_prior(network.decoder.start(2)[1])[:2]
    assert all(not values.any() for values in means)


# Latents as flat numbers


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 5])
def test_unflatten_is_the_inverse_of_flatten(n_layers):
    layers = noise_of_layers(n=3)[:n_layers]
    flat = flatten_latents(layers)
    assert flat.shape == (3, N_LATENTS[n_layers - 1])
    restored = unflatten_latents(TINY, flat)
    assert len(restored) == n_layers
    assert all(torch.equal(one, other) for one, other in zip(restored, layers, strict=True))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 340))
def test_only_whole_layers_are_latents(n_latents):
    flat = torch.arange(n_latents, dtype=torch.float32)[None]
    if n_latents in N_LATENTS:
        assert torch.equal(flatten_latents(unflatten_latents(TINY, flat)), flat)
        return
    complaint = (
        f"{n_latents} latents end inside layer" if n_latents < N_LATENTS[-1] else "are more than the network's 5"
    )
    with pytest.raises(ValueError, match=complaint):
        unflatten_latents(TINY, flat)


def test_the_layer_that_is_cut_is_named():
    with pytest.raises(ValueError, match="40 latents end inside layer 2, which is numbers 34 to 66"):
        unflatten_latents(TINY, torch.zeros(1, 40))


# Divergence and mixture


def test_divergence_of_gaussians():
    mean_q, log_std_q, mean_p, log_std_p = torch.randn(4, 50, generator=seeded()).double()
    expected = kl_divergence(Normal(mean_q, log_std_q.exp()), Normal(mean_p, log_std_p.exp()))
    torch.testing.assert_close(gaussian_kl(mean_q, log_std_q, mean_p, log_std_p), expected)
    assert not gaussian_kl(mean_q, log_std_q, mean_q, log_std_q).any()


def mixture(n_mixtures=2, seed=0, log_scale=(-3.0, -1.5)):
    """Parameters (1, 1, 1, 10 · n_mixtures) of one pixel, all channels inside the range."""
    rng = np.random.default_rng(seed)
    per_channel = np.concatenate(
        [
            rng.uniform(-0.6, 0.6, (3, n_mixtures)),
            rng.uniform(*log_scale, (3, n_mixtures)),
            rng.uniform(-0.5, 0.5, (3, n_mixtures)),
        ],
        axis=1,
    )
    values = np.concatenate([rng.normal(size=n_mixtures), per_channel.ravel()])
    return torch.from_numpy(values).view(1, 1, 1, -1)


def probability(levels, parameters):
    """p(x) of 1-pixel pictures, 8-bit levels (n, 3)."""
    pictures = torch.as_tensor(levels).double().view(-1, 3, 1, 1) / 255
    return (-3 * mixture_nll(pictures, parameters.expand(len(pictures), -1, -1, -1))).exp()


def mass(level, mean, scale):
    """Mass of a discretised logistic at an 8-bit level: its first and last level take the tails."""
    x = np.asarray(level) / 127.5 - 1
    above = np.where(np.asarray(level) == 255, 1.0, logistic.cdf(x + 1 / 255, mean, scale))
    return above - np.where(np.asarray(level) == 0, 0.0, logistic.cdf(x - 1 / 255, mean, scale))


def test_likelihood_is_that_of_coupled_discretised_logistics():
    parameters = mixture(n_mixtures=3)
    logits, means, log_scales, coefficients = (values[0, 0, 0].numpy() for values in split_mixture(parameters))
    levels = np.array([[0, 100, 255], [128, 0, 7], [255, 255, 0], [90, 130, 160], [60, 200, 130]])
    red, green, _ = (levels[:, channel, None] / 127.5 - 1 for channel in range(3))
    scales = np.exp(log_scales)
    expected = (
        mass(levels[:, :1], means[0], scales[0])
        * mass(levels[:, 1:2], means[1] + coefficients[0] * red, scales[1])
        * mass(levels[:, 2:], means[2] + coefficients[1] * red + coefficients[2] * green, scales[2])
    ) @ (np.exp(logits) / np.exp(logits).sum())
    np.testing.assert_allclose(probability(levels, parameters), expected, rtol=2e-3)


def test_a_grey_channel_sums_to_one_over_its_levels():
    parameters = mixture(n_mixtures=1)
    shared = parameters.clone().view(-1)
    shared[1:] = torch.tensor([0.3, -2.5, 0.0]).repeat(3)  # three independent channels with one distribution
    levels = np.repeat(np.arange(256)[:, None], 3, axis=1)
    each = probability(levels, shared.view(1, 1, 1, -1)) ** (1 / 3)
    assert each.sum().item() == pytest.approx(1, abs=1e-5)


def test_colours_sum_to_their_red_level():
    """Σ over green and blue of p(red, green, blue) = p(red), which sums to one: all 16,777,216 colours do."""
    parameters = mixture()
    logits, means, log_scales, _ = split_mixture(parameters)
    rest = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2)
    weights = logits.softmax(-1)[0, 0, 0].numpy()
    means, scales = means[0, 0, 0, 0].numpy(), log_scales[0, 0, 0, 0].exp().numpy()
    of_red = mass(np.arange(256)[:, None], means, scales) @ weights
    assert of_red.sum() == pytest.approx(1)
    for red in (0, 77, 255):
        colours = np.column_stack([np.full(len(rest), red), rest])
        assert probability(colours, parameters).sum().item() == pytest.approx(of_red[red], rel=1e-3)


def test_likelihood_is_a_mean_over_dimensions():
    parameters = torch.cat([mixture(seed=seed) for seed in range(4)]).view(1, 2, 2, -1)
    picture = torch.rand(1, 3, 2, 2, generator=seeded()).mul(255).round().div(255).double()
    pixels = picture.permute(0, 2, 3, 1).reshape(4, 3, 1, 1)
    of_pixels = mixture_nll(pixels, parameters.view(4, 1, 1, -1))
    torch.testing.assert_close(mixture_nll(picture, parameters), of_pixels.mean(dim=0, keepdim=True))


def uniforms(n, n_mixtures):
    shapes = (n, 1, 1, n_mixtures), (n, 1, 1, 3)
    return [torch.rand(shape, generator=seeded(seed)).clamp(1e-5, 1 - 1e-5) for seed, shape in enumerate(shapes)]


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_that_of_samples(seed):
    parameters, n = mixture(n_mixtures=3, seed=seed, log_scale=(-9.0, -8.0)), 20_000
    samples = sample_mixture(parameters.expand(n, -1, -1, -1), *uniforms(n, 3))
    of_samples = samples.double().mean(dim=0).flatten() / 255 + 0.5 / 255  # published samples round down
    torch.testing.assert_close(of_samples, mixture_mean(parameters).flatten(), rtol=0, atol=0.006)


def test_a_sharp_component_is_drawn_at_its_coupled_mean():
    parameters = mixture(n_mixtures=1, log_scale=(-30.0, -20.0))
    _, means, log_scales, coefficients = (values.flatten().tolist() for values in split_mixture(parameters))
    assert log_scales == [-7, -7, -7]
    red = means[0]
    green = means[1] + coefficients[0] * red
    blue = means[2] + coefficients[1] * red + coefficients[2] * green
    expected = torch.tensor([red, green, blue]).double().add(1).div(2)
    torch.testing.assert_close(mixture_mean(parameters).flatten(), expected)
    samples = sample_mixture(parameters.expand(200, -1, -1, -1), *uniforms(200, 1))
    assert (samples - 255 * expected).abs().max() <= 2


def test_pictures_stay_in_range():
    parameters = 20 * torch.randn(2, 4, 4, 30, generator=seeded())
    mean = mixture_mean(parameters)
    assert mean.shape == (2, 3, 4, 4)
    assert mean.min() >= 0
    assert mean.max() <= 1
    drawn = sample_mixture(parameters, torch.full((2, 4, 4, 3), 0.5), torch.full((2, 4, 4, 3), 0.99))
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (2, 4, 4, 3)


def test_untrained_networks_give_finite_likelihoods(network, pictures):
    parameters = network.distribution(network.infer(pictures)[1])
    nll = mixture_nll(pictures, parameters)
    assert nll.shape == (4,)
    assert nll.isfinite().all()
    assert math.log(256) / 4 < nll.mean() < 4 * math.log(256)


@pytest.mark.parametrize("n_layers", [0, 99])
def test_layers_that_the_network_does_not_have_are_refused(n_layers):
    network = VDVAEConfig(image_size=4, width=8, zdim=2, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1,4x1").build()
    with pytest.raises(ValueError, match=r"n_layers must be in 1\.\.3"):
        network.infer(torch.zeros(1, 3, 4, 4), n_layers=n_layers)
