import numpy as np
import pytest

from braindiffuser.metrics import silhouette as module
from braindiffuser.metrics.silhouette import few_clusters, isolated_share, silhouette


def correlations_of(n_kinds, n, scatter, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.arange(n) % n_kinds)
    return np.corrcoef(rng.normal(size=(n_kinds, 60))[kind] + scatter * rng.normal(size=(n, 60))), kind


def plain(correlations, labels):
    """The definition, picture by picture."""
    own = []
    for i, label in enumerate(labels):
        distances = {
            other: np.mean([1 - correlations[i, j] for j in np.flatnonzero(labels == other) if j != i])
            for other in set(labels)
            if (labels == other).sum() > (other == label)
        }
        if label not in distances:
            own.append(0.0)
            continue
        inside, outside = distances.pop(label), min(distances.values())
        own.append((outside - inside) / max(inside, outside))
    return np.mean(own)


@pytest.mark.parametrize("scatter", [0.2, 1.0, 5.0])
def test_it_is_the_mean_over_pictures_of_how_much_nearer_their_own_cluster_is(scatter):
    correlations, labels = correlations_of(4, 25, scatter)
    labels[0] = 4  # one alone
    assert silhouette(correlations, labels) == pytest.approx(plain(correlations, labels))


def test_pictures_that_are_left_out_and_the_order_change_nothing():
    correlations, labels = correlations_of(3, 20, 0.5)
    kept = np.arange(4, 20)
    left_out = np.where(np.arange(20) < 4, -1, labels)
    inner = silhouette(correlations[np.ix_(kept, kept)], labels[kept])
    assert silhouette(correlations, left_out) == pytest.approx(inner)
    order = np.random.default_rng(1).permutation(20)
    assert silhouette(correlations[np.ix_(order, order)], left_out[order]) == pytest.approx(inner)


@pytest.mark.parametrize("n_kinds", [2, 6, 20])
def test_kinds_that_scatter_are_found(n_kinds):
    correlations, kind = correlations_of(n_kinds, 80, 0.3)
    found = few_clusters(correlations)
    assert len(set(zip(found.labels, kind, strict=True))) == n_kinds
    assert found.silhouette > 0.8


def test_clusters_with_gaps_are_isolated_and_arcs_of_a_circle_are_not():
    correlations, labels = correlations_of(4, 40, 0.5)
    assert isolated_share(correlations, labels) == 1
    labels[0] = 4
    assert (
        isolated_share(correlations, labels) <= 1 - 1 / 40
    )  # it is alone now, and some of its former cluster are nearer to it
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 60)
    circle = np.cos(angles[:, None] - angles)
    found = few_clusters(circle)
    assert found.silhouette > 0.6
    assert isolated_share(circle, found.labels) < 0.9
    assert isolated_share(circle, np.zeros(60, int)) == 0


def test_pictures_of_no_kinds_are_not_apart():
    correlations, _ = correlations_of(1, 60, 1.0)
    rng = np.random.default_rng(0)
    for made in (correlations, np.corrcoef(rng.normal(size=(60, 40)))):
        assert few_clusters(made).silhouette < 0.2


def test_of_many_pictures_evenly_spaced_ones_are_taken(monkeypatch):
    correlations, kind = correlations_of(3, 40, 0.2)
    monkeypatch.setattr(module, "MOST_PICTURES", 20)
    found = few_clusters(correlations)
    assert np.flatnonzero(found.labels >= 0).tolist() == np.rint(np.linspace(0, len(correlations) - 1, 20)).tolist()
    taken = found.labels >= 0
    assert len(set(zip(found.labels[taken], kind[taken], strict=True))) == 3


def test_equal_pictures_and_two_of_them_are_put_somewhere():
    assert few_clusters(np.ones((5, 5))).silhouette == 0
    assert few_clusters(np.eye(2)).labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="expected two or more"):
        few_clusters(np.eye(1))
