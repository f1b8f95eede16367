"""Baselines: pictures that know nothing of the stimulus. What a reconstruction must beat."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

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


def _check_training(n_train: int) -> None:
    if n_train == 0:
        raise ValueError("this baseline needs training pictures, got none")
