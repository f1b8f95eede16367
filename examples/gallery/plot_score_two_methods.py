"""
Score the pictures of two methods
=================================

Folders of pictures, whoever made them: scores with intervals, and whether one method is better than the other.
"""

# %%
# Forty composed scenes stand for what was seen. One method returns them blurred, the other with noise: which is closer depends on
# the metric, and that is the point of having several.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.folder_scores import evaluate_methods
from braindiffuser.images import save_png

rng = np.random.default_rng(0)
scenes = compose_scenes(40, seed=0)[0].transpose(0, 3, 1, 2) / 255
methods = {
    "blurred": gaussian_filter(scenes, (0, 0, 2, 2)),
    "noisy": np.clip(scenes + 0.12 * rng.standard_normal(scenes.shape), 0, 1),
}
folder = tempfile.TemporaryDirectory()
place = Path(folder.name)
for name, pictures in {"seen": scenes, **methods}.items():
    (place / name).mkdir()
    for number, picture in enumerate(pictures):
        save_png(picture[None].astype(np.float32), place / name / f"{number:02}.png")

# %%
# The profile `pixels` needs no network. Every score comes with a 95 % interval over pictures, and each difference from the first
# method with a p value, adjusted for all comparisons.

found = evaluate_methods(place / "seen", [place / name for name in methods], "pixels")
for name, comparison in found["comparisons"].items():
    for key, own in comparison.items():
        print(f"{name} against {found['against']}, {key}: {own['difference']:+.3f} (p = {own['p_holm']:.3g})")

# %%
# Pictures beside scores: by pixels the blurred ones are closer; by structure neither method is shown to be.

figure = plt.figure(figsize=(9, 3.6), layout="constrained")
pictures, scores = figure.subfigures(1, 2, width_ratios=(3, 2))
for row, axes in enumerate(pictures.subplots(2, 3)):
    for axis, (name, shown) in zip(axes, {"seen": scenes, **methods}.items(), strict=True):
        axis.imshow(shown[row].transpose(1, 2, 0))
        axis.set_axis_off()
        if row == 0:
            axis.set_title(name, fontsize=9)
axis = scores.subplots()
keys = list(found["methods"]["blurred"]["metrics"])
for place_of_method, (name, own) in enumerate(found["methods"].items()):
    entries = [own["metrics"][key] for key in keys]
    values = np.array([entry["value"] for entry in entries])
    ends = np.array([entry["ci95"] for entry in entries])
    x = np.arange(len(keys)) + 0.2 * place_of_method - 0.1
    axis.errorbar(x, values, np.abs(ends.T - values), fmt="o", label=name)
axis.set_xticks(range(len(keys)), keys)
axis.set_ylabel("score, 95 % interval")
axis.legend(frameon=False, fontsize=8)
