"""A metric of one's own: are reconstructions as colourful as the stimuli?

This line of an experiment file adds it to those of the profile:

    evaluation: {metrics: {colourfulness: {kind: metric:Colourfulness}}}

Run in this folder:

    braindiffuser run --config metric.yaml --with metric --out RUN
"""

from typing import ClassVar

import numpy as np

from braindiffuser.arrays import Pictures, Vector
from braindiffuser.metrics import Citation, Description, Label, PixelMetric


class Colourfulness(PixelMetric):
    """Difference of colourfulness; 0 is best."""

    label: Label = "Colourfulness difference"
    description: Description = "Absolute difference of colourfulness (RGB in [0, 1]) of reconstruction and stimulus."
    citation: Citation = "Hasler & Süsstrunk 2003, doi 10.1117/12.477378"

    bounds: ClassVar[tuple[float, float]] = (0.0, float(np.sqrt(1.25 * 1.09)))
    higher_is_better: ClassVar[bool] = False

    def compare(self, seen: Pictures, made: Pictures) -> Vector:
        """Score each pair (n,)."""
        difference: Vector = np.abs(colourfulness(made) - colourfulness(seen))
        return difference


def colourfulness(pictures: Pictures) -> Vector:
    """√(σ²(rg) + σ²(yb)) + 0.3 √(μ²(rg) + μ²(yb)), where rg = R − G and yb = (R + G) / 2 − B; σ, μ over pixels: (n,)."""
    red, green, blue = pictures.astype(np.float64).reshape(len(pictures), 3, -1).transpose(1, 0, 2)
    opponents = np.stack([red - green, (red + green) / 2 - blue])  # (2, n, n_pixels)
    spread, mean = np.hypot(*opponents.std(2)), np.hypot(*opponents.mean(2))
    score: Vector = spread + 0.3 * mean
    return score
