"""Clusters of decoded features, found without the truth: a few kinds of predictions, however much those of one kind scatter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Matrix

MOST_CLUSTERS = 25
"""Clusters that are called few."""
MOST_PICTURES = 2000
"""Pictures, evenly spaced, that are clustered: all distances between them are held."""
LEFT_OUT = -1

Labels = Int[np.ndarray, " n"]
"""Number of each picture's cluster from 0; negative where it was left out."""


class Clusters(NamedTuple):
    """Pictures in clusters.

    Attributes:
        labels: number of each picture's cluster (n,) from 0, −1 where it was left out.
        silhouette: how well they are apart, in [−1, 1].
    """

    labels: Labels
    silhouette: float


def silhouette(correlations: Matrix, labels: Labels) -> float:
    """Measure how well clusters are apart (Rousseeuw 1987, J. Comput. Appl. Math. 20, 53–65).

        mean over pictures of (b_i − a_i) / max(a_i, b_i)

    with distances 1 − r; a_i is the mean distance of picture i to the others of its cluster, b_i that to the pictures of the
    nearest other cluster. A picture alone in its cluster counts 0. More than .7 is a strong structure (Kaufman & Rousseeuw 1990).

    Args:
        correlations: of all pairs of pictures (n, n).
        labels: number of each picture's cluster (n,) from 0; those with a negative one are left out.

    Returns:
        In [−1, 1]; 0 of a single cluster or of none.

    >>> silhouette(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1.0]]), np.array([0, 0, 1, 1]))
    1.0
    """
    taken = np.flatnonzero(labels >= 0)
    distances = np.clip(1 - correlations[np.ix_(taken, taken)], 0, None)
    np.fill_diagonal(distances, 0.0)
    _, own = np.unique(labels[taken], return_inverse=True)
    sizes = np.bincount(own)
    if len(sizes) < 2:
        return 0.0
    sums, rows = distances @ np.eye(len(sizes))[own], np.arange(len(own))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    larger = np.maximum(inside, outside)
    apart = np.divide(outside - inside, larger, out=np.zeros(len(own)), where=(larger > 0) & (sizes[own] > 1))
    return float(apart.mean())


def isolated_share(correlations: Matrix, labels: Labels) -> float:
    """Return the share of pictures that lie nearer to every picture of their cluster than to any of another one.

        mean over pictures of [min_j r_ij > max_k r_ik],  j others of the cluster of picture i, k pictures of other clusters

    It tells clusters with gaps between them from parts of a continuum, such as arcs of a circle, whose pictures at the borders
    have neighbours on the other side. A picture alone in its cluster counts 0.

    Args:
        correlations: of all pairs of pictures (n, n).
        labels: number of each picture's cluster (n,) from 0; those with a negative one are left out.

    Returns:
        In [0, 1]; 0 of a single cluster.

    >>> isolated_share(np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]]), np.array([0, 0, 1]))
    0.666...
    """
    taken = np.flatnonzero(labels >= 0)
    own, r = labels[taken], correlations[np.ix_(taken, taken)]
    is_same = own[:, None] == own
    if is_same.all():
        return 0.0
    is_other = ~is_same
    np.fill_diagonal(is_same, False)
    farthest, nearest = np.where(is_same, r, np.inf).min(axis=1), np.where(is_other, r, -np.inf).max(axis=1)
    return float(((farthest > nearest) & is_same.any(axis=1)).mean())


def few_clusters(correlations: Matrix) -> Clusters:
    """Put pictures into 2 to 25 clusters, but no more than a quarter of their number, as many as are best apart.

    Clusters are joined by the mean distance 1 − r between their pictures (average linkage); of these partitions the one with the
    largest `silhouette` is taken.

    Args:
        correlations: of all pairs of pictures (n, n), n ≥ 2.

    Raises:
        ValueError: if there are fewer than two pictures.

    >>> few_clusters(np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0.9], [0, 0, 0.9, 1]])).labels.tolist()
    [0, 0, 1, 1]
    """
    from scipy.cluster.hierarchy import average, fcluster
    from scipy.spatial.distance import squareform

    n = len(correlations)
    if n < 2:
        raise ValueError(f"got {n} pictures, expected two or more to put into clusters")
    taken = np.rint(np.linspace(0, n - 1, min(n, MOST_PICTURES))).astype(np.int64)
    distances = np.clip(1 - correlations[np.ix_(taken, taken)], 0, None)
    np.fill_diagonal(distances, 0.0)
    tree = average(squareform((distances + distances.T) / 2, checks=False))
    found = []
    for most in range(2, max(3, min(MOST_CLUSTERS, n // 4) + 1)):
        labels = np.full(n, LEFT_OUT)
        labels[taken] = fcluster(tree, most, "maxclust") - 1
        found.append(Clusters(labels, silhouette(correlations, labels)))
    return max(found, key=lambda each: each.silhouette)
