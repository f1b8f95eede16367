from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.splits import Cluster
from braindiffuser.splits.cluster import find_clusters, thumbnails
from braindiffuser.stages.prepare import STAGE

COLOURS = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]], np.float32)
KINDS = np.array([2, 0, 1, 0, 0, 1, 0, 2, 1, 0])
"""Colour of each picture: red five times, green three times, blue twice."""


def recording(kinds=KINDS, repeats=2, **more):
    """Noisy pictures of three colours; betas cannot be read."""

    def pictures(ids):
        rng = [np.random.default_rng(int(number)) for number in ids]
        noise = np.stack([own.normal(0, 0.03, (3, 16, 16)) for own in rng]).astype(np.float32)
        return np.clip(COLOURS[np.asarray(kinds)[ids]][:, :, None, None] + noise, 0, 1)

    def betas(session):
        raise AssertionError("betas were read")

    ids = np.tile(np.arange(len(kinds)), repeats)
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": np.arange(len(ids)), "stimulus_id": ids})
    trials["repeat"], trials["split"] = number_repeats(ids), ""
    return Recording("me", trials, Voxels(3), {}, betas, "z", pictures=pictures, **more)


@pytest.mark.parametrize("cluster", [0, 1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_that_look_alike_test_together_the_largest_cluster_first(cluster, seed):
    divided = Cluster(n_clusters=3, test_cluster=cluster, seed=seed).divide(recording())
    assert divided.test_sets["test"].tolist() == np.flatnonzero(cluster == KINDS).tolist()
    assert set(divided.trials["split"]) == {"train", "test"}


def test_it_says_how_many_test_of_which_cluster_and_by_which_feature():
    assert Cluster(n_clusters=3, test_cluster=1, seed=4).divide(recording()).split_remark == (
        "Split: 3 of 10 stimuli test, cluster 1 of 3 (k-means of thumbnails of 8 × 8 pixels, seed 4; clusters have 5, 3, 2 "
        "stimuli). Test pictures are unlike training pictures in this feature."
    )


def test_the_same_pictures_in_another_order_of_trials_give_the_same_split():
    whole = recording(np.random.default_rng(0).integers(0, 3, 40))
    mixed = replace(whole, trials=whole.trials.sample(frac=1, random_state=0).reset_index(drop=True))
    split = Cluster(n_clusters=5, test_cluster=2, seed=3)
    assert split.divide(whole).test_sets["test"].tolist() == split.divide(mixed).test_sets["test"].tolist()


def test_thumbnails_are_means_of_blocks():
    whole = recording()
    picture = whole.pictures(np.array([4]))[0]
    blocks = picture.reshape(3, 8, 2, 8, 2).mean(axis=(2, 4)).ravel()
    np.testing.assert_allclose(thumbnails(whole, np.array([4]))[0], blocks, atol=1.5 / 255)


def test_clusters_of_one_size_are_in_order_of_their_first_row():
    features = np.array([[9.0], [0.0], [9.1], [0.1]])
    assert all(find_clusters(features, 2, seed).tolist() == [0, 1, 0, 1] for seed in range(5))


def test_the_tightest_of_ten_starts_is_taken():
    """These nine heaps are found by few starts; one start alone ends in clusters of twice the spread."""
    rng = np.random.default_rng(121)
    heaps = np.repeat(np.arange(9), 5)
    features = rng.uniform(-5, 5, (9, 2))[heaps] + 0.1 * rng.normal(size=(45, 2))
    assert len(set(zip(find_clusters(features, 9, 0).tolist(), heaps.tolist(), strict=True))) == 9


def test_further_test_sets_are_in_no_cluster():
    whole = recording(further_test_sets={"apart": np.array([1, 3])})
    divided = Cluster(n_clusters=3, test_cluster=0).divide(whole)
    assert divided.test_sets["apart"].tolist() == [1, 3]
    assert not np.isin(divided.test_sets["test"], [1, 3]).any()


def test_results_depend_on_the_content_of_the_pictures():
    plain = Experiment.load("demo")
    clustered = plain.model_copy(update={"split": Cluster(n_clusters=3)})
    assert "stimuli" in STAGE.roles(clustered, "stimuli")
    assert "stimuli" not in STAGE.roles(plain, "stimuli")


@pytest.mark.parametrize(
    ("entries", "kinds", "words"),
    [
        (
            {"n_clusters": 11},
            KINDS,
            r"split.n_clusters is 11, but the 10 pictures have 10 different thumbnails of 8 × 8 pixels",
        ),
        (
            {"n_clusters": 2, "test_cluster": 1},
            [0, 0, 0, 1],
            r"cluster 1 \(clusters have 3, 1 stimuli\) lets 1 of 4 stimuli test and 3 train",
        ),
        (
            {"n_clusters": 2, "test_cluster": 0},
            [0, 0, 0, 1],
            r"cluster 0 \(clusters have 3, 1 stimuli\) lets 3 of 4 stimuli test and 1 train",
        ),
    ],
)
def test_clusters_that_leave_too_little_are_refused(entries, kinds, words):
    with pytest.raises(RecordingError, match=words):
        Cluster(**entries).divide(recording(kinds))


def test_a_cluster_that_there_is_not_is_refused():
    with pytest.raises(ValidationError, match="test_cluster is 3, but 3 clusters are counted from 0 to 2"):
        Cluster(n_clusters=3, test_cluster=3)
