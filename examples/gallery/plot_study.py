"""
A study of four subjects
========================

Finished runs of the same test pictures, put together: scores of each subject, their mean, and pictures of averaged features.
"""

# %%
# Four simulated subjects see the same 20 test pictures; each has 120 training pictures of its own. That is far too few for good
# reconstructions, but quick.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import braindiffuser
from braindiffuser.study.study import run_study

folder = tempfile.TemporaryDirectory()
place = Path(folder.name)
small = {
    "dataset": {
        "n_train": 120,
        "n_test": 20,
        "n_held_out": 0,
        "n_repeats": 2,
        "n_missing_sessions": 0,
        "trials_per_session": 140,
        "grid": (14, 16, 12),
        "n_early": 400,
        "n_higher": 400,
    },
    "generator": {"diffusion": {"n_steps": 5}},
    "pictures": {"ablations": [], "n_recovered": 0, "n_random_responses": 0, "n_samples": 1},
    "evaluation": {"n_resamples": 500},
    "analyses": [],
}
subjects = ["subj01", "subj02", "subj03", "subj04"]
for number, name in enumerate(subjects, start=1):
    experiment = braindiffuser.Experiment.load("demo").changed(small).changed({"dataset": {"subject": number}})
    braindiffuser.Run.open(experiment, place / name).run_all()
study = run_study([place / name for name in subjects], place / "study", n_permutations=200)

# %%
# Each metric with its subjects, their mean, and two intervals. The one over pictures holds for these four people; the one over
# subjects says what the mean of other people may be.

metrics = list(study["metrics"].values())
pixels = [own for own in metrics if own["chance"] is None]
identification = [own for own in metrics if own["chance"] is not None]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axis, shown in zip(axes, (pixels, identification), strict=True):
    for row, own in enumerate(shown):
        axis.plot(list(own["subjects"].values()), [row] * len(subjects), "o", color="#8a8a8a", markersize=4)
        for shift, interval, colour in ((-0.15, "ci95", "#0b6e4f"), (0.15, "ci95_subjects", "#b3541e")):
            axis.plot(own[interval], [row + shift] * 2, color=colour, linewidth=2)
            axis.plot(own["value"], row + shift, "|", color=colour, markersize=10)
    axis.set_yticks(range(len(shown)), [own["label"] for own in shown])
    axis.set_ylim(len(shown) - 0.5, -0.5)
axes[0].set_xlabel("score")
axes[1].axvline(0.5, color="#8a8a8a", linestyle=":")
axes[1].set_xlabel("two-way identification; dotted: chance")
lines = [plt.Line2D([], [], color=colour) for colour in ("#0b6e4f", "#b3541e")]
axes[0].legend(lines, ["mean, over pictures", "mean, over subjects"], frameon=False, fontsize=8)

# %%
# In how many people? A mean above chance could come from one of them. The bound says for which share of all people the effect is
# shown at least. Four subjects cannot show it for half of them, however clear they are.

prevalence = study["metrics"]["pixcorr"]["prevalence"]
print(
    f"pixel correlation: shown for more than {prevalence['bound']:.0%} of people (at most {prevalence['largest_bound']:.0%})"
)

# %%
# The same test pictures as each subject's run draws them, and as they are drawn from features averaged over subjects.

columns = {
    "seen": place / subjects[0] / "reconstructions" / "seen",
    **{name: place / name / "reconstructions" / "final" for name in subjects},
    "Sub Avg": place / "study" / "subject-average" / "reconstructions" / "final",
}
figure, axes = plt.subplots(3, len(columns), figsize=(9, 4.6), layout="constrained")
for column, (name, pictures) in enumerate(columns.items()):
    for row in range(3):
        axes[row, column].imshow(plt.imread(pictures / f"{row:04}.png"))
        axes[row, column].set_axis_off()
    axes[0, column].set_title(name, fontsize=10)

# %%
# Errors that subjects do not share cancel, so the average scores higher than the mean of the subjects.

gains = {own["label"]: own["subject_average"]["gain"] for own in metrics}
print("Sub Avg less the mean of subjects:", ", ".join(f"{label} {gain:+.3f}" for label, gain in gains.items()))
