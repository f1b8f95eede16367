"""Feature networks for scoring: anything that turns pictures into named layers of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from braindiffuser._arrays import Matrix, Pictures
from braindiffuser.efficientnet_lite import load_efficientnet_lite

FeatureNetwork: TypeAlias = Callable[[Pictures], Mapping[str, Matrix]]
"""A callable from pictures (n, 3, height, width) in [0, 1] to features (n, d) by the name of the layer.

It resizes and scales pictures itself, treats each picture alone, and gives the same layers for any pictures. Networks
that are not loaded here come in as arguments, so that scores import no model under test.
"""


def load_efficientnet_lite0(device: str = "cpu", batch_size: int = 8) -> FeatureNetwork:
    """Load EfficientNet-Lite0 with layers `early`, `middle` and `last`, as `EfficientNetLite.blocks` states them.

    Args:
        device: where the network runs.
        batch_size: pictures that go through it together.

    Raises:
        DependencyError: if the package with the weights is not installed.
    """
    network = load_efficientnet_lite("lite0", device)

    def efficientnet_lite0(pictures: Pictures) -> dict[str, Matrix]:
        """Compute the three layers of pictures resized to 224 pixels."""
        return {str(name): features for name, features in network.blocks(pictures, batch_size).items()}

    return efficientnet_lite0
