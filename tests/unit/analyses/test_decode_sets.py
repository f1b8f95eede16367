"""Several sets at once are what each is alone; silent voxels say nothing."""

import numpy as np
import pytest

from braindiffuser.analyses.run_decoders import silenced
from braindiffuser.regression.rows import TrainingRows

from .linear_world import N_VOXELS, linear_world


@pytest.mark.parametrize("calibration", ["inductive", "transductive"])
def test_sets_are_decoded_as_if_alone(calibration):
    data = linear_world(calibration=calibration)
    decoders, responses = data.decoders(), data.responses("test")
    together = decoders.decode_sets({"all": responses, "some": responses[:7]})
    for name, own in (("all", responses), ("some", responses[:7])):
        for group, features in decoders.decode(own).items():
            np.testing.assert_allclose(together[name][group], features, rtol=1e-4, atol=1e-4)
    assert decoders.n_targets == sum(values.shape[1] for values in decoders.targets.values())


def test_silent_voxels_say_nothing():
    data = linear_world()
    kept = np.arange(N_VOXELS) < 30
    responses, decoders = data.responses("test"), data.decoders()
    other = responses.copy()
    other[:, ~kept] = 100.0
    for group, features in decoders.decode(silenced(responses, kept, decoders.rows)).items():
        np.testing.assert_array_equal(decoders.decode(silenced(other, kept, decoders.rows))[group], features)


@pytest.mark.parametrize("weighted", [False, True])
def test_silent_voxels_have_their_training_mean(weighted):
    rng = np.random.default_rng(0)
    trained = (rng.standard_normal((20, 6)) + 5 * np.arange(6)).astype(np.float32)
    weights = rng.integers(1, 4, 20).astype(float) if weighted else None
    responses, kept = rng.standard_normal((3, 6)).astype(np.float32), np.arange(6) % 2 == 0
    found = silenced(responses, kept, TrainingRows(trained, weights=weights))
    np.testing.assert_array_equal(found[:, kept], responses[:, kept])
    expected = np.repeat(trained, weights.astype(int), axis=0) if weighted else trained
    np.testing.assert_allclose(found[:, ~kept], np.tile(expected.mean(axis=0)[~kept], (3, 1)), rtol=1e-5)
