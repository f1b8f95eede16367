"""Nearest neighbours are those of all pairs, whatever the blocks."""

import numpy as np
import pytest

from braindiffuser.metrics import nearest_rows as nearest_module
from braindiffuser.metrics.nearest_rows import blocks_of, mean_row, nearest_rows, several_nearest_rows, unit_rows


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    train = rng.standard_normal((37, 5, 4)) + 3 * np.arange(20).reshape(5, 4)
    test = np.concatenate([rng.standard_normal((10, 5, 4)) + 3 * np.arange(20).reshape(5, 4), train[[4, 30]]])
    return train.astype(np.float16), test.astype(np.float32)


def all_pairs(test, train, mean):
    test, train = (values.reshape(len(values), -1).astype(np.float64) - mean for values in (test, train))
    return np.corrcoef(test, train)[: len(test), len(test) :]


def test_neighbours_are_those_of_all_pairs_whatever_the_blocks(sides, monkeypatch):
    train, test = sides
    mean = mean_row(train)
    np.testing.assert_allclose(mean, train.astype(np.float64).mean(axis=0).ravel())
    expected = all_pairs(test, train, mean)
    whole = nearest_rows(test, train, mean)
    monkeypatch.setattr(nearest_module, "QUERY_BYTES", 3 * 80)
    monkeypatch.setattr(nearest_module, "REFERENCE_BYTES", 4 * 80)
    for found in (whole, nearest_rows(test, train, mean)):
        np.testing.assert_array_equal(found.place, expected.argmax(axis=1))
        np.testing.assert_allclose(found.similarity, expected.max(axis=1), atol=2e-6)
    assert whole.place[-2:].tolist() == [4, 30]
    np.testing.assert_allclose(whole.similarity[-2:], 1, atol=1e-4)  # one side is stored in float16


def test_a_stimulus_is_not_its_own_neighbour_nor_part_of_the_mean(sides, monkeypatch):
    """As if it came from elsewhere: it is held against the others less the mean of the others."""
    train, _ = sides
    own = np.array([0, 9, 36])
    expected = []
    for row in own:
        others = np.delete(train, row, axis=0)
        alone = nearest_rows(train[[row]], others, mean_row(others))
        expected.append((alone.similarity[0], alone.place[0] + (alone.place[0] >= row)))
        correlations = all_pairs(train[[row]], others, mean_row(others))[0]
        assert alone.similarity[0] == pytest.approx(correlations.max(), abs=2e-6)
    for room in (10**9, 4 * 80):
        monkeypatch.setattr(nearest_module, "REFERENCE_BYTES", room)
        found = nearest_rows(train[own], train, mean_row(train), own)
        np.testing.assert_allclose(found.similarity, [similarity for similarity, _ in expected], atol=1e-5)
        assert found.place.tolist() == [place for _, place in expected]


def test_without_a_mean_a_stimulus_is_left_out_of_the_references_alone(sides):
    train, _ = sides
    found = nearest_rows(train, train, own=np.arange(len(train)))
    expected = all_pairs(train, train, 0)
    np.fill_diagonal(expected, -np.inf)
    np.testing.assert_allclose(found.similarity, expected.max(axis=1), atol=2e-6)


def test_two_stimuli_alone_resemble_nothing():
    """The mean of the others is the other one, of which nothing is left."""
    rows = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    assert nearest_rows(rows, rows, mean_row(rows), np.arange(2)).similarity.tolist() == [0.0, 0.0]


def test_few_of_one_kind_lie_as_near_to_each_other_as_further_ones_do():
    """Of twenty stimuli, and twenty more that are no part of their mean, neither side finds nearer neighbours."""
    rng, differences = np.random.default_rng(0), []
    for _ in range(60):
        train, test = rng.normal(size=(2, 20, 50)).astype(np.float32)
        mean = mean_row(train)
        among = nearest_rows(train, train, mean, np.arange(20)).similarity
        differences.append((nearest_rows(test, train, mean).similarity - among).mean())
    assert abs(np.mean(differences)) < 3 * np.std(differences) / np.sqrt(60)


def test_constant_features_resemble_nothing():
    flat = np.full((1, 30), 0.1, np.float32)
    others = np.random.default_rng(0).random((5, 30), np.float32)
    assert nearest_rows(flat, others).similarity.tolist() == [0.0]


def test_features_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="queries have 3 features and references 4"):
        nearest_rows(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="not finite, first in row 1"):
        mean_row(np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(ValueError, match="got no stimulus"):
        mean_row(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="got no stimulus to compare with"):
        nearest_rows(np.zeros((2, 3)), np.zeros((0, 3)))


def test_without_the_mean_all_would_find_what_all_stimuli_share():
    rng = np.random.default_rng(0)
    shared = 100 * rng.normal(size=20)
    training = shared + rng.normal(size=(40, 20))
    decoded = shared + 0.3 * (training - shared)  # shrunk, as ridge regression shrinks
    np.testing.assert_array_equal(nearest_rows(decoded, training, mean_row(training)).place, np.arange(40))


def test_of_equally_near_ones_it_is_the_first(monkeypatch):
    rows = np.tile(np.random.default_rng(0).normal(size=8), (6, 1)) * np.array([1, -1, 1, 1, -1, 1])[:, None]
    for room in (1, 100, 10_000):
        monkeypatch.setattr(nearest_module, "REFERENCE_BYTES", room)
        assert nearest_rows(rows, rows).place.tolist() == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("n", "room"), [(1, 1), (300, 4 * 20 * 140), (300, 4 * 20 * 3), (256, 4 * 20 * 128), (5, 10**9)]
)
def test_blocks_hold_every_row_once_and_whole_pieces_of_arrays_on_disk(n, room):
    found = list(blocks_of(np.zeros((n, 5, 4)), room))
    np.testing.assert_array_equal(np.concatenate([np.arange(n)[rows] for rows in found]), np.arange(n))
    longest = max(rows.stop - rows.start for rows in found)
    assert longest <= max(1, room // 80)
    assert longest <= 128 or all(rows.start % 128 == 0 for rows in found)


def test_rows_without_variation_become_0_and_others_have_length_1():
    rows = unit_rows(np.array([[0.1, 0.1, 0.1], [1, 2, 3], [0, 0, 0]], np.float32))
    assert (rows[[0, 2]] == 0).all()
    assert np.linalg.norm(rows[1]) == pytest.approx(1)


@pytest.mark.parametrize("room", [1, 4 * 20 * 7, 10**9])
@pytest.mark.parametrize("n", [1, 3, 30])
def test_several_nearest_are_those_of_the_whole_matrix_of_correlations(n, room, monkeypatch):
    monkeypatch.setattr(nearest_module, "REFERENCE_BYTES", room)
    monkeypatch.setattr(nearest_module, "QUERY_BYTES", room)
    queries, references = np.random.default_rng(0).normal(size=(2, 15, 5, 4)).astype(np.float32)
    mean = mean_row(references)
    r = np.corrcoef(queries.reshape(15, 20) - mean, references.reshape(15, 20) - mean)[:15, 15:]
    np.testing.assert_array_equal(several_nearest_rows(queries, references, n, mean), np.argsort(-r, axis=1)[:, :n])
    np.testing.assert_array_equal(
        several_nearest_rows(queries, references, n, mean)[:, 0], nearest_rows(queries, references, mean).place
    )


def test_of_several_equally_near_ones_the_first_come_first(monkeypatch):
    rows = np.tile(np.random.default_rng(0).normal(size=8), (6, 1)) * np.array([1, -1, 1, 1, -1, 1])[:, None]
    for room in (1, 100, 10_000):
        monkeypatch.setattr(nearest_module, "REFERENCE_BYTES", room)
        assert several_nearest_rows(rows[:2], rows, 5).tolist() == [[0, 2, 3, 5, 1], [1, 4, 0, 2, 3]]


def test_several_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="queries have 3 features and references 4"):
        several_nearest_rows(np.ones((2, 3)), np.ones((2, 4)), 1)
    with pytest.raises(ValueError, match="got no stimulus to compare with"):
        several_nearest_rows(np.zeros((2, 3)), np.zeros((0, 3)), 1)
