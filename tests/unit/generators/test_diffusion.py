"""Laws of the second stage: what a picture depends on, and what it must not."""

import copy

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from pydantic import ValidationError

from braindiffuser.errors import RunError
from braindiffuser.generators import autoencoder as coding
from braindiffuser.generators.diffusion import (
    DiffusionNetworks,
    Embeddings,
    guided_denoiser,
    picture_noise,
    reconstruct,
)
from braindiffuser.generators.settings import DiffusionConfig
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig

FAST = {"n_steps": 8, "guidance_scale": 2.0}
IDS = np.array([7, 3, 12, 0])


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    unet = DualGuidedUNet(
        VersatileConfig(
            sample_size=8,
            block_out_channels=(16, 32),
            attention_levels=(False, True),
            layers_per_block=1,
            attention_heads=2,
            vision_dim=12,
            text_dim=20,
            norm_num_groups=8,
        )
    )
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 16),
        norm_num_groups=8,
        sample_size=16,
    )
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return DiffusionNetworks(unet.eval(), autoencoder.eval())


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((4, 3, 16, 16), dtype=np.float32)


@pytest.fixture
def embeddings():
    return Embeddings(draw(4, 5, 12), draw(4, 7, 20, seed=1))


@pytest.fixture
def null():
    return Embeddings(draw(1, 5, 12, seed=2), draw(1, 7, 20, seed=3))


@pytest.mark.parametrize("with_low_level", [True, False])
@pytest.mark.parametrize("sampler", ["ddim", "unipc"])
def test_order_and_batches_change_nothing(networks, pictures, embeddings, null, with_low_level, sampler):
    config = DiffusionConfig(**FAST, sampler=sampler)
    low_level = pictures if with_low_level else None
    expected = reconstruct(networks, low_level, embeddings, null, IDS, config)
    order = np.array([2, 0, 3, 1])
    permuted = reconstruct(
        networks,
        None if low_level is None else low_level[order],
        Embeddings(embeddings.vision[order], embeddings.text[order]),
        null,
        IDS[order],
        config,
    )
    assert expected.shape == (4, 3, 16, 16)
    assert expected.dtype == np.float32
    assert expected.min() >= 0
    assert expected.max() <= 1
    np.testing.assert_allclose(permuted, expected[order], rtol=0, atol=1e-5)
    few = Embeddings(embeddings.vision[2:], embeddings.text[2:])
    alone = reconstruct(networks, None if low_level is None else low_level[2:], few, null, IDS[2:], config)
    np.testing.assert_allclose(alone, expected[2:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_low_level", [True, False])
def test_pictures_are_the_same_coded_alone(networks, pictures, embeddings, null, with_low_level, monkeypatch):
    low_level = pictures if with_low_level else None
    together = reconstruct(networks, low_level, embeddings, null, IDS, DiffusionConfig(**FAST))
    monkeypatch.setattr(coding, "CODED_AT_A_TIME", 1)
    alone = reconstruct(networks, low_level, embeddings, null, IDS, DiffusionConfig(**FAST))
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5)


def test_half_precision_is_close_and_the_sampler_stays_in_full(networks, pictures, embeddings, null):
    config = DiffusionConfig(**FAST)
    full = reconstruct(networks, pictures, embeddings, null, IDS, config)
    halves = DiffusionNetworks(*(copy.deepcopy(network).half() for network in networks[:2]))
    half = reconstruct(halves, pictures, embeddings, null, IDS, config)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.02


@pytest.mark.parametrize("posterior", ["sample", "mean"])
def test_seed_and_id_fix_the_picture(networks, pictures, embeddings, null, posterior):
    def one(seed, picture_id):
        config = DiffusionConfig(**FAST, posterior=posterior)
        first = Embeddings(embeddings.vision[:1], embeddings.text[:1])
        return reconstruct(networks, pictures[:1], first, null, np.array([picture_id]), config, seed)

    np.testing.assert_array_equal(one(0, 5), one(0, 5))
    assert np.abs(one(0, 5) - one(1, 5)).max() > 1e-4
    assert np.abs(one(0, 5) - one(0, 6)).max() > 1e-4


def test_noise_is_standard_normal_and_each_picture_has_its_own():
    diffusion, posterior = picture_noise((4, 16, 16), 0, np.arange(50), "cpu")
    both = torch.stack([diffusion, posterior])
    assert abs(both.mean().item()) < 0.02
    assert both.std().item() == pytest.approx(1, abs=0.02)
    flat = both.flatten(0, 1).flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(100)).abs().max() < 0.2
    assert torch.equal(picture_noise((4, 16, 16), 0, np.array([9]), "cpu")[0][0], diffusion[9])


@torch.no_grad()
def test_strength_zero_is_the_autoencoder_alone(networks, pictures, embeddings, null):
    config = DiffusionConfig(**FAST, strength=0, posterior="mean")
    made = reconstruct(networks, pictures, embeddings, null, IDS, config)
    latents = networks.autoencoder.encode(2 * torch.from_numpy(pictures) - 1).latent_dist.mode()
    expected = (networks.autoencoder.decode(latents).sample + 1) / 2
    np.testing.assert_allclose(made, expected.clamp(0, 1).numpy(), rtol=0, atol=1e-5)


def test_guidance_one_does_not_hear_nothing(networks, pictures, embeddings, null):
    config = DiffusionConfig(**(FAST | {"guidance_scale": 1}))
    other = Embeddings(null.vision + 1, null.text + 1)
    made = reconstruct(networks, pictures, embeddings, null, IDS, config)
    np.testing.assert_array_equal(made, reconstruct(networks, pictures, embeddings, other, IDS, config))


@torch.no_grad()
@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 7.5])
def test_guidance_leads_from_nothing_to_the_condition(networks, embeddings, null, guidance_scale):
    x, t = torch.from_numpy(draw(4, 4, 8, 8, seed=4)), 301
    tokens = torch.from_numpy(embeddings.vision), torch.from_numpy(embeddings.text)
    null_tokens = torch.from_numpy(null.vision), torch.from_numpy(null.text)
    timesteps = torch.full((4,), t)
    c = networks.unet(x, timesteps, *tokens, 0.6)
    u = networks.unet(x, timesteps, *(token.expand(4, -1, -1) for token in null_tokens), 0.6)
    eps = guided_denoiser(networks.unet, tokens, null_tokens, guidance_scale, 0.6)(x, t)
    torch.testing.assert_close(eps, u + guidance_scale * (c - u), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("vision_weight", "deaf_to"), [(1, "text"), (0, "vision")])
def test_a_guide_of_no_weight_changes_nothing(networks, pictures, embeddings, null, vision_weight, deaf_to):
    config = DiffusionConfig(**FAST, vision_weight=vision_weight)
    other = embeddings._replace(**{deaf_to: getattr(embeddings, deaf_to) + 1})
    made = reconstruct(networks, pictures, embeddings, null, IDS, config)
    np.testing.assert_array_equal(made, reconstruct(networks, pictures, other, null, IDS, config))


def test_without_the_low_level_all_steps_run(networks, pictures, embeddings, null):
    told = []

    def callback(i, n_steps, x):
        told.append((i, n_steps))

    config = DiffusionConfig(**FAST)
    reconstruct(networks, None, embeddings, null, IDS, config, callback=callback)
    assert told == [(i, 8) for i in range(1, 9)]
    told.clear()
    reconstruct(networks, pictures, embeddings, null, IDS, config, callback=callback)
    assert told == [(i, 6) for i in range(1, 7)]


def test_scaling_factor_may_be_given(networks, pictures, embeddings, null):
    own = reconstruct(networks, pictures, embeddings, null, IDS, DiffusionConfig(**FAST))
    same = reconstruct(networks, pictures, embeddings, null, IDS, DiffusionConfig(**FAST, scaling_factor=0.18215))
    other = reconstruct(networks, pictures, embeddings, null, IDS, DiffusionConfig(**FAST, scaling_factor=1))
    np.testing.assert_array_equal(own, same)
    assert np.abs(own - other).max() > 1e-4


class Halving:
    """An autoencoder that is no network: latents are every other pixel, with a fourth channel of zeros."""

    config = None

    def encode(self, x):
        mean = torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))
        return type("Posterior", (), {"latent_dist": type("Normal", (), {"mean": mean, "std": 0 * mean})})

    def decode(self, z):
        return type("Decoded", (), {"sample": z[:, :3].repeat_interleave(2, 2).repeat_interleave(2, 3)})


def test_any_autoencoder_will_do(networks, pictures, embeddings, null):
    config = DiffusionConfig(**FAST, strength=0, scaling_factor=0.5)
    made = reconstruct(DiffusionNetworks(networks.unet, Halving()), pictures, embeddings, null, IDS, config)
    np.testing.assert_allclose(made[:, :, ::2, ::2], pictures[:, :, ::2, ::2], rtol=0, atol=1e-6)


def test_faulty_inputs_are_named(networks, pictures, embeddings, null):
    config = DiffusionConfig(**FAST)
    with pytest.raises(ValueError, match=r"one of each per picture.*'text': 3"):
        reconstruct(networks, pictures, embeddings._replace(text=embeddings.text[:3]), null, IDS, config)
    with pytest.raises(ValueError, match="null_embeddings are one per condition; got 4 for vision"):
        reconstruct(networks, pictures, embeddings, embeddings, IDS, config)
    with pytest.raises(ValueError, match="must not be negative; got -1"):
        reconstruct(networks, pictures, embeddings, null, IDS - 1, config)
    none = Embeddings(embeddings.vision[:0], embeddings.text[:0])
    with pytest.raises(ValueError, match="at least one picture"):
        reconstruct(networks, None, none, null, IDS[:0], config)


@pytest.mark.parametrize(
    "faulty",
    [
        {"strength": 1.1},
        {"n_steps": 1000},
        {"vision_weight": -1},
        {"sampler": "euler"},
        {"steps": 50},
        {"precision": "bf16"},
    ],
)
def test_an_impossible_config_is_refused(faulty):
    with pytest.raises(ValidationError):
        DiffusionConfig(**faulty)


def test_defaults_are_the_published_numbers():
    config = DiffusionConfig()
    assert (config.n_steps, config.strength, config.guidance_scale, config.vision_weight) == (50, 0.75, 7.5, 0.6)
    assert (config.sampler, config.noise_level, config.posterior) == ("ddim", "as-published", "sample")
    assert (config.precision, config.offload) == ("full", False)  # published: half, which the preset says


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("at", ["encoder", "UNet", "decoder"])
def test_a_network_that_yields_values_that_are_not_finite_is_named_with_the_picture(networks, pictures, at, value):
    """1e30 overflows in float16 alone; infinities would be clipped to white."""
    networks = copy.deepcopy(networks)
    layer = {
        "encoder": networks.autoencoder.encoder.conv_out,
        "UNet": networks.unet.unet.conv_out,
        "decoder": networks.autoencoder.decoder.conv_out,
    }[at]

    def spoil(module, given, made):
        made = made.clone()
        made[-2] = value
        return made.half().float()

    layer.register_forward_hook(spoil)
    null = Embeddings(draw(1, 3, 12, seed=8), draw(1, 4, 20, seed=9))
    embeddings = Embeddings(draw(4, 3, 12), draw(4, 4, 20, seed=1))
    named = "dual-guided UNet" if at == "UNet" else "autoencoder"
    with pytest.raises(
        RunError, match=rf"the {named} yields values that are not finite, .* with id {IDS[-2]}: .*precision"
    ):
        reconstruct(networks, pictures, embeddings, null, IDS, DiffusionConfig(**FAST))
