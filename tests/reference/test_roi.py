"""ROI maximisation against figures of the original implementation, for every file `roi_*` among the reference vectors."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from braindiffuser.analyses.roi_maximisation import maximise, roi_patterns

VECTORS = Path(os.environ.get("BRAINDIFFUSER_REFERENCE_VECTORS", Path(__file__).parent / "vectors"))
TOLERANCE = 1e-6


@pytest.fixture(params=sorted(VECTORS.glob("roi_*.safetensors")), ids=lambda path: path.stem)
def vectors(request) -> dict[str, np.ndarray]:
    return load_file(request.param)


def test_patterns(vectors):
    labels = vectors["roi_labels_raw"]
    patterns = roi_patterns({str(number): row > 0 for number, row in enumerate(labels)})
    np.testing.assert_array_equal(patterns, vectors["roi_patterns"])


@pytest.mark.parametrize(("group", "weight"), [("latents", "latent"), ("text", "text"), ("vision", "vision")])
def test_targets_as_published(vectors, group, weight):
    weights, intercept = vectors[f"{weight}_weight"], vectors[f"{weight}_bias"]
    patterns, expected = vectors["roi_patterns"], vectors[f"{group}_roi"]
    projections = patterns @ weights.reshape(-1, patterns.shape[1]).T
    training = vectors["latents_train"] if group == "latents" else np.zeros((2, intercept.size))
    made = maximise(group, projections, intercept.ravel(), training.mean(0), training.std(0), "as-published")
    np.testing.assert_allclose(made, expected.reshape(len(expected), -1), rtol=0, atol=TOLERANCE)
