"""Every metric as declared facts, and the scorer that computes a profile of them.

A profile is data: to score as another paper does, declare another tuple of metrics and hand in its networks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int

from braindiffuser._arrays import Vector
from braindiffuser.evaluation.identification import Direction, Features, correlation_distance, two_way_identification
from braindiffuser.evaluation.networks import FeatureNetwork
from braindiffuser.evaluation.pixels import PictureBatch, pixcorr, ssim_2d, ssim_bd2023_column_mean
from braindiffuser.images import PictureSource, batches, resize

PixelComparison = Literal["pixcorr", "ssim_2d", "ssim_bd2023_column_mean"]
FeatureComparison = Literal["two_way_identification", "correlation_distance"]
NetworkFeatures: TypeAlias = dict[str, dict[str, Features]]
"""Features (n, d) by network, then layer."""

_PIXEL_COMPARISONS: Mapping[str, Callable[[PictureBatch, PictureBatch], Vector]] = MappingProxyType(
    {"pixcorr": pixcorr, "ssim_2d": ssim_2d, "ssim_bd2023_column_mean": ssim_bd2023_column_mean}
)


@dataclass(frozen=True)
class Metric:
    """What one number is.

    Attributes:
        key: name in code and files.
        label: name in print.
        comparison: the function that compares a stimulus with its reconstruction.
        description: what is computed, preprocessing included, in a sentence.
        citation: where the metric comes from.
        bounds: smallest and largest possible score.
        higher_is_better: whether a better reconstruction scores higher.
        chance: expected score of reconstructions that have nothing to do with the stimuli; None where it depends on the
            pictures (baselines tell).
        network: name of the feature network; None if pixels are compared.
        layer: its layer.
        direction: of two-way identification.
    """

    key: str
    label: str
    comparison: PixelComparison | FeatureComparison
    description: str
    citation: str
    bounds: tuple[float, float]
    higher_is_better: bool = True
    chance: float | None = None
    network: str | None = None
    layer: str | None = None
    direction: Direction | None = None

    def __post_init__(self) -> None:
        """Refuse facts that contradict one another."""
        on_pixels = self.comparison in _PIXEL_COMPARISONS
        if on_pixels == (self.network is not None) or (self.network is None) != (self.layer is None):
            raise ValueError(
                f"metric {self.key}: {self.comparison} needs {'no' if on_pixels else 'a'} network and layer"
            )
        if (self.direction is not None) != (self.comparison == "two_way_identification"):
            raise ValueError(f"metric {self.key}: a direction belongs to two_way_identification, and to it alone")


@dataclass(frozen=True)
class Profile:
    """A named tuple of metrics that are reported together."""

    name: str
    metrics: tuple[Metric, ...]

    def __post_init__(self) -> None:
        """Refuse two metrics of one key."""
        keys = [metric.key for metric in self.metrics]
        if len(set(keys)) != len(keys):
            raise ValueError(f"profile {self.name}: every metric needs its own key, got {keys}")

    def without(self, networks: Collection[str]) -> Profile:
        """Return the profile without the metrics that need one of these networks."""
        return Profile(self.name, tuple(metric for metric in self.metrics if metric.network not in networks))

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Layers that the metrics need, by network."""
        needed: dict[str, tuple[str, ...]] = {}
        for metric in self.metrics:
            if metric.network is not None and metric.layer is not None:
                layers = needed.get(metric.network, ())
                needed[metric.network] = layers if metric.layer in layers else (*layers, metric.layer)
        return needed


def _demo_efficientnet(layer: str, label: str, what: str, stands_for: str) -> Metric:
    return Metric(
        key=f"efficientnet_lite0_{layer}",
        label=label,
        comparison="two_way_identification",
        description=(
            f"Two-way identification, per reconstruction, by the correlation of {what} of EfficientNet-Lite0"
            " (ImageNet-1k; pictures resized to 224 pixels, bicubic)."
            f" Stand-in for {stands_for}; not comparable with published figures."
        ),
        citation="EfficientNet: Tan & Le 2019, arXiv:1905.11946; protocol: Ozcelik & VanRullen 2023",
        bounds=(0.0, 1.0),
        chance=0.5,
        network="efficientnet_lite0",
        layer=layer,
        direction="per_reconstruction",
    )


DEMO = Profile(
    "demo",
    (
        Metric(
            key="pixcorr",
            label="PixCorr",
            comparison="pixcorr",
            description="Pearson correlation over all RGB values, at the size of the stimuli.",
            citation="Ozcelik & VanRullen 2023, doi 10.1038/s41598-023-42891-8",
            bounds=(-1.0, 1.0),
        ),
        Metric(
            key="ssim",
            label="SSIM",
            comparison="ssim_2d",
            description=(
                "Two-dimensional structural similarity of the grey pictures (Gaussian window, sigma 1.5), at the size"
                " of the stimuli. Not the one-dimensional SSIM that Brain-Diffuser 2023 prints, which is higher."
            ),
            citation="Wang et al. 2004, doi 10.1109/TIP.2003.819861",
            bounds=(-1.0, 1.0),
        ),
        _demo_efficientnet("early", "EffNet-Lite0 early", "the second stage (8 × 8 grid)", "AlexNet(2)"),
        _demo_efficientnet("middle", "EffNet-Lite0 middle", "the fourth stage (4 × 4 grid)", "AlexNet(5)"),
        _demo_efficientnet("last", "EffNet-Lite0 last", "the pooled last convolution", "InceptionV3"),
        Metric(
            key="clip_demo",
            label="CLIP (demo)",
            comparison="two_way_identification",
            description=(
                "Two-way identification, per reconstruction, by the correlation of the picture embedding of the"
                " bundled small CLIP. Stand-in for CLIP ViT-L/14, and the network of the decoder's own targets: it"
                " flatters."
            ),
            citation="CLIP: Radford et al. 2021, arXiv:2103.00020; protocol: Ozcelik & VanRullen 2023",
            bounds=(0.0, 1.0),
            chance=0.5,
            network="clip_demo",
            layer="embedding",
            direction="per_reconstruction",
        ),
    ),
)
"""Scores of the bundled demonstration: what fits on a laptop without downloads, labelled as stand-ins."""

_PAPER = "Ozcelik & VanRullen 2023, doi 10.1038/s41598-023-42891-8"


def _published_network(key: str, label: str, network: str, layer: str, what: str) -> Metric:
    return Metric(
        key=key,
        label=label,
        comparison="two_way_identification",
        description=(
            f"Two-way identification, per reconstruction, by the correlation of {what} (pictures resized to 224 pixels,"
            " bilinear, without a crop)."
        ),
        citation=_PAPER,
        bounds=(0.0, 1.0),
        chance=0.5,
        network=network,
        layer=layer,
        direction="per_reconstruction",
    )


def _published_distance(key: str, label: str, network: str, what: str) -> Metric:
    return Metric(
        key=key,
        label=label,
        comparison="correlation_distance",
        description=(
            f"One minus the correlation of {what} (pictures resized to 224 pixels, bilinear, without a crop): lower is"
            " better."
        ),
        citation=_PAPER,
        bounds=(0.0, 2.0),
        higher_is_better=False,
        network=network,
        layer="avgpool",
    )


BRAIN_DIFFUSER_2023 = Profile(
    "brain-diffuser-2023",
    (
        Metric(
            key="pixcorr",
            label="PixCorr",
            comparison="pixcorr",
            description=(
                "Pearson correlation over all RGB values, at the size of the stimuli (425 pixels in NSD; reconstructions"
                " are resized to it, bicubic)."
            ),
            citation=_PAPER,
            bounds=(-1.0, 1.0),
        ),
        Metric(
            key="ssim_bd2023_column_mean",
            label="SSIM (1-D, 2023)",
            comparison="ssim_bd2023_column_mean",
            description=(
                "What the paper prints as SSIM: the mean over pixel columns of one-dimensional structural similarities of"
                " the grey pictures, as scikit-image 0.17.2 computes its call. About 0.1 above the two-dimensional one."
            ),
            citation=_PAPER,
            bounds=(-1.0, 1.0),
        ),
        Metric(
            key="ssim_2d",
            label="SSIM (2-D)",
            comparison="ssim_2d",
            description=(
                "Two-dimensional structural similarity of the grey pictures (Gaussian window, sigma 1.5), which later"
                " papers print; not in the paper's table."
            ),
            citation="Wang et al. 2004, doi 10.1109/TIP.2003.819861",
            bounds=(-1.0, 1.0),
        ),
        _published_network(
            "alexnet_2", "AlexNet(2)", "alexnet", "2", "the second convolution of AlexNet, after its ReLU"
        ),
        _published_network(
            "alexnet_5", "AlexNet(5)", "alexnet", "5", "the fifth convolution of AlexNet, after its ReLU"
        ),
        _published_network("inception", "InceptionV3", "inception_v3", "avgpool", "the pooled features of InceptionV3"),
        _published_network("clip", "CLIP", "clip_vit_l14", "final", "the picture embedding of CLIP ViT-L/14"),
        _published_distance(
            "effnet", "EffNet-B", "efficientnet_b1", "the pooled features of EfficientNet-B1 (weights IMAGENET1K_V1)"
        ),
        _published_distance("swav", "SwAV", "swav", "the pooled features of SwAV's ResNet-50 (800 epochs)"),
    ),
)
"""The metrics of the paper's table, with the two-dimensional SSIM beside the printed one."""

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in (DEMO, BRAIN_DIFFUSER_2023)})
"""All profiles by name."""


class Scorer:
    """Scores many sets of reconstructions against the same stimuli, whose features are computed once.

    Pictures are taken a batch at a time: a `PictureReader` in place of an array keeps all others out of memory.

    Attributes:
        seen_features: features of the stimuli by network and layer.
    """

    def __init__(self, seen: PictureSource, profile: Profile, networks: Mapping[str, FeatureNetwork]) -> None:
        """Compute features of the stimuli.

        Args:
            seen: stimuli (n, 3, height, width) in [0, 1], an array or a reader.
            profile: which metrics to compute.
            networks: the feature networks that the profile names.

        Raises:
            ValueError: if a network or layer that the profile names is missing.
        """
        self.seen = seen
        self.profile = profile
        self.networks = networks
        self.seen_features = extract_features(seen, profile, networks)

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
            ValueError: if the number of pictures is not that of the stimuli.
        """
        if len(made) != len(self.seen):
            raise ValueError(f"got {len(made)} reconstructions of {len(self.seen)} stimuli; both must be as many")
        features: NetworkFeatures = {} if made_features is None else made_features
        scores = {metric.key: np.empty(len(made)) for metric in self.profile.metrics}
        for rows in batches(len(made)):
            batch = made[rows]
            if made_features is None:
                _put(features, _features_of(batch, self.profile, self.networks), rows, len(made))
            self._compare_pixels(rows, batch, scores)
        for metric in self.profile.metrics:
            if metric.network is not None and metric.layer is not None:
                layers = self.seen_features[metric.network][metric.layer], features[metric.network][metric.layer]
                scores[metric.key] = _compare_features(*layers, metric.direction)
        return scores

    def _compare_pixels(self, rows: slice, made: PictureBatch, scores: dict[str, Vector]) -> None:
        compared = [metric for metric in self.profile.metrics if metric.comparison in _PIXEL_COMPARISONS]
        if compared:
            seen = self.seen[rows]
            resized = _fit_to(made, seen)
            for metric in compared:
                scores[metric.key][rows] = _PIXEL_COMPARISONS[metric.comparison](seen, resized)


def score(
    seen: PictureSource, made: PictureSource, profile: Profile, networks: Mapping[str, FeatureNetwork]
) -> dict[str, Vector]:
    """Score one set of reconstructions; for several sets of the same stimuli keep a `Scorer`.

    Arguments, result and errors are those of `Scorer` and `Scorer.score`.

    >>> import numpy as np
    >>> from braindiffuser.evaluation.metrics import DEMO, Profile, score
    >>> pictures = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    >>> pixels_only = Profile("pixels", DEMO.metrics[:2])
    >>> score(pictures, pictures, pixels_only, networks={})
    {'pixcorr': array([1., 1.]), 'ssim': array([1., 1.])}
    """
    return Scorer(seen, profile, networks).score(made)


def extract_features(
    pictures: PictureSource, profile: Profile, networks: Mapping[str, FeatureNetwork]
) -> NetworkFeatures:
    """Compute the layers that a profile needs, a batch of pictures at a time.

    Raises:
        ValueError: if a network or layer is missing.
    """
    features: NetworkFeatures = {}
    for rows in batches(len(pictures)):
        _put(features, _features_of(pictures[rows], profile, networks), rows, len(pictures))
    return features


def arrange(features: NetworkFeatures, order: Int[np.ndarray, " m"]) -> NetworkFeatures:
    """Give the features of pictures in another order: positions, which may repeat."""
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


def _compare_features(seen: Features, made: Features, direction: Direction | None) -> Vector:
    if direction is None:
        return correlation_distance(seen, made)
    return two_way_identification(seen, made, direction)


def _put(features: NetworkFeatures, found: NetworkFeatures, rows: slice, n: int) -> None:
    """Write a batch's features into those of all n pictures, which the first batch makes room for."""
    for name, layers in found.items():
        into = features.setdefault(name, {})
        for layer, values in layers.items():
            if layer not in into:
                into[layer] = np.empty((n, values.shape[1]), values.dtype)
            into[layer][rows] = values


def _fit_to(made: PictureBatch, seen: PictureBatch) -> PictureBatch:
    if made.shape[-2:] == seen.shape[-2:]:
        return made
    height, width = seen.shape[-2:]
    if height != width:
        raise ValueError(
            f"reconstructions of {made.shape[-2:]} pixels cannot be resized to stimuli of {(height, width)}: not square"
        )
    return resize(made, height)
