"""Coding in portions bounds memory and changes nothing else."""

import numpy as np
import pytest
import torch

from braindiffuser.generators import autoencoder as coding
from braindiffuser.generators.autoencoder import pictures_per_call, to_latents, to_pictures
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import load_autoencoder


class Bare:
    """An autoencoder that is no network and does not say its size; it notes how many pictures come at a time."""

    config = None

    def __init__(self):
        self.portions = []

    def encode(self, x):
        self.portions.append(len(x))
        return type("Posterior", (), {"latent_dist": type("Normal", (), {"mean": x / 2, "std": 0 * x})})

    def decode(self, z):
        self.portions.append(len(z))
        return type("Decoded", (), {"sample": 2 * z})


@pytest.mark.parametrize(("size", "n"), [(512, 1), (700, 1), (256, 4), (64, 64), (None, 1)])
def test_one_published_picture_is_coded_at_a_time_and_more_smaller_ones(size, n):
    coder = Bare()
    coder.config = None if size is None else type("Config", (), {"sample_size": size})
    assert pictures_per_call(coder) == n
    mean, _ = to_latents(coder, torch.rand(5, 3, 4, 4))
    to_pictures(coder, mean, np.arange(5))
    assert coder.portions == 2 * [min(n, 5 - start) for start in range(0, 5, n)]


def test_decoding_undoes_encoding():
    pictures = torch.rand(3, 3, 4, 4)
    mean, std = to_latents(Bare(), pictures)
    torch.testing.assert_close(torch.from_numpy(to_pictures(Bare(), mean, np.arange(3))), pictures)
    assert not std.any()


@torch.no_grad()
def test_pictures_are_the_same_coded_alone(monkeypatch):
    autoencoder = load_autoencoder(BUNDLED / "demo" / "autoencoder")
    pictures = torch.rand(3, 3, 64, 64)
    together = to_latents(autoencoder, pictures), to_pictures(autoencoder, torch.ones(3, 4, 16, 16), np.arange(3))
    monkeypatch.setattr(coding, "CODED_AT_A_TIME", 1)
    alone = to_latents(autoencoder, pictures), to_pictures(autoencoder, torch.ones(3, 4, 16, 16), np.arange(3))
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-4)
