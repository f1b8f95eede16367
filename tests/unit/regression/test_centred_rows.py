"""Laws of rows that are read block by block: the same numbers as with all in memory, and never more than a block at a time."""

import numpy as np
import pytest
import torch
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge as SklearnRidge

from braindiffuser.regression import rows as rows_module
from braindiffuser.regression.centred_rows import CentredRows
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.selection import cross_validate
from braindiffuser.regression.smoothers import smoothers_by_group, voxel_smoothers
from braindiffuser.regression.solvers import gram
from braindiffuser.regression.voxel_weights import direction_maps_by_group

N_ROWS, N_VOXELS, BLOCK = 90, 12, 16


class OnDisk:
    """Responses that are read from a file, and remember how many rows were asked for at once."""

    def __init__(self, values, folder):
        self._array = zarr.create_array(folder, data=values, chunks=(7, N_VOXELS))
        self.shape, self.dtype, self.most, self.n_read = values.shape, values.dtype, 0, 0

    def __getitem__(self, key):
        made = self._array[key]
        self.most, self.n_read = max(self.most, len(made)), self.n_read + len(made)
        return made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(rows_module, "ROWS_PER_BLOCK", BLOCK)


def example(dtype=np.float64, offset=5.0):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N_ROWS, N_VOXELS)) * rng.uniform(0.5, 2, N_VOXELS) + offset
    X[:, 4] = 7.25  # never varies
    Y = X @ rng.standard_normal((N_VOXELS, 6)) + rng.standard_normal((N_ROWS, 6))
    return X.astype(dtype), Y.astype(dtype), rng.uniform(0.5, 3, N_ROWS)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_blocks_are_rows_less_their_mean_times_root_weights(tmp_path, whole, dtype, offset):
    X, _, weights = example(dtype, offset)
    precision = {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    made = CentredRows(OnDisk(X, tmp_path), weights, precision, whole=whole)
    exact = X.astype(np.float64)
    expected = (exact - np.average(exact, axis=0, weights=weights)) * np.sqrt(weights)[:, None]
    expected[:, 4] = 0
    assert_allclose(made.whole().numpy(), expected, atol=2e-6)
    assert_allclose(np.average(made.whole().numpy() * np.sqrt(weights)[:, None], axis=0), 0, atol=1e-6)
    M, R = torch.randn(N_VOXELS, 3, dtype=precision), torch.randn(N_ROWS, 2, dtype=precision)
    assert_allclose(made.times(M), expected @ M.numpy(), atol=1e-4)
    assert_allclose(made.left_times(M.T), M.numpy().T @ expected.T, atol=1e-4)
    assert_allclose(made.transposed_times(R), expected.T @ R.numpy(), atol=1e-4)


def test_rows_that_are_kept_are_read_no_more(tmp_path):
    X, _, weights = example()
    responses = OnDisk(X, tmp_path)
    made = CentredRows(responses, weights, torch.float64, whole=True)
    responses.shape = None
    assert_array_equal(made.whole(), next(X for _, X in made.blocks()))


@pytest.mark.parametrize("weighted", [True, False])
def test_more_rows_than_voxels_are_fitted_from_disk_in_blocks(tmp_path, weighted):
    X, Y, weights = example()
    responses = OnDisk(X, tmp_path)
    rows = TrainingRows(responses, weights=weights if weighted else None)
    new = np.random.default_rng(0).standard_normal((5, N_VOXELS)) + 5
    made = smoothers_by_group(rows, {"y": [2.0]}, new)["y"][2.0].numpy() @ Y
    reference = SklearnRidge(2.0).fit(X, Y, sample_weight=weights if weighted else None)
    assert_allclose(made, reference.predict(new), rtol=1e-9)
    assert_allclose(rows.averages(), X)
    values = Y - Y.mean(axis=0)
    _, maps = next(direction_maps_by_group(rows, {"y": values}, {"y": 2.0}))
    assert_allclose(maps.weights, reference.coef_, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n_rows", [N_ROWS, 6 * BLOCK + 1])
def test_blocks_cover_all_rows(n_rows):
    blocks = list(rows_module.row_blocks((n_rows, N_VOXELS)))
    assert [row for rows in blocks for row in range(rows.start, rows.stop)] == list(range(n_rows))
    assert max(rows.stop - rows.start for rows in blocks) <= BLOCK


def test_rows_of_the_primal_form_are_not_kept(tmp_path):
    X, _, weights = example()
    responses = OnDisk(X, tmp_path)
    system = gram(responses, weights)
    assert system.form == "primal"
    before = responses.n_read
    system.rows.times(torch.ones(N_VOXELS, 1, dtype=torch.float64))
    assert responses.n_read == before + N_ROWS
    few = OnDisk(X[: N_VOXELS - 2], tmp_path / "few")
    system = gram(few)
    before = few.n_read
    system.rows.times(torch.ones(N_VOXELS, 1, dtype=torch.float64))
    assert (system.form, few.n_read) == ("dual", before)


@pytest.mark.parametrize("last", [True, False])
def test_a_voxel_varies_if_it_does_in_any_block(tmp_path, last):
    X, _, weights = example()
    X[-1 if last else 0, 4] = 0
    made = CentredRows(OnDisk(X, tmp_path), weights, torch.float64).whole()
    assert (made[:, 4] != 0).all()


def test_no_more_than_a_block_is_read_at_once(tmp_path):
    X, Y, _ = example()
    responses = OnDisk(X, tmp_path)
    rows = TrainingRows(responses)
    cross_validate(rows, {"y": Y}, {"y": [1.0]}, n_predicted=20)
    cross_validate(rows, {"y": Y}, {"y": [1.0]})
    smoothers_by_group(rows, {"y": [2.0]}, X[:5])
    for _, C in voxel_smoothers(rows, {"y": 2.0}, "patterns"):
        assert C.shape == (N_VOXELS, N_ROWS)
    next(direction_maps_by_group(rows, {"y": Y}, {"y": 2.0}))
    assert responses.most == BLOCK


@pytest.mark.parametrize("repeats", [1, 3])
def test_cross_validation_from_disk_is_that_in_memory(tmp_path, repeats):
    X, Y, _ = example()
    stimuli = None if repeats == 1 else np.arange(N_ROWS) % (N_ROWS // repeats)
    Y = Y[: N_ROWS // repeats]
    results = [
        cross_validate(TrainingRows(responses, stimuli), {"y": Y}, {"y": [1.0, 50.0]})["y"]
        for responses in (X, OnDisk(X, tmp_path))
    ]
    for name in ("r2", "correlation", "prediction_mean", "prediction_std"):
        assert_array_equal(*(getattr(result, name) for result in results))


def test_values_that_are_not_finite_are_found_on_disk(tmp_path):
    X, _, _ = example()
    X[70, 2] = np.nan
    with pytest.raises(ValueError, match="not finite, first in row 70"):
        TrainingRows(OnDisk(X, tmp_path))
