"""Networks for scoring, by name: those that come with the package or one of its extras, and the published ones.

The list, and what is installed, needs no torch; each network is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from braindiffuser.arrays import Matrix, Pictures
from braindiffuser.batches import Batches
from braindiffuser.errors import RunError
from braindiffuser.images import BATCH
from braindiffuser.metrics.metric import FeatureMetric, FeatureNetwork
from braindiffuser.metrics.profiles import Profile
from braindiffuser.networks.catalogue import SCORING_NETWORKS, files_of
from braindiffuser.networks.checkpoint_folders import checkpoint_folder, downloads_folder
from braindiffuser.networks.downloads import find
from braindiffuser.networks.efficientnet_lite import load_efficientnet_lite

DEMO_CLIP = Path("demo/clip")
"""Checkpoint folder of the small CLIP that comes with the package."""


def load_networks(
    profile: Profile, folder: Path, device: str = "cpu"
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Load the networks of a profile: those that come with a metric, and those that the package knows by name.

    Args:
        profile: whose metrics are to be computed.
        folder: where files of published networks are looked for first.
        device: where the networks run.

    Returns:
        As `scoring_networks`.

    Raises:
        RunError: if two networks claim one name, of two metrics, or of a metric and the package; or if a name is unknown.
        DependencyError: as `scoring_networks`.
    """
    own: dict[str, FeatureNetwork] = {}
    loaded_by: dict[str, object] = {}
    for key, metric in profile.metrics.items():
        if isinstance(metric, FeatureMetric) and type(metric).load_network is not FeatureMetric.load_network:
            loads = type(metric).load_network, metric.checkpoints
            if loaded_by.setdefault(metric.network, loads) != loads:
                raise RunError(
                    f"metric {key} loads another network under the name {metric.network}: give it a name of its own"
                )
            if metric.network not in own and (network := metric.load_network(device)) is not None:
                own[metric.network] = network
    taken = sorted(own.keys() & (_BUNDLED.keys() | SCORING_NETWORKS.keys()))
    if taken:
        raise RunError(f"a metric brings a network of the name {taken[0]}, which the package has: give it another name")
    networks, missing = scoring_networks(profile.layers.keys() - own.keys(), folder, device)
    return {name: _halving(network) for name, network in (networks | own).items()}, missing


def _halving(network: FeatureNetwork) -> FeatureNetwork:
    """Wrap a network so that a batch that does not fit in memory is halved."""
    batches = Batches(BATCH)

    def halving(pictures: Pictures) -> dict[str, Matrix]:
        """Compute the layers of a batch of pictures."""
        parts = [made for _, made in batches.over(max(len(pictures), 1), lambda rows: network(pictures[rows]))]
        if not isinstance(parts[0], Mapping):
            raise RunError(f"a scoring network gave {type(parts[0]).__name__}, expected a mapping of features by layer")
        return {layer: np.concatenate([part[layer] for part in parts]) for layer in parts[0]}

    return halving


def scoring_networks(
    names: Collection[str], folder: Path, device: str = "cpu"
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Load the networks of some names, such as the keys of `Profile.layers`.

    Args:
        names: of networks; "efficientnet_lite0", "clip_demo", or keys of `catalogue.SCORING_NETWORKS`.
        folder: where files of published networks are looked for first.
        device: where the networks run.

    Returns:
        Loaded networks; and for missing ones, where to get the file.

    Raises:
        RunError: if a name is unknown; lists the known ones.
        DependencyError: if a file is there but damaged, or the package with EfficientNet-Lite0 is missing.
    """
    unknown = sorted(set(names) - _BUNDLED.keys() - SCORING_NETWORKS.keys())
    if unknown:
        known = ", ".join(sorted(_BUNDLED.keys() | SCORING_NETWORKS.keys()))
        raise RunError(f"there is no scoring network {', '.join(unknown)}; known networks: {known}")
    networks = {name: load(device) for name, load in _BUNDLED.items() if name in names}
    if networks.keys() == set(names):
        return networks, {}
    from braindiffuser.metrics.published_networks import load_published_networks

    published, missing = load_published_networks(sorted(SCORING_NETWORKS.keys() & set(names)), folder, device)
    return published | networks, missing


def bundled_checkpoints(names: Collection[str]) -> dict[str, Path]:
    """Return the checkpoint folders, by name, of those of the given networks that are bundled."""
    return {"clip_demo": checkpoint_folder(DEMO_CLIP)} if "clip_demo" in names else {}


def available_networks(names: Collection[str]) -> tuple[str, ...]:
    """Return those of the given networks that are published and whose files are installed."""
    folder = downloads_folder()
    published = [name for name in names if name in SCORING_NETWORKS]
    return tuple(name for name in published if all(find(file, folder) for file in files_of(name)))


def load_efficientnet_lite0(device: str = "cpu", batch_size: int | None = None) -> FeatureNetwork:
    """Load EfficientNet-Lite0 with layers `early`, `middle` and `last`, as `EfficientNetLite.blocks` states them.

    Args:
        device: where the network runs.
        batch_size: pictures that go through it together; None: as `EfficientNetLite.blocks` chooses.

    Raises:
        DependencyError: if the package with its checkpoint is not installed.
    """
    network = load_efficientnet_lite("lite0", device)

    def efficientnet_lite0(pictures: Pictures) -> dict[str, Matrix]:
        """Compute the three layers of pictures resized to 224 pixels."""
        return {str(name): features for name, features in network.blocks(pictures, batch_size).items()}

    return efficientnet_lite0


def load_clip_demo(device: str = "cpu") -> FeatureNetwork:
    """Load the bundled small CLIP with one layer, `embedding`: its projected class token, unnormalised.

    Args:
        device: where the network runs.
    """
    from braindiffuser.networks.checkpoints import load_clip
    from braindiffuser.targets.clip_tokens import embed_pictures

    clip = load_clip(checkpoint_folder(DEMO_CLIP), device)

    def clip_demo(pictures: Pictures) -> dict[str, Matrix]:
        """Compute the embedding of pictures resized to the network's size."""
        return {"embedding": embed_pictures(clip, pictures)}

    return clip_demo


_BUNDLED: Mapping[str, Callable[[str], FeatureNetwork]] = {
    "efficientnet_lite0": load_efficientnet_lite0,
    "clip_demo": load_clip_demo,
}
