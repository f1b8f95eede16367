"""Curves: how scores depend on the number of training pictures or sessions, repeats, the rank of the decoder, and the generator.

Scores are of decoded features, which cost no picture; a stated number of test pictures can be drawn and scored at every point as
well. Points that are kept in the run's folder are not computed again.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64, Int
from PIL import Image
from pydantic import Field

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.analyses.curves.along import Along, along, exactly, known_curves
from braindiffuser.arrays import Pictures, Vector
from braindiffuser.errors import RunError
from braindiffuser.images import are_flat, from_uint8, resize, to_uint8
from braindiffuser.plain_data import hash_json
from braindiffuser.report.curve_section import N_EXAMPLES, curve_section, no_curve_section
from braindiffuser.spacing import evenly_spaced

if TYPE_CHECKING:
    from braindiffuser.metrics.growth import Interval

    Over: TypeAlias = str
else:
    Over = Literal[known_curves()]

STREAM = 13
"""Second component of the seed of resamples."""
USUAL_PICTURES = 20
"""Test pictures that are drawn at each point of a curve over the generator's settings."""
FEWEST_TESTED = 3
"""Test pictures below which there is no curve."""
GOAL = 0.95
"""Share of the gain over chance that is asked for where no goal is given."""
KEPT = 2
"""Version of what is kept of a point: points that were kept with another number are computed again."""
ABOUT_TWICE = 1.8
"""Ratio of amounts from which on the gain between two points tells of a doubling; a nearer point would magnify its noise."""
SHOWN_SIDE = 192
"""Pixels to a side that they are shrunk to."""

Points = Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], EACH_ONCE]


class Curve(Analysis):
    """Score test pictures along a curve.

    Facts, stored as `analyses/<label>.json`: `over`, `title`, `axis`, `unit`, `how_to_read`, `doubles`, `is_logarithmic`,
    `of_generator`; `own`, the point at which the run lies (null: none); `n`, test pictures that are scored, of `n_test`;
    `n_drawn`, those that are drawn; `entries`, key → label, direction, chance and `floor` (what a decoder without information
    has) of each score; and `points`, ascending, each with `at`, what else is known of it, and `scores`: key → `value`, `ci95`,
    `n_draws`. Features of a group have the scores `pattern.<group>` and `two_way.<group>`, drawn pictures those of the profile as
    `pictures.<key>`.

    - `lines` (over training pictures and sessions): key → `per_doubling` (`value`, `ci95`), `goal`, `goal_given`, `reached_at`
      (`value`, `ci95`; an end that lies out of sight is null), `sought_to` (amount up to which it was looked for), `line` at each
      point, `bend` (below 0: growth slows), `last_doubling` (gain since the last point of about half the amount, scaled to a
      doubling), and `next_doubling`, the score if that gain came once more
    - `r90` (where the curve `saturates`, as over ranks): key → smallest point with 90 % of the whole decoder's gain over `floor`
    - `differences`: key → each point's difference from the run's own, or from the last one: `at`, `value`, `ci95`, `p`
    """

    later: ClassVar[tuple[str, ...]] = ("points", "goal", "name")

    over: Over = Field(description=f"What is varied, one of {', '.join(known_curves())}.")
    points: Points = Field(
        (), description="Points of the curve, such as [1, 2, 3]; [] chooses them. The run's own point is always there."
    )
    pictures: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="Test pictures, evenly spaced, that are drawn and scored at every point; null: none, but 20 along settings "
        "of the generator.",
    )
    n_draws: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Random choices of training pictures or trials at each point; null: 1, and 3 of trials."
    )
    goal: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None,
        description="Pattern correlation of decoded features that one wants to reach; null: 95 % of what all data give. Over "
        "training and sessions.",
    )

    @property
    def label(self) -> str:
        """Name of its results: curve_<over>, unless it has another."""
        return self.name or f"curve_{self.over}"

    @property
    def n_drawn(self) -> int:
        """How many pictures are drawn at each point; 0 for none."""
        return self.pictures or (USUAL_PICTURES if self._along.of_generator else 0)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # the base declares a ClassVar
        """Stages whose results it asks for: pictures only where some are drawn."""
        return ("fit", "reconstruct") if self.n_drawn else ("fit",)

    @property
    def draws(self) -> bool:  # type: ignore[override]  # the base declares a ClassVar
        """Whether it calls the generator."""
        return self.n_drawn > 0

    @property
    def scores(self) -> bool:  # type: ignore[override]  # the base declares a ClassVar
        """Whether it scores pictures."""
        return self.n_drawn > 0

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]  # the base declares a ClassVar
        """What it reads of the recording; where pictures are drawn, those that were seen stand beside them."""
        return (*self._along.reads, *(("stimuli",) if self.n_drawn else ()))

    @property
    def _along(self) -> type[Along]:
        return along(self.over)

    def run(self, data: RunData) -> Outcome:
        """Score every point, and fit what the curve is asked for."""
        first = next(iter(data.test_sets.values()))
        if first.stop - first.start < FEWEST_TESTED:
            return Outcome(
                no_curve_section(self.label, self._along.title, f"There are fewer than {FEWEST_TESTED} test pictures")
            )
        curve = self._along(data, self.n_draws)
        if why := curve.lacking():
            return Outcome(no_curve_section(self.label, curve.title, why))
        points = curve.settle(list(self.points or curve.default_points()))
        if len(points) < 2 and not self.points:
            why = f"Of {curve.axis}, this run has too few for another point beside its own, {exactly(points[0])}"
            return Outcome(no_curve_section(self.label, curve.title, why))
        if len(points) < 2:
            raise RunError(f"{self.label} has a single point, {exactly(points[0])}: give two or more")
        scored = _Points(data, curve, self.n_drawn, self.label)
        named = {f"{self.over}-{scored.kept_name(point)}": point for point in points}
        found = []
        for done, own in enumerate(data.kept_each(named, scored.at), start=1):
            found.append(own)
            data.progress(f"curve over {curve.axis}", done, len(points))
        facts = self._facts(data, curve, scored, points, found)
        pictures = scored.examples(found)
        section = curve_section(self.label, facts, list(pictures))
        table = _per_image(scored, points, found)
        return Outcome(section, pictures, facts, tables={"per_image": table})

    def part_of(self, data: RunData) -> Callable[[float], dict[str, Any]]:
        """Return what scores one point."""
        curve = self._along(data, self.n_draws)
        curve.settle(list(self.points or curve.default_points()))
        return _Points(data, curve, self.n_drawn, self.label).at

    def _facts(
        self, data: RunData, curve: Along, scored: _Points, points: Sequence[float], found: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        rng = np.random.default_rng([data.seed, STREAM])
        entries = scored.entries(list(found[0]["scores"]))
        made: dict[str, Any] = {
            "over": self.over,
            "title": curve.title,
            "axis": curve.axis,
            "unit": curve.unit,
            "how_to_read": curve.how_to_read,
            "doubles": curve.doubles,
            "is_logarithmic": curve.is_logarithmic,
            "of_generator": curve.of_generator,
            "own": curve.own,
            "n": len(curve.rows),
            "n_test": curve.first.stop - curve.first.start,
            "n_drawn": len(scored.chosen) if self.n_drawn else 0,
            "entries": entries,
            "points": [
                {
                    "at": point,
                    **own.get("facts", {}),
                    "scores": {
                        key: {
                            **_scored(entries[key], values, own["left_out"].get(key)),
                            "n_draws": own["n_draws"],
                        }
                        for key, values in own["scores"].items()
                    },
                }
                for point, own in zip(points, found, strict=True)
            ],
        }
        columns = {key: np.array([own["scores"][key] for own in found]) for key in entries}
        amounts = np.array(points, np.float64)
        reference = len(points) - 1 if curve.own is None else points.index(curve.own)
        made["differences"] = {key: _differences(amounts, values, reference) for key, values in columns.items()}
        if curve.doubles and len(points) >= 3:
            made["lines"] = {
                key: self._line(amounts, values, entries[key])
                for key, values in columns.items()
                if not key.startswith("pictures.")
            }
        if curve.saturates:
            made["r90"] = {key: _r90(amounts, values, entries[key], rng) for key, values in columns.items()}
        return made

    def _line(
        self,
        amounts: Float64[np.ndarray, " n_points"],
        scores: Float64[np.ndarray, "n_points n"],
        entry: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the line through a score over log2 of the amount, and what it says of a goal."""
        from braindiffuser.metrics.growth import LogLine, mean_of

        line, floor, last = LogLine(amounts, scores), entry["floor"], float(scores[-1].mean())
        asked = self.goal if self.goal is not None and entry["of"] == "pattern" else None
        goal = floor + GOAL * (last - floor) if asked is None else asked
        reached = line.reaching(goal)
        before = max(int((amounts <= amounts[-1] / ABOUT_TWICE).sum()) - 1, 0)
        per_picture = (scores[-1] - scores[before]) / np.log2(amounts[-1] / amounts[before])
        return {
            "per_doubling": _stored(line.per_doubling),
            "goal": goal,
            "goal_given": asked is not None,
            "reached_at": None if reached is None else _in_sight(reached),
            "sought_to": line.sought_to,
            "line": [_stored(line.at(amount)) for amount in amounts],
            "bend": None if line.bend is None else _stored(line.bend),
            "last_doubling": _stored(mean_of(per_picture)),
            "next_doubling": _stored(mean_of(scores[-1] + per_picture)),
        }


class _Points:
    """Scores points of a curve, picture by picture."""

    def __init__(self, data: RunData, curve: Along, n_drawn: int, label: str) -> None:
        """Remember the curve, whose points are settled."""
        self._data, self._curve, self._n_drawn, self._label = data, curve, n_drawn, label
        self.chosen: Int[np.ndarray, " n_chosen"] = (
            curve.rows[evenly_spaced(len(curve.rows), n_drawn)] if n_drawn else curve.rows[:0]
        )

    def at(self, point: float) -> dict[str, Any]:
        """Score one point: key → score of each picture, as the mean over draws, and of identification the mean without each."""
        from braindiffuser.metrics.scored_pictures import left_out_of

        own = point == self._curve.own
        scores: dict[str, list[Vector]] = {}
        left_out: dict[str, list[Vector]] = {}
        n_draws, shown = 0, list[str]()
        for decoded in self._decoded(point):
            n_draws += 1
            if not self._curve.of_generator:
                for key, values, without in self._score_features(decoded):
                    scores.setdefault(key, []).append(values)
                    _append(left_out, key, without)
            if self._n_drawn and n_draws == 1:
                pictures = self._own_pictures() if own else self._draw(point, decoded)
                drawn = self._data.score(pictures, self._name, self.chosen)
                for key, values in drawn.items():
                    scores.setdefault(f"pictures.{key}", []).append(values)
                    _append(left_out, f"pictures.{key}", left_out_of(drawn, key))
                shown = [_as_text(pictures[place : place + 1]) for place in self._examples]
        return {
            "facts": dict(self._curve.facts(point)),
            "n_draws": n_draws,
            "scores": {key: np.mean(values, axis=0).tolist() for key, values in scores.items()},
            "left_out": {key: np.mean(values, axis=0).tolist() for key, values in left_out.items()},
            "shown": shown,
        }

    def kept_name(self, point: float) -> str:
        """Return what tells a kept point from others: the whole number, and a hash of which pictures are scored, and how."""
        return f"{exactly(point)}-of-{hash_json([KEPT, self._curve.rows.tolist()])[:8]}"

    @property
    def _examples(self) -> Int[np.ndarray, " n_shown"]:
        return evenly_spaced(len(self.chosen), N_EXAMPLES)

    def examples(self, found: Sequence[Mapping[str, Any]]) -> dict[str, Pictures]:
        """Return kind → the same few pictures: as they were seen, and as they were drawn at each point."""
        if not self._n_drawn:
            return {}
        seen, places = self._data.seen("test"), self._places()[self._examples].tolist()
        drawn = {
            f"{self._label}_at{number}": [_from_text(text) for text in own["shown"]] for number, own in enumerate(found)
        }
        first = np.concatenate([seen[place : place + 1] for place in places])
        if are_flat(first).any():  # what a run stores is refused if most of it is of one colour
            return {}
        return {f"{self._label}_seen": first} | {kind: np.concatenate(pictures) for kind, pictures in drawn.items()}

    def rows_of(self, key: str) -> Int[np.ndarray, " n"]:
        """Return the rows of test arrays of the pictures that have a score: those that are drawn, or all."""
        return self._places() if key.startswith("pictures.") else self._curve.first.start + self._curve.rows

    def ids(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the stimulus of each row."""
        ids: Int[np.ndarray, " n"] = self._data.stimulus_ids("test")[rows]
        return ids

    def _decoded(self, point: float) -> Iterator[Mapping[str, Any]]:
        if point == self._curve.own or self._curve.of_generator:
            yield {
                group: self._data.predictions(group)[self._curve.first][self._curve.rows] for group in self._data.groups
            }
        else:
            yield from self._curve.decoded(point)

    @property
    def _name(self) -> str:
        return next(iter(self._data.test_sets))

    def _score_features(self, decoded: Mapping[str, Any]) -> Iterator[tuple[str, Vector, Vector | None]]:
        """Yield keys with scores of each picture, and of identification the mean without each."""
        from braindiffuser.metrics._correlation import paired_correlation
        from braindiffuser.metrics.feature_scores import centred
        from braindiffuser.metrics.two_way_identification import two_way_identified

        for group, values in decoded.items():
            own = self._data.truth(group)[self._curve.first][self._curve.rows]
            made, truth = centred(values, own, self._means[group], self._data.decoders().targets[group])
            yield f"pattern.{group}", paired_correlation(truth, made), None
            yield f"two_way.{group}", *two_way_identified(truth, made)

    @cached_property
    def _means(self) -> dict[str, Float64[np.ndarray, " d"]]:
        from braindiffuser.metrics.nearest_rows import mean_row

        targets = self._data.decoders().targets
        return {group: mean_row(targets[group]) for group in self._data.groups}

    def _places(self) -> Int[np.ndarray, " n_chosen"]:
        """Return the rows of test arrays of the pictures that are drawn."""
        places: Int[np.ndarray, " n_chosen"] = self._curve.first.start + self.chosen
        return places

    def _own_pictures(self) -> Pictures:
        made = self._data.made("final")
        return np.concatenate([made[place : place + 1] for place in self._places().tolist()])

    def _draw(self, point: float, decoded: Mapping[str, Any]) -> Pictures:
        among = np.searchsorted(self._curve.rows, self.chosen)
        features = {group: np.ascontiguousarray(decoded[group][among]) for group in self._data.drawn_groups}
        ids = self._data.stimulus_ids("test")[self._places()]
        if not self._curve.of_generator:
            return self._data.draw(features, ids)["full"]
        begun = {}
        for variant in self._data.chain[:-1]:  # what the diffusion starts from stays as it is
            made = self._data.made(variant)
            begun[variant] = np.concatenate([made[place : place + 1] for place in self._places().tolist()])
        return self._data.draw(features, ids, self._curve.changes(point), begun)["full"]

    def entries(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is known of each score."""
        metrics = self._data.metrics() if self._n_drawn else {}
        made: dict[str, dict[str, Any]] = {}
        for key in keys:
            of, _, name = key.partition(".")
            if of == "pictures":
                own = metrics[name]
                known = {part: own[part] for part in ("label", "higher_is_better", "chance", "bounds")}
                made[key] = {**known, "of": of, "floor": own["chance"] or 0.0}
            else:
                chance, floor, lowest = (0.5, 0.5, 0.0) if of == "two_way" else (None, 0.0, -1.0)
                known = {"label": name, "higher_is_better": True, "chance": chance, "bounds": [lowest, 1.0]}
                made[key] = {**known, "of": of, "floor": floor}
        return made


def _append(rows: dict[str, list[Any]], key: str, row: Vector | None) -> None:
    if row is not None:
        rows.setdefault(key, []).append(row)


def _scored(entry: Mapping[str, Any], scores: Sequence[float], left_out: Sequence[float] | None) -> dict[str, Any]:
    """Return the mean of kept scores with its interval, which allows for other distractors where `left_out` is known."""
    from braindiffuser.metrics.growth import point_of

    without = None if left_out is None else np.array(left_out)
    return _stored(point_of(np.array(scores), entry["bounds"], entry["chance"], without))


def _stored(found: Interval) -> dict[str, Any]:
    return {"value": found.value, "ci95": [found.low, found.high]}


def _in_sight(found: Interval) -> dict[str, Any]:
    """Return an interval of amounts; an end that is 0 or infinite, since it lies out of sight, as None."""
    return {"value": found.value, "ci95": [None if end in (0.0, np.inf) else end for end in found[1:]]}


def _differences(
    amounts: Float64[np.ndarray, " n_points"], scores: Float64[np.ndarray, "n_points n"], reference: int
) -> list[dict[str, Any]]:
    """Compare every point with the reference, picture by picture."""
    from braindiffuser.metrics.growth import paired_difference

    made = []
    for number, at in enumerate(amounts.tolist()):
        if number != reference:
            found, p = paired_difference(scores[number], scores[reference])
            made.append({"at": at, **_stored(found), "p": p})
    return made


def _r90(
    amounts: Float64[np.ndarray, " n_points"],
    scores: Float64[np.ndarray, "n_points n"],
    entry: Mapping[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """Return the smallest rank with 90 % of the whole decoder's gain; None where the whole decoder gains nothing."""
    from braindiffuser.metrics.growth import reaching_interval

    if not entry["higher_is_better"] or scores[-1].mean() <= entry["floor"]:
        return None
    found = reaching_interval(amounts, scores, entry["floor"], rng)
    return _stored(found)


def _as_text(picture: Pictures) -> str:
    """Write one picture (1, 3, height, width) as PNG in base64, at most `SHOWN_SIDE` pixels to a side."""
    side = min(SHOWN_SIDE, picture.shape[-1])
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(resize(picture, side))[0]).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _from_text(text: str) -> Pictures:
    return from_uint8(np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))[None])


def _per_image(scored: _Points, points: Sequence[float], found: Sequence[Mapping[str, Any]]) -> Any:
    """Return a row for each point, score and picture."""
    import pandas as pd

    tables = []
    for point, own in zip(points, found, strict=True):
        for key, values in own["scores"].items():
            rows = scored.rows_of(key)
            facts = {"at": point, "score": key, "number": rows, "stimulus_id": scored.ids(rows), "value": values}
            tables.append(pd.DataFrame(facts))
    return pd.concat(tables, ignore_index=True)
