import numpy as np
import pytest

from braindiffuser.datasets import normalisation
from braindiffuser.datasets.normalisation import column_statistics, standardise


def test_statistics_do_not_depend_on_the_block(monkeypatch):
    values = np.random.default_rng(0).normal(3, 2, (20, 11)).astype(np.float32)
    monkeypatch.setattr(normalisation, "COLUMNS_PER_BLOCK", 4)
    mean, std = column_statistics(values)
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(0))
    np.testing.assert_allclose(std, values.astype(np.float64).std(0, ddof=1))


@pytest.mark.parametrize("constant", [0.0, 0.37, -5000.1])
def test_a_constant_column_becomes_zero(constant):
    values = np.full((7, 2), constant, np.float32)
    mean, std = column_statistics(values)
    assert std.tolist() == [0, 0]
    np.testing.assert_allclose(standardise(values, mean, std), 0, atol=1e-3)


def test_in_place_gives_the_same_numbers_in_the_same_memory():
    values = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    mean, std = column_statistics(values)
    expected = standardise(values, mean, std)
    changed = standardise(values, mean, std, in_place=True)
    assert changed is values
    np.testing.assert_array_equal(changed, expected)


def test_one_row_has_no_spread():
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        column_statistics(np.ones((1, 4), np.float32))
