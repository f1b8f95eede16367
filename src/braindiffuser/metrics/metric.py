"""Metrics: one file is one kind, with its function and its facts. Metrics take arrays and know nothing of runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias

from pydantic import Field, PositiveInt

from braindiffuser.arrays import Matrix, Pictures, Vector
from braindiffuser.metrics._pixels import PictureBatch, as_compared
from braindiffuser.part import Part, without_defaults

Label: TypeAlias = Annotated[str, Field(description="Name of the metric in tables and figures.")]
Description: TypeAlias = Annotated[str, Field(description="What is computed, preprocessing included, in a sentence.")]
Citation: TypeAlias = Annotated[str, Field(description="Where the metric comes from.")]

FeatureNetwork: TypeAlias = Callable[[Pictures], Mapping[str, Matrix]]
"""A callable from pictures (n, 3, height, width) in [0, 1] to features (n, d) by the name of the layer.

It resizes and scales pictures itself, treats each picture independently, and gives the same layers for any pictures.
`metrics.feature_networks` loads those that are known by name.
"""

LOW_LEVEL_LAYERS: Mapping[str, tuple[str, ...]] = {
    "alexnet": ("2", "5"),
    "alexnet_256": ("2", "5"),
    "alexnet_299": ("pool2", "pool5"),
    "lpips_alexnet": ("weighted",),
    "efficientnet_lite0": ("early", "middle"),
}
"""Network → layers by which the paper measures low-level likeness, and the layers that stand in for them."""

OZCELIK_VANRULLEN_2023 = "Ozcelik & VanRullen 2023, doi 10.1038/s41598-023-42891-8"
"""Citation of Brain-Diffuser, whose evaluation most of the bundled metrics follow."""

Sizes: TypeAlias = Annotated[
    tuple[PositiveInt, ...],
    Field(
        description="Sides to which stimuli and reconstructions are resized in turn before they are compared, bilinear without "
        "antialias, such as [256, 425]; []: reconstructions to the stimuli's size, bicubic."
    ),
]


class Compared(NamedTuple):
    """Scores of pictures, and what an interval of their mean needs if they depend on each other.

    Attributes:
        scores: of each picture (n,).
        left_out: mean score of all others when a picture is left out, as target and as distractor (n,), of a metric that tells
            pictures from each other and whose scores are shares; None: each score is of one picture alone.
        other_way: the same in the other direction of identification, if there is one.
    """

    scores: Vector
    left_out: Vector | None = None
    other_way: Compared | None = None


class Metric(Part):
    """One score: its function and printed facts.

    Concrete kinds derive from `PixelMetric` or `FeatureMetric` and give the fields their defaults.
    """

    label: Label
    description: Description
    citation: Citation

    bounds: ClassVar[tuple[float, float]]
    """Smallest and largest possible score."""
    higher_is_better: ClassVar[bool] = True
    """Whether a better reconstruction scores higher."""
    chance: ClassVar[float | None] = None
    """Expected score of reconstructions that are unrelated to the stimuli; None where it depends on the pictures."""

    @property
    def is_low_level(self) -> bool:
        """Whether it measures layout, colour and shape, as the paper sorts metrics, rather than what a picture shows."""
        return False

    @property
    def fewest_pictures(self) -> int:
        """Number of pictures that it needs at least."""
        return 1


class PixelMetric(Metric):
    """A metric that compares pictures."""

    sizes: Sizes = ()

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on; `sizes` only where they are given."""
        return without_defaults(self, super().influences(device), "sizes")

    def as_compared(self, seen: PictureBatch, made: PictureBatch) -> tuple[PictureBatch, PictureBatch]:
        """Return stimuli (n, 3, height, width) and reconstructions of any size at the size at which they are compared.

        Raises:
            ValueError: if stimuli are not square and reconstructions have another size.
            RunError: if pictures that are to be resized are not square.
        """
        return as_compared(seen, made, self.sizes)

    @property
    def is_low_level(self) -> bool:
        """True: pixels are compared."""
        return True

    @abstractmethod
    def compare(self, seen: Pictures, made: Pictures) -> Vector:
        """Score pictures (n, 3, height, width) in [0, 1] against the stimuli, of the same size: (n,), each pair independently."""


class FeatureMetric(Metric):
    """A metric that compares features of one layer of a network."""

    network: str = Field(description="Name of the feature network.")
    layer: str = Field(description="Layer of the network whose features are compared.")

    @property
    def is_low_level(self) -> bool:
        """Whether the layer is an early one of a network that is known by name; of a network of your own, say so yourself."""
        return self.layer in LOW_LEVEL_LAYERS.get(self.network, ())

    def load_network(self, device: str) -> FeatureNetwork | None:
        """Load the metric's own network; None if the package provides `network`.

        Args:
            device: where the network runs: "cpu", "cuda" …

        Returns:
            A function from pictures (n, 3, height, width) in [0, 1] to layer → features (n, d). Metrics that name the same
            `network` share the one that the first of them loads.
        """
        return None

    def compare_among(self, seen: Matrix, made: Matrix) -> Compared:
        """Score features as `compare` does, and without each picture if they are identified among each other."""
        return Compared(self.compare(seen, made))

    @abstractmethod
    def compare(self, seen: Matrix, made: Matrix) -> Vector:
        """Score features (n, d) of reconstructions against those of the stimuli, in the same order: (n,)."""
