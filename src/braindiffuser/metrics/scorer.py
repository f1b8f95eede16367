"""The scorer: computes every metric of a profile, pictures a batch at a time, features once for each set of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Matrix, Pictures, Vector
from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource, batch_slices
from braindiffuser.metrics._correlation import FeatureRows
from braindiffuser.metrics._pixels import TOLERANCE, PictureBatch, as_compared, check_range
from braindiffuser.metrics.all_pairs import has_short_way, scores_of_all_pairs
from braindiffuser.metrics.metric import Compared, FeatureMetric, FeatureNetwork, Metric, PixelMetric
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scored_pictures import ScoredPictures
from braindiffuser.real_numbers import real_numbers

NetworkFeatures: TypeAlias = dict[str, dict[str, FeatureRows]]
"""Features (n, d) by network, then layer."""

MOST_PIXELS = 2**26
"""Values of pictures that are held at once to compare all pairs: 256 MB, twice."""


class Scorer:
    """Scores many sets of reconstructions against the same stimuli, whose features are computed once.

    Pictures are taken a batch at a time: a `PictureReader` in place of an array keeps all others out of memory.

    Attributes:
        seen_features: features of the stimuli by network and layer.

    Example:
        >>> pictures = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
        >>> pixels_only = Profile.load("demo").without({"efficientnet_lite0", "clip_demo"})
        >>> dict(Scorer(pictures, pixels_only, networks={}).score(pictures))
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

    def score(self, made: PictureSource, made_features: NetworkFeatures | None = None) -> ScoredPictures:
        """Score one set of reconstructions.

        For metrics on pixels, reconstructions of another size are resized to that of the stimuli (bicubic, as Pillow
        resizes), unless the metric names `sizes` of its own for both; networks see them as they come.

        Args:
            made: reconstructions (n, 3, height, width) in [0, 1], in the order of the stimuli, an array or a reader.
            made_features: what `extract_features` gives for them, if it is known already.

        Returns:
            Score of each picture, float64 (n,), by the metric's key, with what intervals of identification need.

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
        scores, left_out, other_way = self._score_pixels(made), dict[str, Vector](), dict[str, Compared]()
        for key, metric in self.profile.metrics.items():
            if isinstance(metric, FeatureMetric):
                layers = (by_network[metric.network][metric.layer] for by_network in (self.seen_features, features))
                compared = metric.compare_among(*layers)
                scores[key] = _checked(key, metric, compared.scores, len(made))
                if compared.left_out is not None:
                    left_out[key] = _checked(key, metric, compared.left_out, len(made))
                if compared.other_way is not None:
                    other_way[key] = compared.other_way
        in_order = {key: scores[key] for key in self.profile.metrics}
        return ScoredPictures(in_order, left_out, other_way)

    def _score_pixels(self, made: PictureSource) -> dict[str, Vector]:
        """Score pictures by the metrics on pixels, a batch at a time."""
        on_pixels = {key: metric for key, metric in self.profile.metrics.items() if isinstance(metric, PixelMetric)}
        scores = {key: np.empty(len(made)) for key in on_pixels}
        for rows in batch_slices(len(made)) if on_pixels else ():
            seen, drawn = self.seen[rows], made[rows]
            for sizes in dict.fromkeys(metric.sizes for metric in on_pixels.values()):
                pair = as_compared(seen, drawn, sizes)
                for key, metric in on_pixels.items():
                    if metric.sizes == sizes:
                        scores[key][rows] = _checked(key, metric, metric.compare(*pair), len(seen))
        return scores

    def score_all_pairs(self, made: PictureSource, made_features: NetworkFeatures) -> dict[str, Matrix]:
        """Score every reconstruction as if it were that of every stimulus, by the metrics that do so in one matrix product.

        Metrics on pixels are left out where all pictures would not fit in memory.

        Args:
            made: as in `score`.
            made_features: what `extract_features` gives for them.

        Returns:
            Scores (n, n) by the metric's key, stimuli in rows.
        """
        pairs: dict[str, Matrix] = {}
        for key, metric in self.profile.metrics.items():
            if not has_short_way(metric):
                continue
            if isinstance(metric, FeatureMetric):
                layers = (
                    by_network[metric.network][metric.layer] for by_network in (self.seen_features, made_features)
                )
                pairs[key] = scores_of_all_pairs(metric, *layers)
            elif isinstance(metric, PixelMetric) and len(self.seen) * self.seen[0:1].size <= MOST_PIXELS:
                pairs[key] = scores_of_all_pairs(metric, *as_compared(_all_of(self.seen), _all_of(made), metric.sizes))
        return pairs

    def limited_to(self, keys: Iterable[str]) -> Scorer:
        """Return a scorer of some of the metrics alone, with the same stimuli and their features."""
        other = copy(self)
        other.profile = self.profile.limited_to(keys)
        return other


def _all_of(pictures: PictureSource) -> Pictures:
    """Read all pictures, a batch at a time."""
    return np.concatenate([pictures[rows] for rows in batch_slices(len(pictures))])


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
