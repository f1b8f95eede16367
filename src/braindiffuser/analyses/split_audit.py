"""Split audit: how near the test pictures lie to the training pictures, and whether scores follow.

A decoder that knows the training pictures alone scores well on test pictures that resemble them (Shirakawa et al. 2025). Three
questions tell how far that can explain a score: are test pictures copies of training pictures, do they lie nearer to the training
pictures than those lie to each other, and do scores fall with that distance?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8
from pydantic import Field

from braindiffuser.analyses.analysis import Analysis, Outcome, RunData
from braindiffuser.arrays import Pictures, Vector
from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource, are_flat, batch_slices, resize, to_uint8
from braindiffuser.metrics.nearest_rows import Nearest, RowSource, mean_row, nearest_rows
from braindiffuser.metrics.split_overlap import (
    FEWEST,
    clopper_pearson,
    exceeds,
    is_more_frequent,
    slope_on,
    thirds,
)
from braindiffuser.report.split_audit_section import split_audit_section
from braindiffuser.spacing import evenly_spaced

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_GROUP = "vision"
"""Target group whose features are compared unless another network is asked for: CLIP's vision tokens in the presets."""
SIDE = 32
"""Pixels to a side at which pictures are compared as pictures."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
N_BINS = 24
SMALL = 0.06
"""Distance from ½ below which a difference between two samples is called negligible (Vargha & Delaney 2000)."""
WIDEST = 0.2
"""Width of the interval from which on it is not said that two samples are alike."""
EXACT = 0.999
"""Correlation of pixels from which on two pictures are the same, but for rounding, resizing and compression."""
USUAL = 0.05
"""Share of training pictures with such a pair (lower end) from which on pairs are common, as among frames of films. Below it no
test has the power to show that a few test pictures are more, so their share is held against the upper end."""
RARE = 0.01
"""Share of training pictures with such a pair below which pairs are rare, so that one across the split is named as a copy."""
SAME = 0.05
"""Root mean square difference of pixels in [0, 1] up to which pictures are the same; correlation looks at no contrast."""
COPIED = {"pixel_train_id": "train_id", "pixel_train_name": "train_name"}
"""Column of the table → its name among the facts of a near-copy."""
ROWS_READ = 128
"""Rows that are read together, as arrays are stored."""


class Features(NamedTuple):
    """Features of the stimuli of both sides, and what they are of."""

    train: RowSource
    test: RowSource
    said: str


class SplitAudit(Analysis):
    """Find each test picture's nearest training picture, copies across the split, and how scores follow that distance.

    Facts, stored as `analyses/<label>.json`: `network`, in words; `n_train`; `n_reference`, training pictures whose own nearest
    was sought; `threshold`, `pixel_threshold`, `side`; `training`, their nearest similarities (`quantiles`, `histogram`); and
    `sets`, test set → facts:

    - `n`, `similarity` (`quantiles`, `histogram`)
    - `beside_training`: `value`, `ci95`: how often a test picture lies nearer to its neighbour than a training picture does
    - `verdict`: "nearer", "alike" or "farther" than training pictures lie to each other; "open" where too few tell
    - `near_duplicates`: `count`, `share`, `ci95` of pictures whose similarity reaches the threshold; `training_share` and
      `training_ci95` of training pictures among themselves, and `more_than_training`, whether these are shown to be fewer
    - `pixel_duplicates`: the same of pictures whose pixels correlate with a training picture's by `pixel_threshold` or more
    - `near_copies`: those of them that are copies, each with `number`, `stimulus_id`, `name`, `train_id`, `train_name`,
      `pixel_correlation`: of equal contrast, and nearly exact if training pictures have such pairs as often among themselves
    - `look_alikes`: the others of them, which pixels cannot tell from pictures that are alike by themselves
    - `thirds`: mean similarity of each third, the farthest first; [] below nine pictures
    - `scores`: key → facts of the score, `thirds` (each `value`, `ci95`) and `slope` (`value`, `ci95`, `p`, `r`; null where
      nothing varies); decoded features are scored as `features.<group>`
    """

    needs: ClassVar[tuple[str, ...]] = ("fit", "evaluate")
    scores: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("design", "stimuli")

    network: str = Field(
        "",
        description="Whose features are compared: a target group of the run, such as vision, or a scoring network, such as "
        "clip_demo; '' takes vision, or the first group.",
    )
    threshold: float = Field(
        0.95, gt=0, le=1, description="Similarity of features from which on a test picture is called a near-duplicate."
    )
    pixel_threshold: float = Field(
        0.98,
        gt=0,
        le=1,
        description="Correlation of pixels (at 32 × 32, as they are and less the mean training picture) from which on a test "
        "picture is named: as a near-copy, or as alike where contrast differs or training pictures are.",
    )
    n_reference: int = Field(
        1000, ge=2, description="Training pictures, evenly spaced, whose own nearest training picture is sought."
    )
    n_shown: int = Field(8, ge=0, description="Nearest pairs that are shown.")

    @property
    def checkpoints(self) -> dict[str, Path]:
        """Return the folder of the network, if it is one that comes with the package."""
        from braindiffuser.metrics.feature_networks import bundled_checkpoints

        return bundled_checkpoints([self.network])

    def run(self, data: RunData) -> Outcome:
        """Compare features and pixels across the split, and scores with the distance."""
        features = self._features(data)
        try:
            similarity, training = self._neighbours(data, features)
        except ValueError as error:
            raise RunError(f"{self.label}: {features.said} cannot be compared: {error}") from error
        pixels, training_pixels, differences = self._pixel_neighbours(data)
        pairs = _pairs(data, similarity, pixels).assign(pixel_difference=differences)
        scores, entries = _scores(data)
        low = min(similarity.similarity.min(), training.similarity.min())
        edges = np.linspace(min(low, 0.99), 1.0, N_BINS + 1)
        facts = {
            "network": features.said,
            "n_train": int(features.train.shape[0]),
            "n_reference": len(training.similarity),
            "threshold": self.threshold,
            "pixel_threshold": self.pixel_threshold,
            "side": SIDE,
            "training": _distribution(training.similarity, edges),
            "sets": {
                name: self._facts_of_set(
                    pairs[rows],
                    training.similarity,
                    training_pixels.similarity,
                    edges,
                    {key: own[rows] for key, own in scores.items()},
                    entries,
                )
                for name, rows in data.test_sets.items()
            },
        }
        shown = pairs.sort_values("similarity", ascending=False, kind="stable").head(self.n_shown)
        pictures = self._pictures(data, shown)
        rows = [{str(column): value for column, value in row.items()} for row in shown.to_dict("records")]
        section = split_audit_section(self.label, facts, rows, tuple(pictures))
        return Outcome(section, pictures, facts, tables={"nearest": pairs})

    def _features(self, data: RunData) -> Features:
        wanted = self.network or (DEFAULT_GROUP if DEFAULT_GROUP in data.groups else data.groups[0])
        if wanted in data.groups:
            targets = data.decoders().targets
            return Features(targets[wanted], data.truth(wanted), f"features of the target group {wanted}")
        return self._network_features(data, wanted)

    def _network_features(self, data: RunData, name: str) -> Features:
        """Compute the last layer of a scoring network for all pictures.

        Raises:
            RunError: there is no such network, or its file is not here.
        """
        from braindiffuser.metrics.feature_networks import scoring_networks
        from braindiffuser.networks.checkpoint_folders import downloads_folder

        try:
            networks, missing = scoring_networks([name], downloads_folder(), data.device)
        except RunError as error:
            raise RunError(
                f"{self.label}.network is {name}, which is no target group ({', '.join(data.groups)}): {error}"
            ) from error
        if missing:
            raise RunError(f"{self.label}.network is {name}, which is not on this machine: {missing[name]}")
        found = {}
        for side in ("train", "test"):
            made = []
            pictures = data.seen(side)
            for rows in batch_slices(len(pictures)):
                layers = networks[name](pictures[rows])
                layer = list(layers)[-1]
                made.append(layers[layer])
                data.progress(f"{name}: {side} pictures", rows.stop, len(pictures))
            found[side] = np.concatenate(made)
        return Features(found["train"], found["test"], f"layer {layer} of the network {name}")

    def _neighbours(self, data: RunData, features: Features) -> tuple[Nearest, Nearest]:
        """Return the nearest training stimulus of each test stimulus, and of some training stimuli among the others."""
        mean = mean_row(features.train)
        similarity = nearest_rows(
            features.test, features.train, mean, progress=data.progress, label="nearest training pictures"
        )
        chosen = evenly_spaced(features.train.shape[0], self.n_reference)
        some = _Rows(features.train, chosen)
        training = nearest_rows(
            some, features.train, mean, chosen, data.progress, "distances between training pictures"
        )
        return similarity, training

    def _pixel_neighbours(self, data: RunData) -> tuple[Nearest, Nearest, Float64[np.ndarray, " n"]]:
        """Return the training picture nearest to each test picture by pixels, that of some training pictures, and differences.

        Returns:
            Of test pictures; of training pictures; root mean square difference of each test picture from its own, in [0, 1].
        """
        small = {side: _small(data.seen(side)) for side in ("train", "test")}
        train, mean = small["train"], mean_row(small["train"])
        chosen = evenly_spaced(len(train), self.n_reference)
        found = nearest_rows(small["test"], train, mean, progress=data.progress, label="comparing pixels")
        own = nearest_rows(train[chosen], train, mean, chosen, data.progress, "comparing pixels of training pictures")
        found = _with_equal_ones(_also_as_they_are(found, small["test"], train), small["test"], train)
        own = _with_equal_ones(_also_as_they_are(own, train[chosen], train), train[chosen], train, chosen)
        differences = small["test"].astype(np.float64) - train[found.place]
        return found, own, np.sqrt(np.square(differences).mean(axis=1)) / 255

    def _facts_of_set(
        self,
        pairs: pd.DataFrame,
        training: Float[np.ndarray, " n_reference"],
        training_pixels: Float[np.ndarray, " n_reference"],
        edges: Float[np.ndarray, " n_edges"],
        scores: Mapping[str, Vector],
        entries: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Any]:
        similarity, n = pairs["similarity"].to_numpy(), len(pairs)
        doubles = _doubles(pairs["pixel_correlation"].to_numpy(), training_pixels, self.pixel_threshold)
        alike = pairs["pixel_correlation"] >= self.pixel_threshold
        certain = alike & (pairs["pixel_difference"] <= SAME)
        if _are_usual(doubles):
            certain &= pairs["pixel_correlation"] >= EXACT
        beside = exceeds(similarity, training) if n > 1 else None
        parts = thirds(similarity) if n >= FEWEST else []
        columns = ["number", "stimulus_id", "name", *COPIED, "pixel_correlation"]
        return {
            "n": n,
            "similarity": _distribution(similarity, edges),
            "beside_training": None if beside is None else {"value": beside.value, "ci95": [beside.low, beside.high]},
            "verdict": "open" if beside is None else _verdict(beside.value, beside.low, beside.high, len(training)),
            "near_duplicates": _doubles(similarity, training, self.threshold),
            "pixel_duplicates": doubles,
            "near_copies": pairs.loc[certain, columns].rename(columns=COPIED).to_dict("records"),
            "look_alikes": pairs.loc[alike & ~certain, columns].rename(columns=COPIED).to_dict("records"),
            "thirds": [float(similarity[part].mean()) for part in parts],
            "scores": {
                key: {**own, **_by_distance(similarity, scores[key], parts, own)} for key, own in entries.items()
            },
        }

    def _pictures(self, data: RunData, shown: pd.DataFrame) -> dict[str, Pictures]:
        if not len(shown):
            return {}
        test = _take(data.seen("test"), shown["number"].tolist())
        train = _take(data.seen("train"), shown["train_row"].tolist())
        if are_flat(np.concatenate([test, train])).any():  # what a run stores is refused if most of it is of one colour
            return {}
        return {f"{self.label}_test": test, f"{self.label}_train": train}


class _Rows:
    """Some rows of features, ascending, read when a block of them is asked for."""

    def __init__(self, rows: RowSource, chosen: Int[np.ndarray, " n"]) -> None:
        self._rows, self._chosen = rows, chosen
        self.shape = (len(chosen), *rows.shape[1:])

    def __getitem__(self, key: slice) -> Any:
        wanted = self._chosen[key]
        starts = np.unique(wanted // ROWS_READ * ROWS_READ).tolist()
        inside = [wanted[wanted // ROWS_READ * ROWS_READ == start] - start for start in starts]
        return np.concatenate(
            [self._rows[start : start + ROWS_READ][own] for start, own in zip(starts, inside, strict=True)]
        )


def _verdict(value: float, low: float, high: float, n_training: int) -> str:
    """Say how test pictures lie beside training pictures, by how often they are nearer to their neighbour.

    Similarities of one side depend on each other, since all are to the same training pictures, and a test picture has one of
    these more to be near to. So the whole interval must lie beyond what is negligible, and there must be `FEWEST` of them.

    >>> _verdict(0.5, 0.47, 0.53, 99), _verdict(0.7, 0.66, 0.74, 99), _verdict(0.2, 0.1, 0.3, 99), _verdict(0.5, 0.3, 0.7, 99)
    ('alike', 'nearer', 'farther', 'open')
    >>> _verdict(0.6, 0.52, 0.68, 99), _verdict(0.9, 0.8, 1.0, 8)
    ('open', 'open')
    """
    if n_training < FEWEST:
        return "open"
    if low > 0.5 + SMALL:
        return "nearer"
    if high < 0.5 - SMALL:
        return "farther"
    is_near = abs(value - 0.5) <= SMALL or low <= 0.5 <= high
    return "alike" if is_near and high - low <= WIDEST else "open"


def _doubles(similarity: Vector, training: Float[np.ndarray, " n_reference"], threshold: float) -> dict[str, Any]:
    """Count pictures that are as similar to a training picture as `threshold`, beside training pictures among themselves."""
    n, n_training = len(similarity), len(training)
    count, other = (int((values >= threshold).sum()) for values in (similarity, training))
    return {
        "count": count,
        "share": count / n,
        "ci95": list(clopper_pearson(count, n)),
        "training_share": other / n_training,
        "training_ci95": list(clopper_pearson(other, n_training)),
        "more_than_training": is_more_frequent(count, n, other, n_training),
    }


def _are_usual(doubles: Mapping[str, Any]) -> bool:
    """Return whether such pairs are as usual among training pictures as across the split, so that they are no sign of copies.

    >>> _are_usual(_doubles(np.repeat([1.0, 0.0], [1, 39]), np.repeat([1.0, 0.0], [2, 158]), 0.9))
    True
    >>> _are_usual(_doubles(np.repeat([1.0, 0.0], [1, 299]), np.repeat([1.0, 0.0], [2, 998]), 0.9))
    False
    """
    if doubles["training_ci95"][0] > USUAL:
        return not doubles["more_than_training"]
    return bool(doubles["training_share"] >= RARE and doubles["share"] <= doubles["training_ci95"][1])


def _distribution(similarity: Vector, edges: Float[np.ndarray, " n_edges"]) -> dict[str, Any]:
    quantiles = np.quantile(similarity, QUANTILES)
    return {
        "quantiles": {f"{q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": {"edges": edges.tolist(), "counts": np.histogram(similarity, edges)[0].tolist()},
    }


def _by_distance(
    similarity: Vector, scores: Vector, parts: Sequence[Int[np.ndarray, " _"]], entry: Mapping[str, Any]
) -> dict[str, Any]:
    from braindiffuser.metrics.intervals import score_interval

    line = slope_on(similarity, scores)
    bounds, chance = entry["bounds"], entry["chance"]
    return {
        "thirds": [
            {"value": float(own.mean()), "ci95": list(score_interval(own, bounds, chance))}
            for own in (scores[part] for part in parts)
        ],
        "slope": line and {"value": line.value, "ci95": [line.low, line.high], "p": line.p, "r": line.r},
    }


def _scores(data: RunData) -> tuple[dict[str, Vector], dict[str, dict[str, Any]]]:
    """Return scores of all test pictures, and what is known of each: of pictures, and of decoded features."""
    from braindiffuser.metrics.feature_scores import centred
    from braindiffuser.metrics.two_way_identification import two_way_identification

    table, targets = data.per_image(), data.decoders().targets
    known = {key: facts for key, facts in data.metrics().items() if key in table}
    scores = {key: table[key].to_numpy(np.float64) for key in known}
    entries = {
        key: {fact: facts[fact] for fact in ("label", "higher_is_better", "chance", "bounds")}
        for key, facts in known.items()
    }
    for group in data.groups:
        own = targets[group]
        decoded, truth = centred(data.predictions(group), data.truth(group), mean_row(own), own)
        key = f"features.{group}"
        entries[key] = {"label": f"Decoded {group}", "higher_is_better": True, "chance": 0.5, "bounds": [0.0, 1.0]}
        parts = [
            two_way_identification(truth[rows], decoded[rows]) if rows.stop - rows.start > 1 else np.full(1, 0.5)
            for rows in data.test_sets.values()
        ]
        scores[key] = np.concatenate(parts)
    return scores, entries


def _also_as_they_are(found: Nearest, pixels: UInt8[np.ndarray, "n d"], train: UInt8[np.ndarray, "m d"]) -> Nearest:
    """Return each pair's correlation less the mean training picture, or as the pictures are, whichever is smaller.

    On one background all pictures correlate as they are; pale ones all correlate less the mean, since little but the mean is
    left. A copy does in both.
    """
    from braindiffuser.metrics._correlation import paired_correlation

    plain = paired_correlation(pixels.astype(np.float32), train[found.place].astype(np.float32))
    return found._replace(similarity=np.minimum(found.similarity, plain))


def _with_equal_ones(
    found: Nearest,
    pixels: UInt8[np.ndarray, "n d"],
    train: UInt8[np.ndarray, "m d"],
    own: Int[np.ndarray, " n"] | None = None,
) -> Nearest:
    """Give pictures that equal a training picture in every pixel a similarity of 1, also those of one colour.

    A picture of one colour has no correlation, not even with itself.

    Args:
        found: nearest training pictures by correlation.
        pixels: of the pictures.
        train: pixels of the training pictures.
        own: row of the training pictures that a picture is itself; None: none is.
    """
    places: dict[bytes, list[int]] = {}
    for place, row in enumerate(train):
        places.setdefault(row.tobytes(), []).append(place)
    similarity, nearest = found.similarity.copy(), found.place.copy()
    for number, row in enumerate(pixels):
        equal = [place for place in places.get(row.tobytes(), [])[:2] if own is None or place != own[number]]
        if equal:
            similarity[number], nearest[number] = 1.0, equal[0]
    return Nearest(similarity, nearest)


def _small(pictures: PictureSource) -> UInt8[np.ndarray, "n d"]:
    blocks = [to_uint8(resize(pictures[rows], SIDE)) for rows in batch_slices(len(pictures))]
    return np.concatenate([block.reshape(len(block), -1) for block in blocks])


def _pairs(data: RunData, similarity: Nearest, pixels: Nearest) -> pd.DataFrame:
    """Return a row for each test picture with its nearest training pictures, by features and by pixels."""
    import pandas as pd

    ids = {side: data.stimulus_ids(side) for side in ("train", "test")}
    names = {side: _names(data.stimuli(side), len(ids[side])) for side in ids}
    sets = np.full(len(ids["test"]), "", object)
    for name, rows in data.test_sets.items():
        sets[rows] = name
    return pd.DataFrame(
        {
            "number": np.arange(len(ids["test"])),
            "set": sets,
            "stimulus_id": ids["test"],
            "name": names["test"],
            "train_row": similarity.place,
            "train_id": ids["train"][similarity.place],
            "train_name": names["train"][similarity.place],
            "similarity": similarity.similarity,
            "pixel_train_id": ids["train"][pixels.place],
            "pixel_train_name": names["train"][pixels.place],
            "pixel_correlation": pixels.similarity,
        }
    )


def _names(known: pd.DataFrame, n: int) -> Any:
    return known["name"].fillna("").astype(str).to_numpy(object) if "name" in known else np.full(n, "", object)


def _take(pictures: PictureSource, places: Sequence[int]) -> Pictures:
    return np.concatenate([pictures[place : place + 1] for place in places])
