"""Baselines: pictures and responses of a stated, small knowledge. What a reconstruction must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from braindiffuser.arrays import Pictures
from braindiffuser.images import PictureSource, batch_slices

Positions = Int[np.ndarray, " n"]
"""Positions among pictures, from 0."""


def mean_image(train_pictures: PictureSource) -> Pictures:
    """Return the mean of the training pictures (1, 3, height, width): the baseline that knows the data set and nothing else.

    Raises:
        ValueError: if there are no training pictures.
    """
    _check_training(len(train_pictures))
    n = len(train_pictures)
    total = sum(train_pictures[rows].sum(axis=0, keepdims=True, dtype=np.float64) for rows in batch_slices(n))
    return (np.asarray(total) / n).astype(np.float32)


def draw_training(n_train: int, n: int, rng: np.random.Generator) -> Positions:
    """Draw n of the training pictures at random, all different if there are enough: natural pictures of other scenes.

    Returns:
        Their positions (n,), from 0.

    Raises:
        ValueError: if there are no training pictures.
    """
    _check_training(n_train)
    return rng.choice(n_train, size=n, replace=n > n_train)


def derangement(n: int, rng: np.random.Generator) -> Positions:
    """Draw a permutation without fixed points: a rotation of a random circle.

    Returns:
        (n,): the index that moves to each position.

    Raises:
        ValueError: if n is less than 2.

    >>> derangement(2, np.random.default_rng(0))
    array([1, 0])
    """
    if n < 2:
        raise ValueError(f"shuffling needs at least two pictures, got {n}")
    shift = int(rng.integers(1, n))
    circle = rng.permutation(n)
    order = np.empty(n, np.int64)
    order[circle] = np.roll(circle, shift)
    return order


def draw_of_same_category(
    of_training: Shaped[np.ndarray, " n_train"], of_test: Shaped[np.ndarray, " n"], rng: np.random.Generator
) -> Positions:
    """Draw for each test picture a random training picture of its own category: a decoder that knows the category alone.

    The category is the true one, so this is a line to compare with, not something that was decoded.

    Args:
        of_training: category of each training picture (n_train,).
        of_test: category of each test picture (n,).
        rng: source of the draws.

    Returns:
        Positions (n,) among the training pictures; of a picture whose category has no training picture, any.

    Raises:
        ValueError: if there are no training pictures.

    >>> draw_of_same_category(np.array(["dog", "cat", "car"]), np.array(["car", "dog"]), np.random.default_rng(0))
    array([2, 0])
    """
    _check_training(len(of_training))
    every = np.arange(len(of_training))
    members = {category: np.flatnonzero(of_training == category) for category in np.unique(of_test)}
    chosen = [members[category] if len(members[category]) else every for category in of_test]
    return np.array([rng.choice(own) for own in chosen], np.int64)


def random_responses(
    train: Float[np.ndarray, "n_train n_voxels"], rngs: Sequence[np.random.Generator]
) -> Float[np.ndarray, "n n_voxels"]:
    """Draw responses of the training mean and covariance, which know no stimulus (BrainBits: Mayo et al. 2024).

        x = x̄ + 1/√(n_train − 1) · Σ_i z_i (x_i − x̄),  z_i standard normal

    These are normal with mean x̄ and the sample covariance of the training responses, without forming it.

    Args:
        train: training responses.
        rngs: one source of z for each response that is drawn.

    Raises:
        ValueError: if there are fewer than two training responses.
    """
    n_train = len(train)
    if n_train < 2:
        raise ValueError(f"a covariance needs two or more training responses, got {n_train}")
    mean = train.mean(axis=0, dtype=np.float64)
    mixing = np.stack([rng.standard_normal(n_train) for rng in rngs]) / np.sqrt(n_train - 1)
    drawn: Float[np.ndarray, "n n_voxels"] = (mean + mixing @ (train - mean)).astype(train.dtype)
    return drawn


def _check_training(n_train: int) -> None:
    if n_train == 0:
        raise ValueError("this baseline needs training pictures, got none")
