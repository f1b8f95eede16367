from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from braindiffuser.regression import streaming
from braindiffuser.regression.rows import n_columns
from braindiffuser.regression.streaming import apply_smoother, for_each_block, step_of


@pytest.fixture(params=["2-d", "tokens", "zarr"])
def targets(request, tmp_path):
    rng = np.random.default_rng(0)
    if request.param == "2-d":
        return rng.standard_normal((40, 23)).astype(np.float32)
    values = rng.standard_normal((40, 5, 7)).astype(np.float16)
    if request.param == "tokens":
        return values
    stored = zarr.create_array(tmp_path / "targets", shape=values.shape, chunks=(16, 2, 7), dtype="float16")
    stored[:] = values
    return stored


@pytest.mark.parametrize("columns", [1, 8, 14, 15, 1000])
def test_blocks_are_all_columns_once_with_their_statistics(targets, columns, monkeypatch):
    monkeypatch.setattr(streaming, "COLUMNS_PER_BLOCK", columns)
    monkeypatch.setattr(streaming, "ROWS_AT_A_TIME", 16)
    whole = np.asarray(targets[:]).reshape(40, -1).astype(np.float64)
    seen, told = {}, []

    def work(block):
        assert block.values.dtype == torch.float32
        assert block.values.shape[1] == block.columns.stop - block.columns.start <= max(columns, 7)
        assert_allclose(block.values + block.shift, whole[:, block.columns], rtol=1e-5, atol=1e-6)
        assert_allclose(block.mean, whole[:, block.columns].mean(0), rtol=1e-6, atol=1e-7)
        assert_allclose(block.std, whole[:, block.columns].std(0), rtol=1e-6)
        seen[block.columns.start] = block.columns.stop

    for_each_block(targets, work, progress=lambda *said: told.append(said), label="reading")
    starts, stops = zip(*sorted(seen.items()), strict=True)
    total = whole.shape[1]
    assert starts == (0, *stops[:-1])
    assert stops[-1] == total == n_columns(targets)
    assert told == [("reading", stop, total) for stop in stops]


def test_a_failure_ends_the_pass_and_leaves_threads_as_they_were():
    threads, called = torch.get_num_threads(), []

    def work(block):
        called.append(block.columns)
        raise ZeroDivisionError

    try:
        torch.set_num_threads(2)
        with pytest.raises(ZeroDivisionError):
            for_each_block(np.ones((3, 10_000, 50), np.float32), work)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert len(called) < 100


def test_answers_do_not_depend_on_the_number_of_cores():
    rng = np.random.default_rng(0)
    Y, A = rng.standard_normal((300, 20_000)).astype(np.float32), rng.standard_normal((50, 300)).astype(np.float32)
    threads, made = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            made.append(apply_smoother(torch.from_numpy(A), Y))
    finally:
        torch.set_num_threads(threads)
    for other in made[1:]:
        for one, same in zip(made[0], other, strict=True):
            assert_array_equal(one, same)


@pytest.mark.parametrize("columns", [1, 8, 1000])
def test_application_is_a_product(targets, columns, monkeypatch):
    monkeypatch.setattr(streaming, "COLUMNS_PER_BLOCK", columns)
    Y = np.asarray(targets[:]).reshape(40, -1).astype(np.float64)
    A = torch.from_numpy(np.random.default_rng(1).standard_normal((6, 40)).astype(np.float32))
    seen = []
    applied = apply_smoother(A, targets, lambda _, done, total: seen.append((done, total)))
    assert_allclose(applied.values, A.double().numpy() @ Y, rtol=1e-4, atol=1e-4)
    assert_allclose(applied.mean, Y.mean(0), rtol=1e-6, atol=1e-7)
    assert_allclose(applied.std, Y.std(0), rtol=1e-5)
    assert seen[-1] == (Y.shape[1], Y.shape[1])


def test_a_large_mean_costs_float32_nothing():
    """Columns of 1e4 ± 1: a plain float32 product would err by 1e-3 and more."""
    rng = np.random.default_rng(0)
    Y = (rng.standard_normal((2000, 3)) + 1e4).astype(np.float32)
    A = rng.standard_normal((5, 2000))
    A += (1 - A.sum(1, keepdims=True)) / 2000
    applied = apply_smoother(torch.from_numpy(A.astype(np.float32)), Y)
    expected = A.astype(np.float32).astype(np.float64) @ Y.astype(np.float64)
    assert_allclose(applied.values, expected, rtol=2e-7)
    assert_allclose(applied.mean, Y.mean(0, dtype=np.float64), rtol=1e-9)
    assert_allclose(applied.std, Y.std(0, dtype=np.float64), rtol=1e-5)


def test_a_target_that_never_varies_has_no_spread():
    Y = np.full((30, 2), 0.1, np.float32)
    applied = apply_smoother(torch.full((1, 30), 1 / 30), Y)
    assert_allclose(applied.values, 0.1, rtol=1e-6)
    assert (applied.std < 1e-8).all()


@pytest.mark.parametrize("shape", [(10, 91168), (10, 257, 768), (10, 3, 5000)])
def test_a_step_never_parts_a_token(shape):
    assert step_of(shape) * int(np.prod(shape[2:])) <= max(streaming.COLUMNS_PER_BLOCK, int(np.prod(shape[2:])))
    assert step_of(shape) >= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_targets_that_are_not_finite_are_told_by_column(targets, value):
    targets = np.array(targets[:])
    targets.reshape(40, -1)[31, 20] = value
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="targets hold a value that is not finite, first in column 20"),
    ):
        apply_smoother(torch.ones(1, 40), targets)
