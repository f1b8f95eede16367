"""How far features that are averaged over subjects still differ between pictures."""

import numpy as np
import pytest

from braindiffuser.study.subject_average import _spread

N_PICTURES, WIDTH = 40, 6


def spread_of(*features):
    rows = [np.arange(N_PICTURES)] * len(features)
    return _spread(features, rows, block=16)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(3, 1, (3, N_PICTURES, WIDTH)).astype(np.float32)


def test_subjects_who_agree_keep_all_of_it(features):
    assert spread_of(features[0], features[0] + 5) == pytest.approx(1, abs=1e-5)


def test_it_is_the_averages_spread_over_the_mean_of_the_subjects(features):
    """Subjects differ in scale, so that no other summary than the mean gives the same."""
    scaled = features * np.array([1, 4, 10])[:, None, None]
    alone = scaled.std(axis=1).sum(axis=1)
    expected = scaled.mean(axis=0).std(axis=0).sum() / alone.mean()
    assert spread_of(*scaled.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_subjects_who_share_nothing_keep_one_over_root_n():
    apart = np.random.default_rng(1).normal(size=(4, N_PICTURES, 2000)).astype(np.float32)
    assert spread_of(*apart) == pytest.approx(0.5, abs=0.02)
