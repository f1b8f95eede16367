"""
A new target group
==================

A feature of your own is one class, decoded beside the package's target groups. Where in the picture can it be read?
"""

# %%
# The feature: mean colours on a grid of 8 × 8 tiles. The class says what a row holds; its field is an entry of the experiment.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL.Image import Resampling
from pydantic import Field, PositiveInt

import braindiffuser
from braindiffuser.images import resize
from braindiffuser.networks import NetworkCache
from braindiffuser.targets import Features, Stimuli, Target


class ColourGrid(Target):
    """Mean colour of every tile of a grid: (n, 3, size, size) in [0, 1]."""

    size: PositiveInt = Field(8, description="Tiles along each side of a picture.")

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Average each tile, in 8 bits as Pillow resizes."""
        return resize(stimuli.pictures(), self.size, Resampling.BOX)


# %%
# A small simulated subject has 400 training and 60 test pictures. The stages up to `fit` are enough: nothing is drawn. Where
# the class is in a file of its own, the kind is `my_module:ColourGrid`.

experiment = braindiffuser.Experiment.load("demo").changed(
    {
        "dataset": {
            "n_train": 400,
            "n_test": 60,
            "n_held_out": 0,
            "n_repeats": 2,
            "n_missing_sessions": 0,
            "trials_per_session": 460,
        },
        "targets": {"colours": {"kind": f"{ColourGrid.__module__}:ColourGrid", "size": 8}},
    }
)
folder = tempfile.TemporaryDirectory()
run = braindiffuser.Run.open(experiment, Path(folder.name) / "run")
for stage in ("prepare", "extract", "fit"):
    run.do(stage)
true = run.results.read_array("truth/colours")
decoded = run.results.read_array("predictions/colours")
print(f"test pictures × colours × rows × columns: {decoded.shape}")

# %%
# The first six test pictures as the feature sees them, and as it was decoded.

figure, axes = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
for row, (name, grids) in enumerate({"true": true, "decoded": decoded}.items()):
    for axis, grid in zip(axes[row], grids, strict=False):
        axis.imshow(np.clip(grid, 0, 1).transpose(1, 2, 0))
        axis.set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)

# %%
# How well is each tile decoded? The correlation over test pictures, averaged over the three colours.


def correlation(x, y):
    """r = Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² Σ (y − ȳ)²), over the first axis."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return (x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))


of_tiles = correlation(true, decoded).mean(axis=0)
rows, columns = np.indices(of_tiles.shape) - (of_tiles.shape[0] - 1) / 2
from_centre = np.hypot(rows, columns)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
shown = left.imshow(of_tiles, cmap="viridis", vmin=0, vmax=1)
left.set(xticks=[], yticks=[], title="correlation of each tile")
figure.colorbar(shown, ax=left)
right.plot(from_centre.ravel(), of_tiles.ravel(), "o", color="#0b6e4f")
right.set(xlabel="distance from the centre, tiles", ylabel="correlation", ylim=(0, 1))

# %%
# The four tiles in the centre are decoded best: in this simulated subject, as in a real one, more voxels see the centre. Over 60
# pictures correlations go up to ±0.25 by chance alone, so differences between single tiles further out mean little.
