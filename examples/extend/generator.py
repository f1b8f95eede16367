"""A generator of one's own: decoded colours of a coarse grid, made large.

It draws from the target group `colours` of target.py. These lines of an experiment file use both:

    targets: {colours: {kind: target:ColourGrid, size: 4}}
    generator: {kind: generator:Mosaic, size: 64}

Run in this folder:

    braindiffuser run --config generator.yaml --with target --with generator --out RUN
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Int
from pydantic import Field, PositiveInt

from braindiffuser.arrays import Pictures
from braindiffuser.generators import Draw, Generator, GroupFeatures, Variant
from braindiffuser.images import resize
from braindiffuser.networks import NetworkCache


class Mosaic(Generator):
    """Colours (n, 3, k, k) to smooth pictures (n, 3, size, size)."""

    uses: ClassVar[tuple[str, ...]] = ("colours",)
    variants: ClassVar[Mapping[str, Variant]] = {
        "full": Variant("Mosaic"),
        "grey": Variant("Grey mosaic", ablation="without_colour", ablation_label="Without colour"),
    }

    size: PositiveInt = Field(64, description="Height and width of the pictures, in pixels.")

    def open(self, variant: str, null: GroupFeatures, networks: NetworkCache, seed: int) -> Draw:
        """Return the function that draws; a generator with networks loads them here."""

        def draw(features: GroupFeatures, picture_ids: Int[np.ndarray, " n"], start: Pictures | None) -> Pictures:
            colours = features["colours"].clip(0, 1)  # decoded ones may lie outside
            if variant == "grey":
                colours = colours.mean(1, keepdims=True).repeat(3, 1)
            return resize(colours, self.size)

        return draw
