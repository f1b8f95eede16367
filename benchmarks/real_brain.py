"""What this package decodes from a real visual cortex: ten figures of 10 × 10 tiles, seen by one person, from V1.

    python benchmarks/real_brain.py V1_mean_figure.mat --json FILE --figure FILE.png

The recording is that of Miyawaki et al. 2008 (Neuron 60, 915–929); docs/concepts/real-brain.md says where the file comes from.
Every trial is decoded by a ridge regression from voxels to tiles that was fitted without it, in three designs:

- a repeat of every figure is left out: which of the ten known figures was it?
- a figure is left out, with all its repeats: does the decoded pattern resemble it?
- two figures are left out: which of the two was it?

Each number comes with a 95 % interval over figures, and with the same procedure on shuffled figures. The exit status is 1 if a
number is outside the interval that other scripts found on the same file.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Float, Int

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics import (
    FoldDesign,
    FoldScores,
    decode_in_folds,
    leave_pairs_out,
    leave_pictures_out,
    leave_repeats_out,
    n_way_identification,
    score_in_folds,
    share_interval,
)
from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.folds import Score
from braindiffuser.metrics.pixcorr import pixcorr
from braindiffuser.metrics.places import Places, n_way
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.regression import RidgeCV

SIDE = 10
"""Tiles along a side of a figure."""
ALPHAS = (1e1, 1e2, 1e3, 1e4, 1e5)
ELSEWHERE = {
    "identification of known figures, 1 of 10": (0.900, 0.988),
    "two-way identification of new figures, all ten as candidates": (0.611, 0.900),
}
"""Number → 95 % interval that two other scripts found with ridge regression on the same file."""


def read(path: Path) -> tuple[Matrix, Matrix, Int[np.ndarray, " n_trials"]]:
    """Return responses (80, 797), the ten figures (10, 100), and the figure of each trial."""
    content = scipy.io.loadmat(path)
    responses, shown = (content[name].T.astype(np.float64) for name in ("R2", "I2"))
    figures, which = np.unique(shown, axis=0, return_inverse=True)
    return responses, figures, which.reshape(-1)


def decode(responses: Matrix, figures: Matrix, queries: Matrix, known: bool) -> Matrix:
    """Fit ridge regression to z-scored voxels, and decode.

    Args:
        responses: trials that train (n, n_voxels).
        figures: what they show (n, 100).
        queries: responses that are decoded.
        known: whether these show figures that trained, too. Alpha is chosen by cross-validation that leaves out trials then,
            and otherwise whole figures.
    """
    mean, std = responses.mean(axis=0), responses.std(axis=0)
    groups = None if known else np.unique(figures, axis=0, return_inverse=True)[1].reshape(-1)
    ridge = RidgeCV(ALPHAS).fit((responses - mean) / std, figures, groups=groups)
    decoded: Matrix = ridge.predict((queries - mean) / std)
    return decoded


def figure_correlation(seen: Matrix, made: Matrix) -> Vector:
    """Return PixCorr of figures (n, 100): (n,)."""
    as_pictures = [np.repeat(x.reshape(-1, 1, SIDE, SIDE), 3, axis=1).astype(np.float32) for x in (seen, made)]
    return pixcorr(*as_pictures)


def gathered(
    responses: Matrix,
    figures: Matrix,
    design: FoldDesign,
    shown: Int[np.ndarray, " n_trials"] | None = None,
) -> Matrix:
    """Return what was decoded of each figure while it was left out, averaged over folds."""
    total, times = np.zeros_like(figures), np.zeros((len(figures), 1))
    for left_out, decoded in decode_in_folds(
        responses, figures, design, partial(decode, known=design.straddles), shown
    ):
        total[left_out] += decoded
        times[left_out] += 1
    means: Matrix = total / times
    return means


def mean_of_the_others(figures: Matrix) -> Matrix:
    """Return, for each figure, the mean of all others: what is decoded where responses tell nothing."""
    return np.stack([np.delete(figures, number, axis=0).mean(axis=0) for number in range(len(figures))])


def score_all(path: Path, n_permutations: int, seed: int) -> dict[str, dict[str, Any]]:
    """Score all designs; name → value, ci95, chance, and what shuffled figures score."""
    responses, figures, shown = read(path)
    repeats, pairs = leave_repeats_out(shown), leave_pairs_out(shown)
    singles = leave_pictures_out(shown, len(figures), np.random.default_rng(seed))

    def score(design: FoldDesign, metric: Score, lowest: float = 0.0) -> FoldScores:
        rng, fit_and_predict = np.random.default_rng(seed), partial(decode, known=design.straddles)
        return score_in_folds(
            responses,
            figures,
            design,
            fit_and_predict,
            metric,
            rng=rng,
            n_permutations=n_permutations,
            bounds=(lowest, 1.0),
        )

    return {
        "identification of known figures, 1 of 10": _facts(score(repeats, n_way_identification), 0.1),
        "two-way identification of new figures": _facts(score(pairs, two_way_identification), 0.5),
        "PixCorr of new figures": _facts(score(singles, figure_correlation, -1.0), None)
        | {"mean_of_the_others": float(figure_correlation(figures, mean_of_the_others(figures)).mean())},
        "two-way identification of new figures, all ten as candidates": _facts(
            _pooled(responses, figures, singles, np.random.default_rng(seed), n_permutations), 0.5
        ),
    }


def _pooled(
    responses: Matrix, figures: Matrix, design: FoldDesign, rng: np.random.Generator, n_permutations: int
) -> FoldScores:
    """Compare with candidates that trained the decoder: biased low, as shuffled figures show."""
    found = n_way(Places.of(correlation_matrix(figures, gathered(responses, figures, design))), 2)
    value = float(found.scores.mean())
    shuffles = (gathered(responses, figures, design, design.shuffled(rng)) for _ in range(n_permutations))
    null: Float[np.ndarray, " _"] = np.array([two_way_identification(figures, decoded).mean() for decoded in shuffles])
    return FoldScores(found.scores, value, share_interval(value, found.left_out, 0.5, graded=True), null)


def _facts(scores: FoldScores, chance: float | None) -> dict[str, Any]:
    null = scores.null
    shuffled = None
    if len(null) > 1:
        error = null.std(ddof=1) / np.sqrt(len(null))
        shuffled = {
            "mean": float(null.mean()),
            "ci95_of_mean": [float(null.mean() - 1.96 * error), float(null.mean() + 1.96 * error)],
            "highest": float(null.max()),
            "n": len(null),
            "p_value": scores.p_value,
        }
    return {"value": scores.value, "ci95": list(scores.ci95), "chance": chance, "shuffled": shuffled}


def draw(path: Path, target: Path) -> None:
    """Draw true figures, those decoded while a repeat is left out, and those decoded while the figure is left out."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    responses, figures, shown = read(path)
    singles = leave_pictures_out(shown, len(figures), np.random.default_rng(0))
    first = leave_repeats_out(shown)
    one_repeat = FoldDesign(shown, first.left_out[:1])
    rows = {
        "seen": figures,
        "decoded from one\ntrial, figure known": gathered(responses, figures, one_repeat),
        "decoded from eight\ntrials, figure new": gathered(responses, figures, singles),
    }
    drawing, axes = plt.subplots(len(rows), len(figures), figsize=(8.4, 2.7), layout="constrained")
    for line, (name, patterns) in zip(axes, rows.items(), strict=True):
        for place, pattern in zip(line, patterns, strict=True):
            place.imshow(pattern.reshape(SIDE, SIDE, order="F"), cmap="gray", vmin=0, vmax=1)
            place.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    drawing.savefig(target, dpi=90)


def main() -> int:
    """Print each number with its interval and what shuffled figures score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="V1_mean_figure.mat")
    parser.add_argument("--permutations", type=int, default=40, help="repetitions with shuffled figures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if options.figure:
        draw(options.file, options.figure)
    found = score_all(options.file, options.permutations, options.seed)
    for name, facts in found.items():
        low, high = facts["ci95"]
        print(f"{name}: {facts['value']:.3f} [{low:.3f} – {high:.3f}]", end="")
        if shuffled := facts["shuffled"]:
            ends = shuffled["ci95_of_mean"]
            print(
                f"; shuffled {shuffled['mean']:.3f} [{ends[0]:.3f} – {ends[1]:.3f}], p = {shuffled['p_value']:.3f}",
                end="",
            )
        print(f"; mean of the others {facts['mean_of_the_others']:.3f}" if "mean_of_the_others" in facts else "")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    outside = [name for name, (low, high) in ELSEWHERE.items() if not low <= found[name]["value"] <= high]
    for name in outside:
        print(f"{name}: other scripts found {ELSEWHERE[name][0]} – {ELSEWHERE[name][1]}", file=sys.stderr)
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(main())
