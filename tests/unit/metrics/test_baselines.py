import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.metrics.baselines import derangement, draw_training, mean_image


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
