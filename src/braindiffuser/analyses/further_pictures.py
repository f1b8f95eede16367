"""ROI maximisation beyond one picture of each region: what is drawn further, and what pictures have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from braindiffuser.analyses.analysis import Outcome, RunData
from braindiffuser.analyses.random_masks import shuffled_masks
from braindiffuser.analyses.region_pictures import (
    STREAM,
    Measures,
    Request,
    category_network,
    compare_similarities,
    contrast_directions,
    draw_requests,
    expected_groups,
    measure,
    summarise_measures,
    table_of,
)
from braindiffuser.analyses.roi_maximisation import maximise, roi_patterns, set_length, training_length
from braindiffuser.errors import RunError
from braindiffuser.report.further_pictures_section import further_blocks

if TYPE_CHECKING:
    from braindiffuser.analyses.chosen_regions import Masks
    from braindiffuser.analyses.roi_maximisation import ROIMaximisation


def draw_and_measure(wanted: ROIMaximisation, data: RunData, outcome: Outcome, masks: Masks) -> Outcome:
    """Add further pictures, measures and their tables to what ROI maximisation found.

    Args:
        wanted: says what is asked for.
        data: of the run.
        outcome: one picture of each region, drawn with the noise of id 0.
        masks: of these regions, in the order of the pictures.
    """
    if not (wanted.measured or wanted.n_samples > 1 or wanted.strengths or wanted.opposite or wanted.contrasts):
        return outcome
    directions = _Directions(wanted, data, masks)
    requests = directions.requests()
    drawn = dict(zip([each.kind for each in requests], draw_requests(data, requests), strict=True))
    kept = {
        f"{wanted.label}_{kind}_{variant}": pictures
        for kind, by_variant in drawn.items()
        if kind not in ("mean", "random")
        for variant, pictures in by_variant.items()
    }
    facts: dict[str, Any] = {
        "n_samples": wanted.n_samples,
        "strengths": list(wanted.strengths),
        "contrasts": [list(pair) for pair in wanted.contrasts],
        "regions": list(masks),
    }
    tables = {}
    if wanted.measured:
        facts["likeness"] = directions.likeness()
        facts["expected"] = expected_groups(list(masks))
        facts["measures"], facts["categories"], tables["measures"] = directions.measures(outcome, requests, drawn)
    blocks = further_blocks(wanted.label, facts, list(kept))
    section = outcome.section.model_copy(update={"blocks": (*outcome.section.blocks, *blocks)})
    return replace(
        outcome,
        section=section,
        pictures={**outcome.pictures, **kept},
        facts={**outcome.facts, "further": facts},
        tables=tables,
    )


class _Directions:
    """Directions of regions and of random sets, and what is made of them."""

    def __init__(self, wanted: ROIMaximisation, data: RunData, masks: Masks) -> None:
        """Project the patterns of regions and of random sets in one pass over the training targets."""
        self._wanted, self._data, self._masks = wanted, data, masks
        n_random = wanted.n_random if wanted.measured else 0
        rng = np.random.default_rng([data.seed, STREAM])
        random = shuffled_masks(np.stack(list(masks.values())), n_random, rng, data.noise_ceiling)
        patterns = np.concatenate([roi_patterns(masks), *(each.astype(np.float32) for each in random)])
        self._projected = data.decoders().of(data.drawn_groups).project(patterns)
        n = len(masks)
        self._own = {group: made.values[:n] for group, made in self._projected.items()}
        self._random = {
            group: made.values[n:].reshape(n_random, n, made.values.shape[1]) for group, made in self._projected.items()
        }

    def requests(self) -> list[Request]:
        """Return all that is to be drawn."""
        wanted, names, own = self._wanted, tuple(self._masks), self._own
        made, zeros = [], np.zeros(len(names), np.int64)
        if wanted.n_samples > 1:
            further = np.arange(1, wanted.n_samples)
            features = {
                group: np.repeat(self._placed(group, values), len(further), axis=0) for group, values in own.items()
            }
            every = tuple(name for name in names for _ in further)
            made.append(Request("samples", every, features, np.tile(further, len(names))))
        for number, strength in enumerate(wanted.strengths, start=1):
            made.append(Request(f"strength{number}", names, self._moved(own, strength), zeros))
        if wanted.opposite:
            made.append(Request("opposite", names, self._moved(own, -1.0), zeros))
        if wanted.contrasts:
            directions = contrast_directions(own, self._masks, wanted.contrasts)
            pairs = tuple(f"{first} − {second}" for first, second in wanted.contrasts)
            made.append(Request("contrast", pairs, self._moved(directions, 1.0), np.zeros(len(pairs), np.int64)))
        return [*made, *self._references()] if wanted.measured else made

    def _references(self) -> list[Request]:
        """Return pictures of the mean feature, and of random sets, each with the noise of all samples: as regions have."""
        ids = np.arange(self._wanted.n_samples)
        none = {group: np.zeros((len(ids), values.shape[1]), values.dtype) for group, values in self._own.items()}
        made = [Request("mean", ("",) * len(ids), self._moved(none, 0.0), ids)]
        drawn = min(self._wanted.n_random_drawn, self._wanted.n_random)
        if drawn:
            features = {
                group: np.repeat(np.concatenate([self._placed(group, own) for own in draws[:drawn]]), len(ids), axis=0)
                for group, draws in self._random.items()
            }
            names = tuple(name for _ in range(drawn) for name in self._masks for _ in ids)
            made.append(Request("random", names, features, np.tile(ids, drawn * len(self._masks))))
        return made

    def _placed(self, group: str, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n ..."]:
        """Turn directions of all regions into features, by the analysis' own rule of lengths."""
        made = self._projected[group]
        try:
            placed = maximise(
                group, values, made.intercept, made.training_mean, made.training_std, self._wanted.lengths
            )
        except ValueError as error:
            raise RunError(f"{self._wanted.label}: {error}") from error
        return self._shaped(group, placed)

    def _moved(
        self, directions: Mapping[str, Float[np.ndarray, "n d"]], strength: float
    ) -> dict[str, Float[np.ndarray, "n ..."]]:
        """M + strength · L · B p / ‖B p‖ of each group."""
        moved = {}
        for group, values in directions.items():
            made = self._projected[group]
            length = abs(strength) * training_length(made.training_std)
            placed = np.sign(strength) * set_length(values, length) + made.training_mean
            moved[group] = self._shaped(group, placed.astype(values.dtype))
        return moved

    def _shaped(self, group: str, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n ..."]:
        return values.reshape(-1, *self._data.predictions(group).shape[1:])

    def likeness(self) -> dict[str, Any]:
        """Compare the directions of regions with each other, beside random sets, in each target group."""
        if not self._wanted.n_random:
            return {}
        return {group: compare_similarities(values, self._random[group]) for group, values in self._own.items()}

    def measures(
        self, outcome: Outcome, requests: Sequence[Request], drawn: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[str, Any], str, Any]:
        """Measure all pictures.

        Returns:
            Variant → region → measure → summary, why there are no categories ("" if there are), and a table with a row for each
            picture.
        """
        classify, lacking = category_network(self._data.device)
        rows, summaries = [], {}
        for variant, reference in drawn["mean"].items():
            first = Request("region", tuple(self._masks), {}, np.zeros(len(self._masks), np.int64))
            pictures = {
                "region": outcome.pictures[f"{self._wanted.label}_{variant}"],
                **{k: v[variant] for k, v in drawn.items()},
            }
            found: dict[str, dict[str, Measures]] = {}
            for each in (first, *requests):
                if each.kind != "mean":
                    measured = measure(pictures[each.kind], reference[each.ids], classify)
                    found[each.kind] = _by_name(measured, each.names)
                    for name, own in found[each.kind].items():
                        ids = each.ids[[other == name for other in each.names]]
                        rows.append((each.kind, name, variant, ids, own))
            summaries[variant] = self._summaries(found)
        return summaries, lacking, table_of(rows)

    def _summaries(self, found: Mapping[str, Mapping[str, Measures]]) -> dict[str, Any]:
        samples = {
            name: {
                measure: np.concatenate([values, *([found["samples"][name][measure]] if "samples" in found else [])])
                for measure, values in own.items()
            }
            for name, own in found["region"].items()
        }
        n_samples = self._wanted.n_samples
        random = {
            name: {measure: values.reshape(-1, n_samples).mean(axis=1) for measure, values in own.items()}
            for name, own in found.get("random", {}).items()
        }
        return {name: summarise_measures(own, random.get(name)) for name, own in samples.items()}


def _by_name(measured: Measures, names: Sequence[str]) -> dict[str, Measures]:
    """Split measures by the name of each picture."""
    places = {name: [other == name for other in names] for name in dict.fromkeys(names)}
    return {name: {key: values[own] for key, values in measured.items()} for name, own in places.items()}
