"""A target group of one's own: mean colours on a coarse grid, a feature that needs no network.

It stands beside the three groups of the demo. This line of an experiment file adds it:

    targets: {colours: {kind: target:ColourGrid, size: 4}}

Run in this folder:

    braindiffuser run --config target.yaml --with target --out RUN
"""

from PIL.Image import Resampling
from pydantic import Field, PositiveInt

from braindiffuser.images import resize
from braindiffuser.networks import NetworkCache
from braindiffuser.targets import Features, Stimuli, Target


class ColourGrid(Target):
    """Mean colour of every tile of a grid: (n, 3, size, size) in [0, 1]."""

    size: PositiveInt = Field(4, description="Tiles along each side of a picture.")

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Average each tile, in 8 bits as Pillow resizes."""
        return resize(stimuli.pictures(), self.size, Resampling.BOX)
