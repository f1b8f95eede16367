"""Laws of extracted latents: each picture's depend on that picture, its id and the seed alone."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from braindiffuser import images
from braindiffuser.networks.vdvae import VDVAEConfig, unflatten_latents
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
LatentConfig = partial(VDVAELatents, checkpoint="any")
SAMPLE, MEAN = LatentConfig(n_layers=3), LatentConfig(n_layers=3, posterior="mean")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    vdvae = TINY.build().eval().requires_grad_(False)
    for parameter in vdvae.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return vdvae


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((5, 3, 8, 8), dtype=np.float32)


@pytest.mark.parametrize("config", [SAMPLE, MEAN], ids=["sample", "mean"])
def test_order_and_batches_change_nothing(network, pictures, config):
    latents = extract_latents(network, pictures, IDS, config)
    assert latents.shape == (5, 66)
    assert latents.dtype == np.float32
    order = np.array([4, 2, 0, 1, 3])
    np.testing.assert_allclose(extract_latents(network, pictures[order], IDS[order], config), latents[order], **CLOSE)
    parts = [extract_latents(network, pictures[rows], IDS[rows], config) for rows in (slice(0, 2), slice(2, 5))]
    np.testing.assert_allclose(np.concatenate(parts), latents, **CLOSE)


@pytest.mark.parametrize("posterior", ["sample", "mean"])
def test_fewer_layers_are_the_first_of_more(network, pictures, posterior):
    every = extract_latents(network, pictures, IDS, LatentConfig(n_layers=5, posterior=posterior))
    assert every.shape == (5, 322)
    fewer = extract_latents(network, pictures, IDS, LatentConfig(n_layers=2, posterior=posterior))
    np.testing.assert_array_equal(fewer, every[:, :34])


def test_samples_follow_the_id_and_the_seed(network, pictures):
    same = np.repeat(pictures[:1], 5, axis=0)
    latents = extract_latents(network, same, IDS, SAMPLE)
    np.testing.assert_allclose(latents[1], latents[4], **CLOSE)  # both have id 3
    assert len(np.unique(latents.round(3), axis=0)) == 4
    assert not np.allclose(extract_latents(network, same, IDS, SAMPLE, seed=1), latents, **CLOSE)


def test_means_depend_on_the_picture_alone(network, pictures):
    latents = extract_latents(network, pictures, IDS, MEAN)
    np.testing.assert_array_equal(extract_latents(network, pictures, IDS + 1, MEAN, seed=9), latents)
    layers, _ = network.infer(torch.from_numpy(pictures))
    for layer, expected in zip(unflatten_latents(TINY, torch.from_numpy(latents)), layers, strict=False):
        torch.testing.assert_close(layer, expected.z, **CLOSE)


def test_samples_scatter_around_the_mean(network, pictures):
    ids = np.arange(2000)
    config = {"n_layers": 1}
    samples = extract_latents(network, np.repeat(pictures[:1], 2000, axis=0), ids, LatentConfig(**config))
    mean = extract_latents(network, pictures[:1], ids[:1], LatentConfig(**config, posterior="mean"))
    error = (samples.mean(axis=0) - mean[0]) / (samples.std(axis=0) / np.sqrt(2000))
    assert np.abs(error).max() < 4


def test_noise_is_standard_normal_and_each_picture_has_its_own():
    layers = posterior_noise(TINY, np.arange(400), 5, seed=0)
    assert [tuple(layer.shape) for layer in layers] == [(400, *shape) for shape in TINY.latent_shapes]
    noise = torch.cat([layer.flatten(1) for layer in layers], dim=1)
    assert abs(noise.mean()) < 0.02
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    correlations = torch.corrcoef(noise)[~torch.eye(400, dtype=torch.bool)]
    assert correlations.abs().max() < 6 / np.sqrt(noise.shape[1])


@pytest.mark.parametrize("size", [5, 32])
def test_pictures_are_resized_as_pillow_does(network, size):
    raw = np.random.default_rng(2).integers(0, 256, (3, size, size, 3), np.uint8)
    by_pillow = images.resize(images.from_uint8(raw), 8, Image.Resampling.BILINEAR)
    ours = extract_latents(network, images.from_uint8(raw), np.arange(3), MEAN)
    theirs = extract_latents(network, by_pillow, np.arange(3), MEAN)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.05 * theirs.std())


def test_the_default_is_the_published_choice():
    assert LatentConfig() == LatentConfig(n_layers=31, posterior="sample")


@pytest.mark.parametrize("entries", [{"n_layers": 0}, {"posterior": "mode"}, {"layers": 3}])
def test_unknown_or_impossible_entries_are_refused(entries):
    with pytest.raises(ValidationError, match=next(iter(entries))):
        LatentConfig(**entries)


def test_as_published_pictures_are_resized_by_pillow_in_8_bits(network):
    pictures = images.from_uint8(np.random.default_rng(2).integers(0, 256, (5, 21, 21, 3), dtype=np.uint8))
    by_hand = np.stack(
        [
            np.asarray(Image.fromarray(raw).resize((8, 8), Image.Resampling.BILINEAR))
            for raw in images.to_uint8(pictures)
        ]
    )
    published = LatentConfig(n_layers=3, resizing="as-published")
    expected = extract_latents(network, images.from_uint8(by_hand), IDS, SAMPLE)
    np.testing.assert_array_equal(extract_latents(network, pictures, IDS, published), expected)
    assert not np.array_equal(extract_latents(network, pictures, IDS, SAMPLE), expected)
