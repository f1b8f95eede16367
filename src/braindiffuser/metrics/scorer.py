"""The scorer: computes every metric of a profile, pictures a batch at a time, features once for each set of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Vector
from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource, batch_slices, resize
from braindiffuser.metrics._correlation import FeatureRows
from braindiffuser.metrics._pixels import TOLERANCE, PictureBatch, check_range
from braindiffuser.metrics.metric import FeatureMetric, FeatureNetwork, Metric, PixelMetric
from braindiffuser.metrics.profiles import Profile
from braindiffuser.real_numbers import real_numbers

NetworkFeatures: TypeAlias = dict[str, dict[str, FeatureRows]]
"""Features (n, d) by network, then layer."""


class Scorer:
    """Scores many sets of reconstructions against the same stimuli, whose features are computed once.

    Pictures are taken a batch at a time: a `PictureReader` in place of an array keeps all others out of memory.

    Attributes:
        seen_features: features of the stimuli by network and layer.

    Example:
        >>> pictures = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
        >>> pixels_only = Profile.load("demo").without({"efficientnet_lite0", "clip_demo"})
        >>> Scorer(pictures, pixels_only, networks={}).score(pictures)
        {'pixcorr': array([1., 1.]), 'ssim': array([1., 1.])}
    """

    def __init__(self, seen: PictureSource, profile: Profile, networks: Mapping[str, FeatureNetwork]) -> None:
        """Compute features of the stimuli.

        Args:
            seen: stimuli (n, 3, height, width) in [0, 1], an array or a reader.
            profile: which metrics to compute.
            networks: the feature networks that the profile names.

        Raises:
            ValueError: if a network or layer that the profile names is missing, or arrays of pictures are not numbers in [0, 1].
            RunError: what `extract_features` raises; if a layer does not tell any two stimuli apart.
        """
        if isinstance(seen, np.ndarray):
            check_range(seen)
        self.seen = seen
        self.profile = profile
        self.networks = networks
        self.seen_features = extract_features(seen, profile, networks)
        for name, layers in self.seen_features.items():
            for layer, values in layers.items():
                if len(values) > 1 and all(np.array_equal(row, values[0]) for row in values[1:]):
                    raise RunError(
                        f"network {name} gives the same features {layer} for all {len(values)} stimuli, so it cannot score: "
                        "check its checkpoint, and that the stimuli differ"
                    )

    def score(self, made: PictureSource, made_features: NetworkFeatures | None = None) -> dict[str, Vector]:
        """Score one set of reconstructions.

        For metrics on pixels, reconstructions of another size are resized to that of the stimuli (bicubic, as Pillow
        resizes); networks see them as they come.

        Args:
            made: reconstructions (n, 3, height, width) in [0, 1], in the order of the stimuli, an array or a reader.
            made_features: what `extract_features` gives for them, if it is known already.

        Returns:
            Score of each picture, float64 (n,), by the metric's key.

        Raises:
            ValueError: if the number of pictures is not that of the stimuli, or they are not numbers in [0, 1].
            RunError: if a metric does not give one finite score within its bounds for each picture; what `extract_features`
                raises.
        """
        if isinstance(made, np.ndarray):
            check_range(made)
        if len(made) != len(self.seen):
            raise ValueError(f"got {len(made)} reconstructions of {len(self.seen)} stimuli; expected the same number")
        features = extract_features(made, self.profile, self.networks) if made_features is None else made_features
        metrics = self.profile.metrics
        scores = {key: np.empty(len(made)) for key in metrics}
        on_pixels = {key: metric for key, metric in metrics.items() if isinstance(metric, PixelMetric)}
        for rows in batch_slices(len(made)) if on_pixels else ():
            seen = self.seen[rows]
            resized = _fit_to(made[rows], seen)
            for key, pixel_metric in on_pixels.items():
                scores[key][rows] = _checked(key, pixel_metric, pixel_metric.compare(seen, resized), len(seen))
        for key, metric in metrics.items():
            if isinstance(metric, FeatureMetric):
                layers = (by_network[metric.network][metric.layer] for by_network in (self.seen_features, features))
                scores[key] = _checked(key, metric, metric.compare(*layers), len(made))
        return scores


def extract_features(
    pictures: PictureSource, profile: Profile, networks: Mapping[str, FeatureNetwork]
) -> NetworkFeatures:
    """Compute the layers that a profile needs, a batch of pictures at a time.

    Raises:
        ValueError: if a network or layer is missing.
        RunError: if features are not finite real numbers, one row for each picture, of one length and type for all pictures.
    """
    features: NetworkFeatures = {name: {} for name in profile.layers}
    for rows in batch_slices(len(pictures)) if features else ():  # without a network nothing is read
        for name, layers in _features_of(pictures[rows], profile, networks).items():
            for layer, made in layers.items():
                found = features[name].get(layer)
                width, dtype = (None, None) if found is None else (found.shape[1], found.dtype)
                said, n = f"network {name} gave features {layer}", rows.stop - rows.start
                values = real_numbers(made, f"{said} as", (n, width), dtype)
                _check_finite(said, values, rows.start)
                if found is None:
                    features[name][layer] = np.empty((len(pictures), values.shape[1]), values.dtype)
                features[name][layer][rows] = values
    return features


def take(features: NetworkFeatures, order: Int[np.ndarray, " m"]) -> NetworkFeatures:
    """Return the features of the pictures at some positions, which may repeat."""
    return {name: {layer: values[order] for layer, values in layers.items()} for name, layers in features.items()}


def _features_of(batch: PictureBatch, profile: Profile, networks: Mapping[str, FeatureNetwork]) -> NetworkFeatures:
    missing = sorted(set(profile.layers) - set(networks))
    if missing:
        raise ValueError(f"profile {profile.name} needs the networks {missing}, got {sorted(networks)}")
    features: NetworkFeatures = {}
    for name, layers in profile.layers.items():
        outputs = networks[name](batch)
        absent = [layer for layer in layers if layer not in outputs]
        if absent:
            raise ValueError(f"network {name} has no layer {absent}, it has {sorted(outputs)}")
        features[name] = {layer: outputs[layer] for layer in layers}
    return features


def _check_finite(said: str, values: FeatureRows, start: int) -> None:
    whole = np.isfinite(values).all(axis=1)
    if not whole.all():
        raise RunError(
            f"{said} that are not finite, first of picture {start + int(np.argmin(whole))}: check its checkpoint and precision"
        )


def _checked(key: str, metric: Metric, found: object, n: int) -> Vector:
    """Return what a metric gave, in float64, if it is one finite score within its bounds for each of n pictures."""
    scores = np.asarray(found)
    if scores.dtype.kind not in "fiub" or scores.shape != (n,) or not np.isfinite(scores).all():
        raise RunError(f"metric {key} must give one finite score for each of {n} pictures, but gave {found!r:.100}")
    low, high = metric.bounds
    if n and not (scores.min() >= low - TOLERANCE * (high - low) and scores.max() <= high + TOLERANCE * (high - low)):
        raise RunError(
            f"metric {key} gave scores from {scores.min():.4g} to {scores.max():.4g}, but its bounds are {low:g} and {high:g}: "
            "correct one or the other"
        )
    return scores.astype(np.float64)


def _fit_to(made: PictureBatch, seen: PictureBatch) -> PictureBatch:
    if made.shape[-2:] == seen.shape[-2:]:
        return made
    height, width = seen.shape[-2:]
    if height != width:
        raise ValueError(
            f"reconstructions of {made.shape[-2:]} pixels cannot be resized to stimuli of {(height, width)}: not square"
        )
    return resize(made, height)
