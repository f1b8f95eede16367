"""A cluster of similar pictures tests: whether a decoder reaches pictures that are unlike those it was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, model_validator

from braindiffuser.errors import RecordingError
from braindiffuser.splits.split import Split, divisible_stimuli, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

SIDE = 8
"""Side of a thumbnail, in pixels."""
FEATURES = {"thumbnail": f"thumbnails of {SIDE} × {SIDE} pixels"}
"""Feature → its name on the page."""


class Cluster(Split):
    """One cluster of pictures tests, all others train; clusters are k-means of a feature of the pictures alone.

    k-means starts ten times from a seed (k-means++; Arthur & Vassilvitskii 2007), and the tightest clustering is taken. No
    responses are read. Clusters are numbered by size, the largest first.
    """

    reads_pictures: ClassVar[bool] = True

    n_clusters: int = Field(ge=2, description="Number of clusters.")
    test_cluster: int = Field(0, ge=0, description="Cluster that tests: 0 is the largest.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of k-means.")
    feature: Literal["thumbnail"] = Field(
        "thumbnail",
        description=f"What pictures are compared by. thumbnail: means of {SIDE} × {SIDE} blocks, in red, green and blue.",
    )

    @model_validator(mode="after")
    def _there(self) -> Cluster:
        if self.test_cluster >= self.n_clusters:
            raise ValueError(
                f"test_cluster is {self.test_cluster}, but {self.n_clusters} clusters are counted from 0 to "
                f"{self.n_clusters - 1}"
            )
        return self

    def divide(self, recording: Recording) -> Recording:
        """Read the pictures, find clusters, and hold one out."""
        ids = divisible_stimuli(recording)
        features = thumbnails(recording, ids)
        distinct = len(np.unique(features, axis=0))
        if distinct < self.n_clusters:
            raise RecordingError(
                f"split.n_clusters is {self.n_clusters}, but the {len(ids)} pictures have {distinct} different "
                f"{FEATURES[self.feature]}: use fewer clusters"
            )
        clusters = find_clusters(features, self.n_clusters, self.seed)
        test, sizes = ids[clusters == self.test_cluster], ", ".join(map(str, np.bincount(clusters)))
        remark = (
            f"Split: {len(test)} of {len(ids)} stimuli test, cluster {self.test_cluster} of {self.n_clusters} (k-means of "
            f"{FEATURES[self.feature]}, seed {self.seed}; clusters have {sizes} stimuli). Test pictures are unlike training "
            "pictures in this feature."
        )
        return with_split(
            recording,
            test.tolist(),
            remark,
            chosen=f"cluster {self.test_cluster} (clusters have {sizes} stimuli)",
            advice="choose another cluster or number of clusters",
        )


def thumbnails(recording: Recording, stimulus_ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
    """Shrink pictures to 8 × 8 pixels, means of blocks, rounded to 8 bits: (n, 192) in [0, 1]."""
    from PIL import Image

    from braindiffuser.images import batch_slices, resize

    small = [
        resize(recording.pictures(stimulus_ids[rows]), SIDE, Image.Resampling.BOX).reshape(-1, 3 * SIDE * SIDE)
        for rows in batch_slices(len(stimulus_ids))
    ]
    return np.concatenate(small).astype(np.float64)


def find_clusters(features: Float[np.ndarray, "n d"], n_clusters: int, seed: int) -> Int[np.ndarray, " n"]:
    """Return the cluster of each row by k-means; 0 is the largest, and of equal ones that with the first row."""
    from sklearn.cluster import KMeans

    labels = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(features)
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    clusters: Int[np.ndarray, " n"] = rank[inverse]
    return clusters
