import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.metrics import r2_score

from braindiffuser.metrics import feature_accuracy as module
from braindiffuser.metrics.feature_accuracy import chance_correlation, feature_accuracy


def example(n=40, n_features=23, share=0.5, seed=0):
    """Features, and predictions that hold a share of their variance."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, n_features)) * rng.uniform(0.5, 3, n_features) + 4
    noise = rng.standard_normal((n, n_features)) * y.std(axis=0)
    return y, y.mean(0) + share * (y - y.mean(0)) + np.sqrt(share * (1 - share)) * noise


def measured(truth, predicted, seed=1, n_permutations=200):
    return feature_accuracy(truth, predicted, np.random.default_rng(seed), n_permutations)


def test_accuracies_are_those_of_scikit_learn_and_scipy():
    y, p = example()
    made = measured(y, p)
    assert_allclose(made.r2, r2_score(y, p, multioutput="raw_values"))
    assert_allclose(made.correlation, stats.pearsonr(y, p, axis=0).statistic)
    assert_allclose(made.mean_r2.value, r2_score(y, p))
    assert_allclose(made.mean_correlation.value, made.correlation.mean())


def test_the_perfect_case():
    y, _ = example()
    made = measured(y, y)
    for mean in (made.mean_r2, made.mean_correlation):
        assert_allclose((mean.value, mean.low, mean.high), 1)
        assert mean.p == 1 / 201


def test_intervals_are_the_jackknifes():
    y, p = example(n=12)
    left = [r2_score(np.delete(y, i, 0), np.delete(p, i, 0)) for i in range(12)]
    left_r = [stats.pearsonr(np.delete(y, i, 0), np.delete(p, i, 0), axis=0).statistic.mean() for i in range(12)]
    made = measured(y, p)
    for mean, values in ((made.mean_r2, left), (made.mean_correlation, left_r)):
        half = stats.t.ppf(0.975, 11) * np.sqrt(11 / 12 * np.square(values - np.mean(values)).sum())
        assert_allclose([mean.low, mean.high], [mean.value - half, mean.value + half])


def test_exchanges_are_those_of_whole_stimuli():
    y, p = example(n=9)
    made = measured(y, p, n_permutations=300)
    rng = np.random.default_rng(1)
    exchanged = [y[rng.permutation(9)] for _ in range(300)]
    assert_allclose(made.mean_r2.null, np.quantile([r2_score(other, p) for other in exchanged], [0.025, 0.975]))
    r = [stats.pearsonr(other, p, axis=0).statistic.mean() for other in exchanged]
    assert_allclose(made.mean_correlation.null, np.quantile(r, [0.025, 0.975]))


def test_at_chance_p_is_uniform_and_intervals_hold_zero():
    p_values, held = [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y, p = rng.standard_normal((2, 30, 8))
        made = measured(y, 0.1 * p, seed)
        p_values.append(made.mean_correlation.p)
        held += made.mean_correlation.low < 0 < made.mean_correlation.high
    assert 0.3 < np.mean(p_values) < 0.7
    assert held >= 52


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_r2_never_exceeds_the_squared_correlation_and_stretched_predictions_have_2r_minus_1(scale):
    y, p = example()
    p = y.mean(0) + scale * (p - p.mean(0))
    made = measured(y, p)
    assert (made.r2 <= made.correlation**2 + 1e-12).all()
    best = y.mean(0) + made.correlation * (p - p.mean(0)) / p.std(0) * y.std(0)
    assert_allclose(measured(y, best).r2, made.correlation**2)
    stretched = y.mean(0) + (p - p.mean(0)) / p.std(0) * y.std(0)
    assert_allclose(measured(y, stretched).r2, 2 * made.correlation - 1)


def test_blocks_of_any_size_and_any_order_of_stimuli_give_the_same(monkeypatch):
    y, p = example()
    whole, order = measured(y, p), np.random.default_rng(3).permutation(40)
    monkeypatch.setattr(module, "COLUMNS_AT_ONCE", 5)
    blocks, moved = measured(y, p), measured(y[order], p[order])
    for made in (blocks, moved):
        assert_allclose(made.r2, whole.r2)
        assert_allclose(made.correlation, whole.correlation)
        assert_allclose(made.mean_r2[:3], whole.mean_r2[:3])
    assert_allclose(blocks.mean_r2.null, whole.mean_r2.null)


def test_features_that_do_not_vary_are_left_out():
    y, p = example()
    whole = measured(y, p)
    y = np.hstack([y, np.full((40, 1), 0.1)]).astype(np.float32)
    made = measured(y, np.hstack([p, np.ones((40, 1))]).astype(np.float32))
    assert made.varies.tolist() == [True] * 23 + [False]
    assert np.isnan(made.correlation[-1])
    assert_allclose(made.mean_r2[:3], whole.mean_r2[:3], rtol=1e-4)
    with pytest.raises(ValueError, match="none of 1 features varies over 40 stimuli"):
        measured(y[:, -1:], y[:, -1:])


def test_predictions_that_do_not_vary_have_no_correlation():
    y, _ = example()
    made = measured(y, np.tile(y.mean(0), (40, 1)))
    assert_allclose(made.r2, 0, atol=1e-12)
    assert (made.correlation == 0).all()


def test_one_of_twenty_exceeds_the_chance_correlation():
    y, p = np.random.default_rng(0).standard_normal((2, 30, 20_000))
    share = (measured(y, p, n_permutations=1).correlation > chance_correlation(30)).mean()
    assert share == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        (np.ones((4, 3)), np.ones((4, 2)), r"features have shape \(4, 3\) and predictions \(4, 2\)"),
        (np.ones((2, 3)), np.ones((2, 3)), "got 2 stimuli, expected 3 or more"),
        (np.eye(4), np.full((4, 4), np.nan), "predictions hold a value that is not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, predicted, words):
    with pytest.raises(ValueError, match=words):
        measured(truth, predicted)


def test_the_best_scaled_r2_is_what_a_correlation_allows_less_what_chance_adds():
    """Features with r = 1 and r = −1 alone: 1 of the first, 0 of the second."""
    y, _ = example(n=12, n_features=4)
    mixed = y.copy()
    mixed[:, 2:] *= -1
    assert measured(y, mixed).best_scaled_r2 == pytest.approx(0.5)
    y, p = example(n=12, n_features=4)
    made = measured(y, p)
    assert (made.correlation > 0).all()
    adjusted = [1 - (1 - r**2) * 11 / 10 for r in made.correlation]  # adjusted R² of one predictor, n = 12
    assert made.best_scaled_r2 == pytest.approx(np.mean(adjusted))


def test_the_best_scaled_r2_of_unrelated_features_is_near_0():
    y, p = np.random.default_rng(0).standard_normal((2, 10, 4000))
    made = measured(y, p, n_permutations=1)
    assert abs(made.best_scaled_r2) < 0.02
    assert np.square(made.correlation).mean() > 0.1
