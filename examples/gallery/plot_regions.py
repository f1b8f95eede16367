"""
What a region wants to see
==========================

Decode a pattern that is 1 in one region of the brain and 0 elsewhere, and draw the result.
"""

# %%
# A small simulated subject, whose regions are known: voxels of *bodies* prefer animals, those of *food* prefer food, those of
# *places* prefer buildings and landscapes. It has 600 training pictures. Test pictures are not drawn, so four stages are enough.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import braindiffuser

regions = ["V1", "V4", "bodies", "food", "places"]
experiment = braindiffuser.Experiment.load("demo").changed(
    {
        "dataset": {
            "n_train": 600,
            "n_test": 10,
            "n_held_out": 0,
            "n_repeats": 2,
            "n_missing_sessions": 0,
            "trials_per_session": 610,
        },
        "generator": {"diffusion": {"n_steps": 10}},
        "analyses": [{"kind": "roi_maximisation", "regions": regions}],
    }
)
folder = tempfile.TemporaryDirectory()
run = braindiffuser.Run.open(experiment, Path(folder.name) / "run")
for stage in ("prepare", "extract", "fit", "analyse"):
    run.do(stage)

# %%
# Above, layout and colour as the first network draws them; below, the final pictures.

pictures = run.results.folder / "reconstructions"
figure, axes = plt.subplots(2, len(regions), figsize=(9, 3.9), layout="constrained")
for row, (variant, label) in enumerate({"low_level": "low level", "full": "final"}.items()):
    for number, (axis, region) in enumerate(zip(axes[row], regions, strict=True)):
        axis.imshow(plt.imread(pictures / f"roi_maximisation_{variant}" / f"{number:04}.png"))
        axis.set(xticks=[], yticks=[])
        if row == 0:
            axis.set_title(region, fontsize=10)
    axes[row, 0].set_ylabel(label)

# %%
# A network that classifies photographs looks at them, too. The run has a table with a row for each picture.

measures = pd.read_csv(run.results.folder / "analyses" / "roi_maximisation" / "measures.csv")
final = measures[(measures["pictures"] == "region") & (measures["variant"] == "full")].set_index("region")
groups = {
    "animal": final["animal"],
    "food": final["food"],
    "building or landscape": final["building"] + final["landscape"],
}
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for axis, (group, probability), own in zip(axes, groups.items(), ("bodies", "food", "places"), strict=True):
    axis.barh(regions, probability[regions], color=["#0b6e4f" if region == own else "#c4c4c4" for region in regions])
    axis.invert_yaxis()
    axis.set(title=group, xlabel="probability")

# %%
# The pictures of *food* and *places* show what their voxels prefer, far more than those of other regions do. For *bodies* that
# cannot be said: nearly every unclear picture is taken for an animal. One picture of each region is a look, not a test; the
# entries `n_samples` and `n_random_drawn` draw more, and compare them with random sets of voxels.
