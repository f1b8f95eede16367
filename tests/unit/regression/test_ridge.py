import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import GroupKFold

from braindiffuser.errors import RunError
from braindiffuser.regression import Calibration, Ridge, RidgeCV, decoders, selection
from braindiffuser.regression.fitted_decoder import load_decoder, save_decoder
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows

ALPHAS = {"latents": (0.1, 10.0, 1e3), "vision": (5.0,)}
CALIBRATIONS = ("inductive", "transductive", "none")


def example(seed=0, scale=1.0):
    """Rows, targets of three groups, and two test sets, of which one has larger responses."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(100).standard_normal((12, 27)) / 3
    X = rng.standard_normal((50, 12)).astype(np.float32)
    Y = (X @ weights + rng.standard_normal((50, 27)) + 3).astype(np.float32)
    targets = {"latents": Y[:, :9], "vision": Y[:, 9:21].reshape(50, 3, 4), "text": Y[:, 21:]}
    tests = {"test": rng.standard_normal((9, 12)), "held_out": 2 * rng.standard_normal((7, 12)) + 1}
    return TrainingRows(X), targets, {name: values.astype(np.float32) for name, values in tests.items()}


def decoded(part, groups=("latents", "vision", "text"), tests=None):
    rows, targets, responses = example()
    targets = {name: targets[name] for name in groups}
    return dict(part.decode(part.fit(rows, targets, "cpu"), rows, targets, tests or responses, "cpu"))


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_each_test_set_is_predicted_as_ridge_does_and_calibrated_apart(calibration):
    rows, targets, tests = example()
    part = RidgeRegression(alphas=ALPHAS, calibration=calibration, n_folds=4)
    fitted = part.fit(rows, targets, "cpu")
    for group, made in part.decode(fitted, rows, targets, tests, "cpu"):
        arrays, values = fitted[group].arrays, targets[group].reshape(50, -1)
        dense = Ridge(arrays["alphas"][0]).fit(rows.responses, values)
        cv = arrays.get("prediction_mean"), arrays.get("prediction_std")
        rule = Calibration(values.mean(0, np.float64), values.std(0, dtype=np.float64), *cv, name=calibration)
        assert made.keys() == tests.keys()
        for name, responses in tests.items():
            assert made[name].dtype == np.float32
            assert_allclose(made[name], rule.apply(dense.predict(responses)), rtol=1e-3, atol=1e-4)


def test_under_transductive_every_test_set_gets_the_training_mean_and_spread():
    _, targets, _ = example()
    for group, made in decoded(RidgeRegression(calibration="transductive", alphas=ALPHAS)).items():
        for values in made.values():
            assert_allclose(values.mean(0), targets[group].reshape(50, -1).mean(0), rtol=1e-4)
            assert_allclose(values.std(0), targets[group].reshape(50, -1).std(0), rtol=1e-4)


alphas = st.lists(
    st.sampled_from([0.0, 1e-4, 1.0, 300.0, 1e4, 1e5, *np.geomspace(1e-2, 1e6, 9)]), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=15)
@given(own=alphas, other=alphas, calibration=st.sampled_from(CALIBRATIONS))
def test_a_group_is_learnt_and_decoded_to_the_same_bits_whichever_others_come_with_it(own, other, calibration):
    rows, targets, tests = example()
    one = RidgeRegression(alphas={"latents": own}, calibration=calibration, n_folds=3)
    two = RidgeRegression(alphas={"latents": own, "vision": other}, calibration=calibration, n_folds=3)
    assert one.influences_of("latents", "cpu") == two.influences_of("latents", "cpu")
    alone = one.fit(rows, {"latents": targets["latents"]}, "cpu")
    together = two.fit(rows, targets, "cpu")
    assert together["latents"].facts == alone["latents"].facts
    assert together["latents"].arrays.keys() == alone["latents"].arrays.keys()
    for name, values in alone["latents"].arrays.items():
        assert_array_equal(together["latents"].arrays[name], values)
    made = dict(one.decode(alone, rows, targets, tests, "cpu"))
    assert list(made) == ["latents"]
    beside = dict(two.decode(together, rows, targets, tests, "cpu"))
    for name, values in made["latents"].items():
        assert_array_equal(beside["latents"][name], values)
    patterns = tests["test"][:3]
    projected = dict(two.project(together, rows, targets, patterns, "cpu"))["latents"]
    for values, same in zip(
        dict(one.project(alone, rows, targets, patterns, "cpu"))["latents"], projected, strict=True
    ):
        assert_array_equal(same, values)


def test_projections_with_the_intercept_are_the_uncalibrated_predictions():
    rows, targets, tests = example()
    part = RidgeRegression(alphas=ALPHAS, calibration="none")
    assert part.linear
    fitted = part.fit(rows, targets, "cpu")
    made = dict(part.decode(fitted, rows, targets, tests, "cpu"))
    for group, projection in part.project(fitted, rows, targets, tests["test"], "cpu"):
        assert_allclose(projection.values + projection.intercept, made[group]["test"], rtol=1e-4, atol=1e-4)
        assert_allclose(projection.training_mean, targets[group].reshape(50, -1).mean(0), rtol=1e-5)
        assert_allclose(projection.training_std, targets[group].reshape(50, -1).std(0), rtol=1e-5)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_what_was_learnt_is_small_and_decodes_alike_from_its_file(tmp_path, calibration):
    rows, targets, tests = example()
    part = RidgeRegression(alphas=ALPHAS, calibration=calibration)
    fitted, loaded = part.fit(rows, targets, "cpu"), {}
    for group, own in fitted.items():
        assert max(values.size for values in own.arrays.values()) == targets[group].reshape(50, -1).shape[1]
        save_decoder(tmp_path / f"{group}.safetensors", own, {"group": group})
        loaded[group] = load_decoder(tmp_path / f"{group}.safetensors", {"group": group})
        assert loaded[group].facts == own.facts
    made = dict(part.decode(fitted, rows, targets, tests, "cpu"))
    for group, sets in part.decode(loaded, rows, targets, tests, "cpu"):
        for name, values in sets.items():
            assert_array_equal(values, made[group][name])


def test_facts_tell_the_choice_of_alpha():
    rows, targets, _ = example()
    fitted = RidgeRegression(alphas=ALPHAS, calibration="none").fit(rows, targets, "cpu")
    assert fitted["vision"].facts == {"alpha": 5.0}
    assert fitted["latents"].facts["alpha"] in ALPHAS["latents"]
    assert fitted["text"].facts["alpha"] in RidgeRegression().default_alphas
    assert set(fitted["text"].facts) == {"alpha", "alpha_at_edge_of_grid", "mean_cv_r2"}


def test_the_r2_that_is_told_is_that_of_the_chosen_alpha():
    """By scikit-learn's ridge: R² over all stimuli, each predicted from the folds that leave it out, mean over targets."""
    rows, targets, _ = example()
    n = len(rows.responses)
    folds = list(GroupKFold(5).split(rows.responses, groups=np.arange(n)))
    told, y = RidgeRegression(alphas=ALPHAS).fit(rows, targets, "cpu"), targets["latents"].reshape(n, -1).astype(float)
    facts = told["latents"].facts
    predicted = np.empty_like(y)
    for train, left_out in folds:
        fitted = SklearnRidge(facts["alpha"]).fit(rows.responses[train], y[train])
        predicted[left_out] = fitted.predict(rows.responses[left_out])
    r2 = 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    assert facts["mean_cv_r2"] == pytest.approx(r2.mean(), abs=1e-4)


def test_progress_counts_the_columns_of_all_groups_and_folds():
    rows, targets, tests = example()
    part, told = RidgeRegression(alphas=ALPHAS, n_folds=3), []
    fitted = part.fit(rows, targets, "cpu", lambda *said: told.append(said))
    assert told[-1] == ("choosing alpha and calibration", 3 * 27, 3 * 27)
    dict(part.decode(fitted, rows, targets, tests, "cpu", lambda *said: told.append(said)))
    assert told[-1] == ("predicting features of the test stimuli", 27, 27)


def test_influences_of_a_group_are_its_own_alphas_and_all_else():
    part = RidgeRegression(alphas={"latents": [1.0, 2.0], "vision": [3.0]})
    rest = {"kind": "ridge", "weights": "equal", "n_folds": 5, "n_predicted": None, "calibration": "inductive"}
    assert part.influences_of("latents", "cpu") == {**rest, "alphas": [1.0, 2.0]}
    assert part.influences_of("text", "cpu") == {**rest, "alphas": list(part.default_alphas)}
    named = RidgeRegression(alphas={"text": part.default_alphas}, default_alphas=[7.0])
    assert named.influences_of("text", "cpu") == part.influences_of("text", "cpu")


@pytest.mark.parametrize("n_predicted", [None, 120])
def test_the_number_of_predicted_stimuli_arrives_at_every_cross_validation(n_predicted, monkeypatch):
    told = []
    cross_validate = selection.cross_validate

    def note(*arguments, **settings):
        told.append(settings["n_predicted"])
        return cross_validate(*arguments, **settings)

    monkeypatch.setattr(selection, "cross_validate", note)
    monkeypatch.setattr(decoders, "cross_validate", note)
    rows, targets, _ = example()
    part = RidgeRegression(alphas=ALPHAS, n_predicted=n_predicted)
    part.cross_validated(part.fit(rows, targets, "cpu"), rows, targets, "cpu")
    assert told == [n_predicted, n_predicted]


def test_weights_are_equal_unless_asked_for():
    assert not RidgeRegression().weighs_repeats
    assert RidgeRegression(weights="repeats").weighs_repeats


def test_errors_say_what_came_and_what_was_expected():
    part = RidgeRegression(alphas={"latents": [1.0], "image": [1.0]})
    part.check_groups(["latents", "image", "text"])
    with pytest.raises(ValueError, match=r"alphas\.image: there is no such target group; known groups: latents, text"):
        part.check_groups(["latents", "text"])
    part.check_stimuli(5)
    with pytest.raises(RunError, match=r"regression\.n_folds is 5, but there are 4 training stimuli: use fewer folds"):
        part.check_stimuli(4)
    for n in (0, 1):
        with pytest.raises(RunError, match=f"there are {n} training stimuli, and decoders need two or more: give the"):
            part.check_stimuli(n)
    rows, targets, tests = example()
    fitted = RidgeRegression(alphas=ALPHAS).fit(rows, targets, "cpu")
    with pytest.raises(RunError, match=r"latents came as float64 \(9,\), expected .* of 8 targets: fit it again"):
        dict(part.decode(fitted, rows, targets | {"latents": targets["latents"][:, 1:]}, tests, "cpu"))
    with pytest.raises(ValueError, match="responses of 5 voxels, expected the 12"):
        dict(RidgeRegression().decode(fitted, rows, targets, {"test": tests["test"][:, :5]}, "cpu"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"alphas": {"latents": []}},
        {"alphas": {"latents": [-1.0]}},
        {"alphas": {"latents": [float("nan")]}},
        {"alphas": {"latents": [float("inf")]}},
        {"default_alphas": []},
        {"n_folds": 1},
        {"weights": "trials"},
        {"calibration": "zscore"},
        {"alpha": [1.0]},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RidgeRegression(**wrong)


def test_every_field_is_described():
    assert all(field.description for field in RidgeRegression.model_fields.values())


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("dtype", [complex, bool, str, object])
def test_what_is_no_real_number_is_refused_wherever_it_comes_in(dtype):
    rows, targets, tests = example()
    part = RidgeRegression(alphas=ALPHAS)
    with pytest.raises(ValueError, match=r"responses came as .*, expected real numbers"):
        TrainingRows(rows.responses.astype(dtype))
    for name in targets:
        with pytest.raises(ValueError, match=r"targets came as .*, expected real numbers"):
            part.fit(rows, targets | {name: np.asarray(targets[name]).astype(dtype)}, "cpu")
    fitted = part.fit(rows, targets, "cpu")
    with pytest.raises(ValueError, match=r"responses came as .*, expected real numbers"):
        dict(part.decode(fitted, rows, targets, {"test": tests["test"].astype(dtype)}, "cpu"))


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_without_calibration_the_same_decoders_give_plain_predictions(calibration):
    rows, targets, tests = example()
    part = RidgeRegression(alphas=ALPHAS, calibration=calibration, n_folds=4)
    fitted = part.fit(rows, targets, "cpu")
    for group, made in part.without_calibration().decode(fitted, rows, targets, tests, "cpu"):
        plain = Ridge(fitted[group].arrays["alphas"][0]).fit(rows.responses, targets[group].reshape(50, -1))
        assert_allclose(made["test"], plain.predict(tests["test"]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_targets_are_cross_validated_with_the_alpha_that_the_decoder_has(calibration):
    rows, targets, _ = example()
    part = RidgeRegression(alphas=ALPHAS, calibration=calibration, n_folds=4)
    fitted = part.fit(rows, targets, "cpu")
    found = part.cross_validated(fitted, rows, targets, "cpu")
    assert found.keys() == targets.keys()
    for group, made in found.items():
        own = RidgeCV(fitted[group].arrays["alphas"][:1], n_folds=4).fit(rows.responses, targets[group].reshape(50, -1))
        assert_allclose(made.r2, own.cv_scores_[0], atol=1e-6)
        assert_allclose(made.correlation, own.cv_correlations_[0], atol=1e-6)
    alone = part.cross_validated({"text": fitted["text"]}, rows, targets, "cpu")
    assert_array_equal(alone["text"].r2, found["text"].r2)
