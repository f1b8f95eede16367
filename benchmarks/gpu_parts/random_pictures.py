"""Pictures that networks of random weights draw."""

from __future__ import annotations

import numpy as np

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.generators.diffusion import DiffusionNetworks, Embeddings, reconstruct
from braindiffuser.generators.settings import DiffusionConfig
from gpu_parts.setting import Setting, random_embeddings

MANY = 16
"""Pictures that there are."""


def draw(networks: DiffusionNetworks, setting: Setting, rows: slice, n_steps: int) -> Pictures:
    """Draw some of MANY random pictures, as one batch."""
    sizes = setting.sizes
    side = int(sizes.autoencoder["sample_size"])
    low_level = np.random.default_rng(0).random((MANY, 3, 8, 8), dtype=np.float32)[rows]
    embeddings, null = random_embeddings(sizes, MANY, 0), random_embeddings(sizes, 1, 1)
    return reconstruct(
        networks,
        images.resize(low_level, side),
        Embeddings(embeddings.vision[rows], embeddings.text[rows]),
        null,
        np.arange(MANY)[rows],
        DiffusionConfig(n_steps=n_steps),
    )
