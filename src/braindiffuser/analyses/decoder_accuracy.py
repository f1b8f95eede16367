"""Decoder accuracy: R² and correlation of decoded features, before anything is drawn, and what to hold them against.

Each regression script of Ozcelik & VanRullen (2023) prints the R² of the test set, and a user's first question is whether that is
normal. Three references answer it for any recording: the same value in cross-validation on training pictures, after exchange of
test pictures, and of decoders fitted to fewer pictures. R² is further held against r², the most that a correlation r allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.errors import RunError
from braindiffuser.metrics.feature_accuracy import (
    FEWEST_STIMULI,
    Estimated,
    FeatureAccuracy,
    chance_correlation,
    feature_accuracy,
)
from braindiffuser.regression.regressor import CrossValidated
from braindiffuser.report.accuracy_section import accuracy_section, no_accuracy_section

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the distribution over features, in the facts."""
N_BINS = 40
"""Bins of the histogram of R²."""
FEWEST_TO_FIT = 8
"""Training stimuli below which the curve of growth has no point."""

Share = Annotated[float, Field(gt=0, lt=1)]


class DecoderAccuracy(Analysis):
    """Score decoded features against the test stimuli's own, group by group.

    Facts, stored as `analyses/<label>.json`: `n_train`; `n_permutations`; `test_sets`, name → number of stimuli; `remarks`,
    sentences; and `groups`, group → facts of the group:

    - `n_targets`, `alpha`, `alpha_at_edge_of_grid` (null where the regressor does not say)
    - `cross_validated`: `r2`, `correlation`, `r2_quantiles`, and `as_many`, a point of growth by a decoder fitted to as many
      pictures as each fold's (null where the regressor does not say how many); null if it was not computed
    - `growth`: a list of `n_stimuli`, `r2`, `correlation`, the last two with `value`, `ci95`; it ends with the run's own decoder
    - `sets`: test set → `r2` and `correlation` (each `value`, `ci95`, `null95`, `p`), `best_scaled_r2`, `r2_calibrated`,
      `r2_quantiles` and `correlation_quantiles` over features, `above_chance` (share of features), `n_constant` (features that do
      not vary and are left out), `histogram` of R² (`edges`, `counts`)
    """

    cross_validation: bool = Field(
        True,
        description="Whether decoders are refitted in folds of the training pictures, to hold test accuracy against; takes a few "
        "fits more, one of them to as many pictures as a fold's.",
    )
    growth: Annotated[tuple[Share, ...], EACH_ONCE] = Field(
        (0.125, 0.25, 0.5),
        description="Shares of the training pictures that decoders are fitted to anew, for the curve of accuracy; [] draws none.",
    )
    n_permutations: int = Field(
        1000,
        ge=1,
        description="Exchanges of test pictures, which give chance and p. With fewer than 19 the page does not say whether "
        "features are decoded beyond chance.",
    )

    def run(self, data: RunData) -> Outcome:
        """Score every group on every test set of three stimuli or more."""
        import pandas as pd

        sizes = {name: rows.stop - rows.start for name, rows in data.test_sets.items()}
        sets = {name: rows for name, rows in data.test_sets.items() if sizes[name] >= FEWEST_STIMULI}
        if next(iter(data.test_sets)) not in sets:
            why = f"There are fewer than {FEWEST_STIMULI} test pictures"
            return Outcome(no_accuracy_section(self.label, why))
        decoders = data.decoders().uncalibrated()
        remarks = [f"Test set {name} has too few pictures to correlate over." for name in sizes if name not in sets]
        test = next(iter(sets.values()))
        grown = self._growth(data, decoders, test)
        validated = decoders.cross_validated() if self.cross_validation else {}
        as_many = dict(_fitted_to(data, decoders, test, _size_of_folds(decoders))) if validated else {}
        groups, points, tokens = dict[str, Any](), {}, []
        for group, predicted in decoders.decode_each(data.responses("test")):
            scored, stored = self._score(data, group, predicted, sets, remarks)
            first = scored.get(next(iter(sets)))
            if first is None:
                continue
            groups[group] = {
                **_facts_of_decoder(decoders, group),
                "n_targets": len(first.r2),
                "cross_validated": _facts_of_validation(validated.get(group), first, as_many.get(group)),
                "growth": [*grown.get(group, []), _point(decoders.rows.n_stimuli, first)],
                "sets": stored,
            }
            points[group] = first.correlation, first.r2
            tokens.append(_by_token(group, first, predicted.shape[1:]))
        if not groups:
            return Outcome(no_accuracy_section(self.label, "No feature of any group varies over the test pictures"))
        facts = {
            "n_train": decoders.rows.n_stimuli,
            "n_permutations": self.n_permutations,
            "test_sets": {name: sizes[name] for name in sets},
            "remarks": remarks,
            "groups": groups,
        }
        section = accuracy_section(self.label, facts, points)
        return Outcome(section, facts=facts, tables={"tokens": pd.concat(tokens, ignore_index=True)})

    def _score(
        self,
        data: RunData,
        group: str,
        predicted: Float[np.ndarray, "n_test ..."],
        sets: Mapping[str, slice],
        remarks: list[str],
    ) -> tuple[dict[str, FeatureAccuracy], dict[str, Any]]:
        """Score one group on every test set: accuracies, and their facts; sets that cannot be scored go to the remarks."""
        truth, calibrated = data.truth(group), data.predictions(group)
        scored, stored = {}, {}
        for name, rows in sets.items():
            rng = np.random.default_rng((data.seed, rows.start))
            try:
                made = feature_accuracy(_flat(truth[rows]), _flat(predicted[rows]), rng, self.n_permutations)
                handed_on = feature_accuracy(_flat(truth[rows]), _flat(calibrated[rows]), rng, 0)
            except ValueError as error:
                remarks.append(f"{group} of test set {name} has no accuracy: {error}.")
                continue
            scored[name] = made
            stored[name] = {**_facts_of_set(made), "r2_calibrated": handed_on.mean_r2.value}
        return scored, stored

    def _growth(self, data: RunData, decoders: RunDecoders, test: slice) -> dict[str, list[Any]]:
        """Fit decoders to nested random parts of the training stimuli, and score them on a test set."""
        found = dict[str, list[Any]]()
        for share in sorted(self.growth):
            for group, point in _fitted_to(data, decoders, test, int(share * decoders.rows.n_stimuli)):
                found.setdefault(group, []).append(point)
        return found


def _fitted_to(data: RunData, decoders: RunDecoders, test: slice, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fit decoders to some training stimuli, the first of one random order, and yield each group's point on a test set."""
    n = decoders.rows.n_stimuli
    if size < FEWEST_TO_FIT:
        return
    chosen = np.zeros(n, bool)
    chosen[np.random.default_rng((data.seed, n)).permutation(n)[:size]] = True
    try:
        fewer = decoders.fitted_to(chosen)
    except RunError:  # fewer stimuli than folds
        return
    for group, predicted in fewer.decode_each(data.responses("test")[test]):
        try:
            made = feature_accuracy(_flat(data.truth(group)[test]), _flat(predicted), np.random.default_rng(0), 0)
        except ValueError:  # of the whole fit it is said why
            continue
        yield group, _point(size, made)


def _size_of_folds(decoders: RunDecoders) -> int:
    """Return how many training stimuli each fold of cross-validation is fitted to; 0 where the regressor does not say."""
    n_folds = getattr(decoders.regressor, "n_folds", None)
    return decoders.rows.n_stimuli * (n_folds - 1) // n_folds if n_folds else 0


def _flat(features: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n d"]:
    return features.reshape(len(features), -1)


def _facts_of_decoder(decoders: RunDecoders, group: str) -> dict[str, Any]:
    facts = decoders.facts(group)
    alpha, at_edge = facts.get("alpha"), facts.get("alpha_at_edge_of_grid")
    return {"alpha": None if alpha is None else float(alpha), "alpha_at_edge_of_grid": at_edge}


def _facts_of_validation(
    found: CrossValidated | None, first: FeatureAccuracy, as_many: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Summarise over the features that vary over the test pictures, so that means are of the same features."""
    if found is None:
        return None
    r2, correlation = found.r2[first.varies], found.correlation[first.varies]
    means = {"r2": float(r2.mean()), "correlation": float(correlation.mean())}
    return {**means, "r2_quantiles": _quantiles(r2), "as_many": as_many}


def _facts_of_set(made: FeatureAccuracy) -> dict[str, Any]:
    r2, correlation = made.r2[made.varies], made.correlation[made.varies]
    low, high = np.quantile(r2, [0.005, 1])
    edges = np.linspace(low, max(high, low + 1e-6), N_BINS + 1)
    return {
        "r2": _facts_of_mean(made.mean_r2),
        "correlation": _facts_of_mean(made.mean_correlation),
        "best_scaled_r2": made.best_scaled_r2,
        "r2_quantiles": _quantiles(r2),
        "correlation_quantiles": _quantiles(correlation),
        "above_chance": float((correlation > chance_correlation(made.n_stimuli)).mean()),
        "n_constant": int((~made.varies).sum()),
        "histogram": {"edges": edges.tolist(), "counts": np.histogram(r2.clip(edges[0], edges[-1]), edges)[0].tolist()},
    }


def _facts_of_mean(mean: Estimated) -> dict[str, Any]:
    return {"value": mean.value, "ci95": [mean.low, mean.high], "null95": list(mean.null), "p": mean.p}


def _point(n_stimuli: int, made: FeatureAccuracy) -> dict[str, Any]:
    means = {"r2": made.mean_r2, "correlation": made.mean_correlation}
    own = {key: {"value": mean.value, "ci95": [mean.low, mean.high]} for key, mean in means.items()}
    return {"n_stimuli": n_stimuli, **own}


def _quantiles(values: Float[np.ndarray, " n"]) -> dict[str, float]:
    found = np.quantile(values, QUANTILES)
    return {f"{q:g}": float(value) for q, value in zip(QUANTILES, found, strict=True)}


def _by_token(group: str, made: FeatureAccuracy, shape: tuple[int, ...]) -> Any:
    """Return the mean over the features of each token, as the authors' scripts print them; one row where there are no tokens."""
    import pandas as pd

    n_tokens = shape[0] if len(shape) > 1 else 1
    varies = made.varies.reshape(n_tokens, -1)
    n = varies.sum(axis=1)
    columns = {}
    for key, values in (("r2", made.r2), ("correlation", made.correlation)):
        sums = np.where(varies, values.reshape(n_tokens, -1), 0).sum(axis=1)
        columns[key] = np.divide(sums, n, out=np.full(n_tokens, np.nan), where=n > 0)
    return pd.DataFrame({"group": group, "token": np.arange(n_tokens), "n_features": n, **columns})
