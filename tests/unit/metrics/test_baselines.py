import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.metrics.baselines import (
    derangement,
    draw_of_same_category,
    draw_training,
    mean_image,
    random_responses,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestBaselines:
    @pytest.mark.parametrize("n", [1, 5, 70])
    def test_mean_image_is_the_mean(self, rng, n):
        train_pictures = rng.random((n, 3, 6, 4), dtype=np.float32)
        picture = mean_image(train_pictures)
        assert picture.shape == (1, 3, 6, 4)
        assert picture.dtype == np.float32
        np.testing.assert_allclose(picture[0], train_pictures.mean(axis=0), atol=1e-6)

    @settings(deadline=None, max_examples=50)
    @given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 99))
    def test_drawn_pictures_come_from_training_and_differ_if_they_can(self, n_train, n, seed):
        drawn = draw_training(n_train, n, np.random.default_rng(seed))
        assert len(drawn) == n
        assert set(drawn) <= set(range(n_train))
        assert n > n_train or len(set(drawn)) == n

    def test_the_same_state_draws_the_same_pictures(self):
        first, second = (draw_training(9, 4, np.random.default_rng(2)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_need_training_pictures(self, rng):
        with pytest.raises(ValueError, match="needs training pictures, got none"):
            mean_image(np.zeros((0, 3, 6, 4), np.float32))
        with pytest.raises(ValueError, match="needs training pictures, got none"):
            draw_training(0, 2, rng)


class TestDerangement:
    @settings(deadline=None)
    @given(st.integers(2, 60), st.integers(0, 999))
    def test_is_an_order_in_which_nothing_stays_in_its_place(self, n, seed):
        order = derangement(n, np.random.default_rng(seed))
        assert sorted(order) == list(range(n))
        assert (order != np.arange(n)).all()

    def test_everything_comes_to_every_other_place_about_as_often(self, rng):
        n, draws = 5, 4000
        came = np.zeros((n, n))
        for _ in range(draws):
            came[np.arange(n), derangement(n, rng)] += 1 / draws
        np.testing.assert_allclose(came, (1 - np.eye(n)) / (n - 1), atol=0.03)

    @pytest.mark.parametrize("n", [0, 1])
    def test_one_thing_cannot_leave_its_place(self, rng, n):
        with pytest.raises(ValueError, match=f"at least two pictures, got {n}"):
            derangement(n, rng)


class TestTrueCategory:
    def test_every_picture_is_of_the_category_and_all_of_a_category_come_alike(self, rng):
        of_training, of_test = np.array(["dog", "cat", "cat", "car", "cat"]), np.array(["cat", "dog"] * 3000)
        drawn = draw_of_same_category(of_training, of_test, rng)
        np.testing.assert_array_equal(of_training[drawn], of_test)
        cats = np.bincount(drawn[::2], minlength=5)
        assert set(np.flatnonzero(cats)) == {1, 2, 4}
        np.testing.assert_allclose(cats[[1, 2, 4]] / 3000, 1 / 3, atol=0.04)

    def test_a_category_without_training_pictures_gets_any(self, rng):
        drawn = draw_of_same_category(np.array(["dog", "cat"]), np.array(["owl"] * 200), rng)
        assert set(drawn) == {0, 1}

    def test_needs_training_pictures(self, rng):
        with pytest.raises(ValueError, match="needs training pictures, got none"):
            draw_of_same_category(np.array([], str), np.array(["dog"]), rng)


class TestRandomResponses:
    def test_have_the_mean_and_the_covariance_of_the_training_responses(self, rng):
        train = rng.normal(size=(30, 3)) @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.1]]) + [
            5.0,
            0.0,
            -1.0,
        ]
        drawn = random_responses(train, list(map(np.random.default_rng, range(10_000))))
        np.testing.assert_allclose(drawn.mean(axis=0), train.mean(axis=0), atol=0.04)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(train.T), rtol=0.05, atol=0.02)

    def test_lie_where_training_responses_lie(self, rng):
        train = rng.normal(size=(4, 10)).astype(np.float32)
        drawn = random_responses(train, [rng] * 20)
        assert drawn.dtype == np.float32
        assert np.linalg.matrix_rank(drawn - train.mean(axis=0), tol=1e-4) == 3

    def test_each_depends_on_its_own_source_alone(self, rng):
        train = rng.normal(size=(8, 5))
        both = random_responses(train, [np.random.default_rng(1), np.random.default_rng(2)])
        np.testing.assert_allclose(random_responses(train, [np.random.default_rng(2)])[0], both[1], rtol=1e-12)

    def test_need_two_training_responses(self, rng):
        with pytest.raises(ValueError, match="two or more training responses, got 1"):
            random_responses(np.zeros((1, 3)), [rng])
