"""Metrics against figures of the original implementations, for every file `metrics*` among the reference vectors."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from braindiffuser.images import from_uint8
from braindiffuser.metrics.correlation_distance import correlation_distance
from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.ssim_column_mean import SSIMColumnMean
from braindiffuser.metrics.two_way_identification import two_way_identification

VECTORS = Path(os.environ.get("BRAINDIFFUSER_REFERENCE_VECTORS", Path(__file__).parent / "vectors"))
TOLERANCE = 1e-6


@pytest.fixture(params=sorted(VECTORS.glob("metrics*.safetensors")), ids=lambda path: path.stem)
def vectors(request) -> dict[str, np.ndarray]:
    return load_file(request.param)


@pytest.mark.parametrize(
    ("metric", "name"),
    [(PixCorr(), "pixcorr"), (SSIM(), "ssim_2d"), (SSIMColumnMean(), "ssim_bd2023_column_mean")],
    ids=["pixcorr", "ssim", "ssim_column_mean"],
)
def test_pixels(vectors, metric, name):
    seen, made = from_uint8(vectors["images_true_uint8"]), from_uint8(vectors["images_reconstructed_uint8"])
    np.testing.assert_allclose(metric.compare(seen, made), vectors[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("direction", "name"),
    [("per_reconstruction", "two_way_per_reconstruction"), ("per_stimulus", "two_way_per_ground_truth")],
)
def test_two_way_identification(vectors, direction, name):
    scores = two_way_identification(vectors["features_true"], vectors["features_reconstructed"], direction)
    np.testing.assert_allclose(scores.mean(), vectors[name], rtol=0, atol=TOLERANCE)


def test_correlation_distance(vectors):
    distances = correlation_distance(vectors["features_true"], vectors["features_reconstructed"])
    np.testing.assert_allclose(distances, vectors["correlation_distance"], rtol=0, atol=TOLERANCE)
