"""Accuracy of decoded features of a made-up run, whose decoders are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from braindiffuser.analyses.decoder_accuracy import DecoderAccuracy
from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows

from .linear_world import run_of

N_TRAIN = 120
ALPHAS = {"latents": (3.0, 300.0, 30_000.0), "vision": (0.01, 0.1), "noise": (100.0,)}


def run_data(calibration="inductive"):
    """Latents and vision are decodable, noise is not; a column of vision never varies over the first test set."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((N_TRAIN + 60, 6))
    responses = factors @ rng.standard_normal((6, 40)) + 2 * rng.standard_normal((N_TRAIN + 60, 40))
    features = {
        "latents": factors @ rng.standard_normal((6, 30)) + rng.standard_normal((N_TRAIN + 60, 30)) + 5,
        "vision": (factors @ rng.standard_normal((6, 24)) + rng.standard_normal((N_TRAIN + 60, 24))).reshape(-1, 2, 12),
        "noise": rng.standard_normal((N_TRAIN + 60, 20)),
    }
    features["vision"][N_TRAIN : N_TRAIN + 45, 1, 0] = 1
    features = {group: values.astype(np.float32) for group, values in features.items()}
    part = RidgeRegression(alphas=ALPHAS, calibration=calibration)
    rows = TrainingRows(responses[:N_TRAIN].astype(np.float32))
    targets = {group: values[:N_TRAIN] for group, values in features.items()}
    decoders = RunDecoders(part, part.fit(rows, targets, "cpu"), rows, targets)
    test, sets = (
        responses[N_TRAIN:].astype(np.float32),
        {"test": slice(0, 45), "held_out": slice(45, 58), "two": slice(58, 60)},
    )
    parts = [decoders.decode(test[own]) for own in sets.values()]
    return run_of(
        noise_ceiling=np.full(40, np.nan),
        test_sets=sets,
        responses=lambda split: test,
        predictions=lambda group: np.concatenate([made[group] for made in parts]),
        truth=lambda group: features[group][N_TRAIN:],
        groups=tuple(features),
        decoders=lambda: decoders,
    )


@pytest.fixture(scope="module", params=["inductive", "transductive"])
def data(request):
    return run_data(request.param)


@pytest.fixture(scope="module")
def outcome(data):
    return DecoderAccuracy(n_permutations=199).run(data)


def test_r2_is_what_the_authors_scripts_print(data, outcome):
    rows, targets = data.decoders().rows, data.decoders().targets
    for group in ("latents", "noise"):
        own = outcome.facts["groups"][group]
        model = Ridge(own["alpha"]).fit(rows.responses, targets[group])
        printed = model.score(data.responses("test")[:45], data.truth(group)[:45])
        assert own["sets"]["test"]["r2"]["value"] == pytest.approx(printed, abs=1e-4)
        calibrated = r2_score(data.truth(group)[:45], data.predictions(group)[:45])
        assert own["sets"]["test"]["r2_calibrated"] == pytest.approx(calibrated, abs=1e-4)


def test_what_can_be_decoded_is_told_from_what_cannot(outcome):
    groups = outcome.facts["groups"]
    for group in ("latents", "vision"):
        own = groups[group]["sets"]["test"]
        assert own["r2"]["p"] == own["correlation"]["p"] == 1 / 200
        assert own["correlation"]["value"] > own["correlation"]["null95"][1]
    assert groups["noise"]["sets"]["test"]["correlation"]["p"] > 0.05
    assert groups["noise"]["sets"]["test"]["above_chance"] < 0.3


def test_sets_are_scored_apart_and_those_of_two_pictures_are_not(outcome):
    facts = outcome.facts
    assert facts["test_sets"] == {"test": 45, "held_out": 13}
    assert facts["remarks"] == ["Test set two has too few pictures to correlate over."]
    assert all(own["sets"].keys() == {"test", "held_out"} for own in facts["groups"].values())


def test_features_that_never_vary_are_counted_apart(outcome):
    own = outcome.facts["groups"]["vision"]
    assert own["n_targets"] == 24
    assert own["sets"]["test"]["n_constant"] == 1
    assert own["sets"]["held_out"]["n_constant"] == 0
    tokens = outcome.tables["tokens"]
    assert tokens[tokens.group == "vision"].n_features.tolist() == [12, 11]
    assert len(tokens) == 1 + 2 + 1


def test_cross_validated_values_are_of_the_decoders_own_alpha(data, outcome):
    groups = outcome.facts["groups"]
    stored = data.decoders().facts("latents")["mean_cv_r2"]
    assert groups["latents"]["cross_validated"]["r2"] == pytest.approx(stored)
    assert groups["latents"]["alpha_at_edge_of_grid"] is False
    assert groups["vision"]["alpha_at_edge_of_grid"] is True
    assert groups["noise"]["cross_validated"]["r2"] < 0.01


def test_cross_validation_is_held_against_a_decoder_of_as_many_pictures(data, outcome):
    """Four of five folds: 96 of 120 pictures, which are more than half and fewer than all."""
    own = outcome.facts["groups"]["latents"]
    point = own["cross_validated"]["as_many"]
    assert point["n_stimuli"] == 96
    again = DecoderAccuracy(growth=(0.8,), cross_validation=False, n_permutations=9).run(data).facts["groups"]
    assert point == again["latents"]["growth"][0]
    assert "with 96 training pictures, as folds have)" in outcome.section.blocks[0].text


def test_where_the_regressor_names_no_folds_the_own_decoder_is_held_against_it(data, monkeypatch):
    monkeypatch.setattr("braindiffuser.analyses.decoder_accuracy._size_of_folds", lambda decoders: 0)
    made = DecoderAccuracy(growth=(), n_permutations=19).run(data)
    assert made.facts["groups"]["latents"]["cross_validated"]["as_many"] is None
    assert "cross-validation" in made.section.blocks[0].text


def test_the_curve_of_growth_ends_in_the_runs_own_decoder(data, outcome):
    for group in ("latents", "vision"):
        own = outcome.facts["groups"][group]
        assert [point["n_stimuli"] for point in own["growth"]] == [15, 30, 60, 120]
        assert own["growth"][-1]["r2"]["value"] == own["sets"]["test"]["r2"]["value"]
    values = [point["correlation"]["value"] for point in outcome.facts["groups"]["latents"]["growth"]]
    assert values[0] + 0.05 < values[1] < values[-1]
    again = (
        DecoderAccuracy(growth=(0.5,), cross_validation=False, n_permutations=9).run(data).facts["groups"]["latents"]
    )
    assert [point["n_stimuli"] for point in again["growth"]] == [60, 120]
    assert again["growth"][0] == outcome.facts["groups"]["latents"]["growth"][2]
    assert again["cross_validated"] is None


def test_growth_is_of_random_pictures_scored_on_the_first_test_set(data, outcome):
    own = outcome.facts["groups"]["latents"]
    chosen = np.zeros(N_TRAIN, bool)
    chosen[np.random.default_rng((0, N_TRAIN)).permutation(N_TRAIN)[:60]] = True
    decoders = data.decoders().uncalibrated().fitted_to(chosen)
    decoded = decoders.decode(data.responses("test")[:45])["latents"]
    assert own["growth"][2]["r2"]["value"] == pytest.approx(r2_score(data.truth("latents")[:45], decoded), abs=1e-5)


def test_tokens_are_the_first_axis_of_a_target(data, outcome):
    tokens = outcome.tables["tokens"].query("group == 'vision'")
    decoded = data.decoders().uncalibrated().decode(data.responses("test"))["vision"][:45]
    for token in (0, 1):
        truth, own = data.truth("vision")[:45, token], decoded[:, token]
        varies = truth.std(axis=0) > 0
        assert varies.sum() == [12, 11][token]
        expected = r2_score(truth[:, varies], own[:, varies])
        assert tokens["r2"].iloc[token] == pytest.approx(expected, abs=1e-4)
        r = [np.corrcoef(truth[:, k], own[:, k])[0, 1] for k in np.flatnonzero(varies)]
        assert tokens["correlation"].iloc[token] == pytest.approx(np.mean(r), abs=1e-4)


def test_facts_are_json_and_the_page_says_what_they_mean(outcome):
    json.dumps(outcome.facts, allow_nan=False)
    said = [block.text for block in outcome.section.blocks if block.type == "text"]
    assert said[0].startswith("latents: decoded beyond chance, correlation 0.")
    assert "alpha lies at the edge of its grid, so widen the grid" in said[1]
    assert said[2].startswith("noise: not decoded beyond chance")
    assert [block.type for block in outcome.section.blocks].count("figures") == 1


def test_too_few_test_pictures_are_said(data):
    outcome = DecoderAccuracy().run(replace(data, test_sets={"test": slice(0, 2)}))
    assert outcome.section.blocks[0].text.startswith("There are fewer than 3 test pictures, so")
