"""
The numbers of a run, in pandas
===============================

A run's page prints what lies beside it as files: a table with one row for each test picture, and all scores as JSON.
"""

# %%
# A small simulated subject: 300 training and 40 test pictures, without ablations and further analyses. It takes half a minute.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import braindiffuser

experiment = braindiffuser.Experiment.load("demo").changed(
    {
        "dataset": {"kind": "simulated", "n_train": 300, "n_test": 40, "n_held_out": 0, "trials_per_session": 340},
        "pictures": {"ablations": [], "n_recovered": 0, "n_random_responses": 0, "n_samples": 1},
        "analyses": [],
    }
)
folder = tempfile.TemporaryDirectory()
run = braindiffuser.Run.open(experiment, Path(folder.name) / "run")
page = run.run_all()

# %%
# All scores: each metric with its interval, and beside it the ceiling and the baselines.

metrics = run.results.read_json("scores.json")["metrics"]
table = pd.DataFrame(
    {
        own["label"]: {
            "score": own["value"],
            "low": own["ci95"][0],
            "high": own["ci95"][1],
            "ceiling": own["ceiling"],
            **own["baselines"],
        }
        for own in metrics.values()
    }
).T
print(table.round(3).to_string())

# %%
# One row for each test picture: which are drawn well, and does it depend on what they show?

pictures = pd.read_csv(run.results.folder / "per_image.csv")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].errorbar(
    table["score"], table.index, xerr=[table["score"] - table["low"], table["high"] - table["score"]], fmt="o"
)
axes[0].plot(table["ceiling"], table.index, "^", color="#8a8a8a", label="ceiling")
axes[0].plot(table["mean_image"], table.index, "x", color="#8a8a8a", label="mean training picture")
axes[0].set_xlabel("score, 95 % interval")
axes[0].legend(frameon=False, fontsize=8)
axes[1].plot(pictures["pixcorr"], pictures["ssim"], "o", color="#0b6e4f")
axes[1].set(xlabel="pixel correlation of each test picture", ylabel="SSIM")

# %%
# What the page says first is a sentence for each doubt; a program can read them too.

for conclusion in run.verdict():
    print(f"{conclusion.kind}: {conclusion.sentence}")
