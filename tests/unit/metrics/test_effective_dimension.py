import numpy as np
import pytest

from braindiffuser.metrics import effective_dimension as module
from braindiffuser.metrics.effective_dimension import effective_dimension


def plain(features):
    values = np.linalg.eigvalsh(np.cov(features, rowvar=False).reshape(features.shape[1], -1))
    return values.sum() ** 2 / np.square(values).sum()


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 7)) * np.array([9, 5, 3, 2, 1, 1, 0.5]) + 100


def test_it_is_the_ratio_of_the_covariances_eigenvalues(features):
    value, left_out = effective_dimension(features)
    assert value == pytest.approx(plain(features))
    np.testing.assert_allclose(left_out, [plain(np.delete(features, i, axis=0)) for i in range(30)])


def test_blocks_of_columns_change_nothing(features, monkeypatch):
    whole = effective_dimension(features)
    monkeypatch.setattr(module, "COLUMNS_AT_ONCE", 2)
    parts = effective_dimension(features)
    assert parts[0] == pytest.approx(whole[0])
    np.testing.assert_allclose(parts[1], whole[1])


def test_features_of_few_categories_have_few_dimensions():
    rng = np.random.default_rng(1)
    category, centres = rng.integers(4, size=200), rng.normal(size=(4, 500))
    collapsed = centres[category] + 0.05 * rng.normal(size=(200, 500))
    rich = rng.normal(size=(200, 500))
    assert effective_dimension(collapsed)[0] < 4
    assert 100 < effective_dimension(rich)[0] < 199


def test_equal_pictures_have_no_dimension():
    value, left_out = effective_dimension(np.ones((4, 3)))
    assert value == 0
    assert (left_out == 0).all()
