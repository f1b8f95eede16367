import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from braindiffuser.errors import RunError
from braindiffuser.regression import Calibration, Ridge, RidgeCV
from braindiffuser.regression.decoders import Decoders, fit_decoders
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.rows import TrainingRows

ALPHAS = {"latents": (0.1, 10.0, 1e3), "vision": (5.0,)}


def example(seed=0, n_new=9):
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(100).standard_normal((12, 21)) / 3
    X = rng.standard_normal((50, 12)).astype(np.float32)
    Y = (X @ weights + rng.standard_normal((50, 21)) + 3).astype(np.float32)
    return (
        X,
        {"latents": Y[:, :9], "vision": Y[:, 9:].reshape(50, 3, 4)},
        rng.standard_normal((n_new, 12)).astype(np.float32),
    )


def fit(X, targets, alphas=ALPHAS, calibration="inductive", stimuli=None, n_folds=5):
    rows = TrainingRows(X, stimuli)
    fitted = fit_decoders(rows, targets, alphas, calibration=calibration, n_folds=n_folds)
    return Decoders(fitted, rows, targets, calibration)


def decode(decoders, responses):
    return {name: made.calibration.apply(made.values) for name, made in decoders.predict(responses)}


@pytest.fixture(params=["inductive", "transductive", "none"])
def decoders(request):
    X, targets, _ = example()
    return fit(X, targets, calibration=request.param, n_folds=4)


def test_decodes_as_estimators_with_coefficients_do(decoders):
    X, targets, new = example()
    made = decode(decoders, new)
    for name, values in targets.items():
        estimator = RidgeCV(ALPHAS[name], n_folds=4).fit(X, values.reshape(50, -1))
        statistics = (
            estimator.target_mean_,
            estimator.target_std_,
            estimator.cv_prediction_mean_,
            estimator.cv_prediction_std_,
        )
        calibration = Calibration(*statistics, name=decoders.calibration)
        assert_array_equal(decoders.fitted[name].arrays["alphas"], estimator.alpha_)
        assert_allclose(made[name], calibration.apply(estimator.predict(new)), rtol=1e-4, atol=1e-4)


def test_projections_are_patterns_times_coefficients(decoders):
    _, targets, new = example()
    for name, made in decoders.project(new):
        estimator = Ridge(decoders.fitted[name].arrays["alphas"][0]).fit(
            decoders.rows.responses, targets[name].reshape(50, -1)
        )
        assert_allclose(made.values, new @ estimator.coef_.T, rtol=1e-4, atol=1e-5)
        assert_allclose(made.intercept, estimator.intercept_, rtol=1e-5)
        assert_allclose(made.training_mean, targets[name].reshape(50, -1).mean(0), rtol=1e-5)
        assert_allclose(made.training_std, targets[name].reshape(50, -1).std(0), rtol=1e-5)


@pytest.mark.parametrize("decoders", ["inductive"], indirect=True)
def test_under_inductive_a_picture_does_not_depend_on_its_batch(decoders):
    _, _, new = example()
    together, moved = decode(decoders, new), decode(decoders, new[::-1].copy())
    for row in range(len(new)):
        alone = decode(decoders, new[row : row + 1])
        for name in together:
            assert_allclose(alone[name][0], together[name][row], rtol=1e-5, atol=1e-5)
            assert_allclose(moved[name][len(new) - 1 - row], together[name][row], rtol=1e-5, atol=1e-5)


OTHERS = {"latents": (1e-4, 1.0), "vision": tuple(np.geomspace(1e-3, 1e5, 11)), "text": (0.0,), "depth": (1e4, 3e4)}
"""Groups that would need float64, an eigendecomposition, a pseudo-inverse, and neither."""


@pytest.mark.parametrize("calibration", ["inductive", "none"])
@pytest.mark.parametrize("group", OTHERS)
def test_a_groups_decoder_is_the_same_bits_alone_and_beside_others(group, calibration):
    X, _, new = example()
    rng = np.random.default_rng(2)
    targets = {name: (X @ rng.standard_normal((12, 5)) + 1).astype(np.float32) for name in OTHERS}
    together = fit(X, targets, OTHERS, calibration)
    alone = fit(X, {group: targets[group]}, {group: OTHERS[group]}, calibration)
    assert together.fitted[group].facts == alone.fitted[group].facts
    for name, values in alone.fitted[group].arrays.items():
        assert_array_equal(together.fitted[group].arrays[name], values)
    assert_array_equal(decode(together, new)[group], decode(alone, new)[group])
    for one, same in zip(dict(together.project(new))[group], dict(alone.project(new))[group], strict=True):
        assert_array_equal(one, same)


def test_targets_on_disk_in_half_precision_decode_nearly_alike(tmp_path):
    X, targets, new = example()
    stored = {}
    for name, values in targets.items():
        stored[name] = zarr.create_array(
            tmp_path / name, shape=values.shape, chunks=(16, *values.shape[1:]), dtype="float16"
        )
        stored[name][:] = values
    exact = decode(fit(X, targets, n_folds=4), new)
    for name, values in decode(fit(X, stored, n_folds=4), new).items():
        spread = exact[name] - exact[name].mean(0)
        assert np.linalg.norm(values - exact[name]) < 1e-3 * np.linalg.norm(spread)


def test_a_single_alpha_without_inductive_calibration_needs_no_cross_validation(monkeypatch):
    X, targets, _ = example()
    monkeypatch.setattr("braindiffuser.regression.decoders.cross_validate", None)
    fit_decoders(TrainingRows(X), targets, {"latents": (1.0,), "vision": (2.0,)}, calibration="transductive")
    with pytest.raises(TypeError):
        fit_decoders(TrainingRows(X), targets, {"latents": (1.0,), "vision": (2.0,)})


def test_single_trials_calibrate_on_left_out_averages():
    """Trials are noisier than their averages: predictions of averages, which come in at test time, spread less."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((120, 10))
    stimuli = np.repeat(np.arange(120), 3)
    trials = (signal[stimuli] + 2 * rng.standard_normal((360, 10))).astype(np.float32)
    targets = {"y": (signal @ rng.standard_normal((10, 4))).astype(np.float32)}
    made = fit(trials, targets, {"y": (1.0,)}, stimuli=stimuli)
    rows_alone = fit(trials, {"y": targets["y"][stimuli]}, {"y": (1.0,)})
    spreads = (decoders.fitted["y"].arrays["prediction_std"] for decoders in (made, rows_alone))
    assert np.less(next(spreads), 0.9 * next(spreads)).all()
    predicted = decode(made, made.rows.averages())["y"]
    assert_allclose(predicted.std(0), targets["y"].std(0), rtol=0.15)


def test_what_it_was_fitted_to_must_be_the_same():
    X, targets, _ = example()
    fitted = fit(X, targets).fitted
    with pytest.raises(RunError, match=r"latents came as float64 \(9,\), expected .* of 8 targets: fit it again"):
        Decoders(fitted, TrainingRows(X), targets | {"latents": targets["latents"][:, 1:]}, "inductive")
    plain = fit(X, targets, {**ALPHAS, "latents": (1.0,)}, "none").fitted
    with pytest.raises(RunError, match=r"latents lacks prediction_mean, prediction_std: fit it again"):
        Decoders(plain, TrainingRows(X), targets, "inductive")


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("entry", "values", "words"),
    [
        (
            "alphas",
            np.float64(3),
            r"alphas of the decoder of latents came as float64 \(\), expected a finite number for each of 9 targets",
        ),
        ("alphas", np.ones((9, 1)), r"float64 \(9, 1\)"),
        ("alphas", np.ones(9, int), r"int64 \(9,\)"),
        ("alphas", np.ones(9, np.complex64), r"complex64 \(9,\)"),
        ("alphas", np.full(9, np.nan), r"expected a finite number"),
        ("alphas", np.arange(9.0), r"latents has several alphas, expected one"),
        ("prediction_mean", np.zeros(3), r"latents came as float64 \(3,\), expected"),
        ("prediction_std", np.zeros((1, 9)), r"prediction_std of the decoder of latents came as float64 \(1, 9\)"),
    ],
)
@pytest.mark.parametrize("calibration", ["inductive", "transductive"])
def test_stored_arrays_are_a_finite_number_per_target(entry, values, words, calibration):
    X, targets, _ = example()
    arrays, facts = fit(X, targets).fitted["latents"]
    odd = {"latents": FittedDecoder({**arrays, entry: np.asarray(values)}, facts)}
    with pytest.raises(RunError, match=rf"{words}.*: fit it again"):
        Decoders(odd, TrainingRows(X), targets, calibration)


@pytest.mark.parametrize("calibration", ["inductive", "transductive"])
def test_half_of_the_statistics_is_not_enough(calibration):
    X, targets, _ = example()
    arrays, facts = fit(X, targets).fitted["latents"]
    half = {name: values for name, values in arrays.items() if name != "prediction_std"}
    with pytest.raises(RunError, match="latents lacks prediction_std: fit it again"):
        Decoders({"latents": FittedDecoder(half, facts)}, TrainingRows(X), targets, calibration)


def test_targets_of_another_number_of_stimuli_are_refused_before_anything_is_fitted():
    X, targets, _ = example()
    with pytest.raises(ValueError, match="responses of 50 stimuli and vision of 49"):
        fit_decoders(
            TrainingRows(X),
            targets | {"vision": targets["vision"][1:]},
            {"latents": (1.0,), "vision": (1.0,)},
            calibration="none",
        )
