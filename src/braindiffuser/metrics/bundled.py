"""Which networks for scoring come with the package or one of its extras; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from braindiffuser.networks.folders import checkpoint_folder

DEMO_CLIP = Path("demo/clip")
"""Checkpoint folder of the small CLIP that comes with the package."""
BUNDLED_NETWORKS = ("efficientnet_lite0", "clip_demo")
"""Names of the networks."""


def bundled_checkpoints(names: Collection[str]) -> dict[str, Path]:
    """Return the checkpoint folders of those of some networks that come with the package, by name."""
    return {"clip_demo": checkpoint_folder(DEMO_CLIP)} if "clip_demo" in names else {}
