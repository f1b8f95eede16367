"""How often 95 % intervals hold the truth, in simulated pictures: the tables of `docs/decisions/0013-intervals.md`.

    python benchmarks/intervals.py            # a few minutes
    python benchmarks/intervals.py --samples 100

Stimuli have Gaussian features. Decoded are `signal` times these plus noise; of undecodable pictures noise alone. The true score
is the mean over all samples, which is unbiased.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics.intervals import mean_interval, means_left_out, median_interval, share_interval
from braindiffuser.metrics.joined_intervals import interval_inside_folds, joined_share_interval
from braindiffuser.metrics.places import Identified, Places, n_way, top_k
from braindiffuser.metrics.subjects import interval_over_pictures

SIZES = {12: 2000, 40: 1000, 100: 600, 300: 300}
"""Number of pictures → samples."""


class Case(NamedTuple):
    """What decoders make of stimuli."""

    width: int
    signal: float
    undecodable: float = 0.0


UNEQUAL = [(500, 3), (100, 5), (100, 20), (50, 10), (12, 9), (40, 40)]
CASES = {
    "nothing decoded": Case(20, 0.0),
    "weak": Case(20, 0.3),
    "some undecodable": Case(20, 1.0, 0.2),
    "strong": Case(5, 1.0),
    "near 1": Case(20, 1.0),
    "at 1": Case(40, 1.0),
}


FOLDS = ((2, 5), (2, 20), (3, 13), (4, 5), (6, 5), (12, 5), (12, 10), (30, 5))
"""Pictures of a fold, and number of folds."""


def percentiles(scores: Vector, rng: np.random.Generator, n_resamples: int = 300) -> tuple[float, float]:
    """Return what intervals were before: the middle of the means of resampled pictures."""
    means = rng.choice(scores, (n_resamples, len(scores))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def correlations(rng: np.random.Generator, n: int, case: Case) -> Matrix:
    """Draw stimuli and what is decoded, and correlate them: (n, n), stimuli in rows."""
    truth = rng.normal(size=(n, case.width))
    kept = rng.random((n, 1)) >= case.undecodable
    decoded = case.signal * truth * kept + rng.normal(size=truth.shape)
    found: Matrix = np.corrcoef(truth, decoded)[:n, n:]
    return found


def held(ends: Sequence[tuple[float, float]], truth: float) -> str:
    """Print the share of intervals that hold the truth, and their mean width within 0 and 1."""
    low, high = np.array(ends).T
    return f"{np.mean((low <= truth) & (truth <= high)):.3f} (width {np.mean(high.clip(0, 1) - low.clip(0, 1)):.3f})"


def identification(rng: np.random.Generator, n: int, n_samples: int, case: Case) -> list[str]:
    """Return the columns of one row: the truth, the bootstrap over pictures, and this project's intervals."""

    def interval(found: Identified, chance: float, graded: bool) -> tuple[float, float]:
        return share_interval(float(found.scores.mean()), found.left_out, chance, graded=graded)

    places = [Places.of(correlations(rng, n, case)) for _ in range(n_samples)]
    two_way = [n_way(each, 2) for each in places]
    truth = float(np.mean([each.scores.mean() for each in two_way]))
    columns = [
        f"{truth:.3f}",
        held([percentiles(each.scores, rng) for each in two_way], truth),
        held([interval(each, 0.5, True) for each in two_way], truth),
    ]
    for found, chance in (
        ([n_way(each, min(10, n)) for each in places], 1 / min(10, n)),
        ([top_k(each, 1) for each in places], 1 / n),
    ):
        own = float(np.mean([each.scores.mean() for each in found]))
        columns.append(f"{own:.3f}: {held([interval(each, chance, False) for each in found], own)}")
    median = float(np.median([np.median(each.ranks) for each in places]))
    low, high = np.array([median_interval(each.ranks) for each in places]).T
    return [*columns, f"{np.mean((low <= median) & (median <= high)):.3f}"]


def means(rng: np.random.Generator, n: int, n_samples: int) -> list[str]:
    """Return the coverage of means of several kinds of scores: bootstrap, and this project's."""
    kinds = {
        "normal": (rng.normal(size=(n_samples, n)), 0.0),
        "skewness 1": (rng.gamma(4, size=(n_samples, n)), 4.0),
        "beta (8, 1.5)": (rng.beta(8, 1.5, size=(n_samples, n)), 8 / 9.5),
        "exponential": (rng.exponential(size=(n_samples, n)), 1.0),
    }
    columns = []
    for samples, truth in kinds.values():
        old, new = (
            np.mean([low <= truth <= high for low, high in map(interval, samples)])
            for interval in (lambda scores: percentiles(scores, rng), mean_interval)
        )
        columns.append(f"{old:.3f} → {new:.3f}")
    shares = (rng.random((n_samples, n)) < 0.9).astype(np.float64)
    new = np.mean([low <= 0.9 <= high for low, high in (share_interval(x.mean(), means_left_out(x)) for x in shares)])
    return [*columns, f"{new:.3f}"]


def in_folds(rng: np.random.Generator, size: int, n_folds: int, n_samples: int) -> list[str]:
    """Return the coverage of means over folds: of normal scores, of identification by scores alone, and with the jackknife."""
    folds, weights = np.repeat(np.arange(n_folds), size), [1 / n_folds] * n_folds
    normal = [interval_inside_folds(rng.normal(size=len(folds)), folds) for _ in range(n_samples)]
    columns = [held(normal, 0.0).partition(" ")[0]]
    for case in (CASES["weak"], CASES["some undecodable"]):
        own = [[n_way(Places.of(correlations(rng, size, case)), 2) for _ in range(n_folds)] for _ in range(n_samples)]
        values = [float(np.mean([fold.scores.mean() for fold in folds_of])) for folds_of in own]
        truth, scores = float(np.mean(values)), [np.concatenate([fold.scores for fold in folds_of]) for folds_of in own]
        columns.append(f"{truth:.3f}: {held([interval_inside_folds(each, folds) for each in scores], truth)}")
        joined = [
            joined_share_interval(value, [fold.left_out for fold in folds_of], weights, 0.5, graded=True)
            for value, folds_of in zip(values, own, strict=True)
            if size > 2
        ]
        columns.append(held(joined, truth) if joined else "–")
    return columns


def of_subjects(rng: np.random.Generator, sizes: Sequence[int], n_samples: int) -> list[str]:
    """Return the coverage of means over subjects who saw other pictures, which weigh alike whatever their number."""
    shares, weights = (0.98, 0.8), [1 / len(sizes)] * len(sizes)
    right = [
        [(rng.random(n) < p).astype(np.float64) for n, p in zip(sizes, shares, strict=True)] for _ in range(n_samples)
    ]
    columns = [
        held([interval_over_pictures(own, (0.0, 1.0), shared=False) for own in right], float(np.mean(shares))),
        held(
            [interval_over_pictures([rng.normal(size=n) for n in sizes], shared=False) for _ in range(n_samples)], 0.0
        ),
    ]
    for case in (CASES["weak"], CASES["some undecodable"]):
        found = [[n_way(Places.of(correlations(rng, n, case)), 2) for n in sizes] for _ in range(n_samples // 2)]
        values = [float(np.mean([each.scores.mean() for each in own])) for own in found]
        ends = [
            joined_share_interval(value, [each.left_out for each in own], weights, 0.5, graded=True)
            for value, own in zip(values, found, strict=True)
        ]
        columns.append(held(ends, float(np.mean(values))))
    return columns


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, help="samples of each row; default: 2,000 of 12 pictures to 300 of 300")
    chosen = parser.parse_args().samples
    print("| pictures | case | two-way | bootstrap over pictures | jackknife | 1 of 10 | 1 of all | median rank |")
    print("|---|---|---|---|---|---|---|---|")
    for n, usual in SIZES.items():
        for name, case in CASES.items():
            columns = identification(np.random.default_rng([n, 1]), n, chosen or usual, case)
            print(f"| {n} | {name} | {' | '.join(columns)} |", flush=True)
    print("\n| two subjects of | yes or no, .98 and .8 | normal scores | weak | undecodable |")
    print("|---|---|---|---|---|")
    for sizes in UNEQUAL:
        columns = of_subjects(np.random.default_rng([*sizes, 4]), sizes, chosen or 1000)
        print(f"| {' and '.join(map(str, sizes))} | {' | '.join(columns)} |", flush=True)
    print("\n| pictures | normal | skewness 1 | beta (8, 1.5) | exponential | yes or no, .9 |")
    print("|---|---|---|---|---|---|")
    for n, usual in ({5: 2000} | SIZES).items():
        print(f"| {n} | {' | '.join(means(np.random.default_rng([n, 2]), n, chosen or usual))} |", flush=True)
    print(
        "\n| folds of | number | normal scores | weak: scores alone | jackknife | undecodable: scores alone | jackknife |"
    )
    print("|---|---|---|---|---|---|---|")
    for size, n_folds in FOLDS:
        columns = in_folds(np.random.default_rng([size, n_folds, 3]), size, n_folds, chosen or 1000)
        print(f"| {size} | {n_folds} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
