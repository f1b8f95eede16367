import numpy as np
import pytest
import torch

from braindiffuser.data.scenes import compose_scenes
from braindiffuser.efficientnet_lite import load_efficientnet_lite
from braindiffuser.evaluation.metrics import DEMO, Profile, score
from braindiffuser.evaluation.networks import load_efficientnet_lite0
from braindiffuser.images import from_uint8, resize


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def seen() -> np.ndarray:
    return from_uint8(compose_scenes(12, seed=0)[0])


def test_layers_are_those_of_efficientnet_lite0(seen):
    expected = load_efficientnet_lite("lite0").blocks(seen[:3])
    layers = load_efficientnet_lite0(batch_size=2)(seen[:3])
    assert layers.keys() == expected.keys()
    for name in layers:
        np.testing.assert_allclose(layers[name], expected[name], atol=1e-4)


def test_demo_networks_tell_blurred_scenes_apart(seen):
    profile = Profile("efficientnet", tuple(m for m in DEMO.metrics if m.network == "efficientnet_lite0"))
    blurred = resize(resize(seen, 24), 64)
    scores = score(seen, blurred, profile, {"efficientnet_lite0": load_efficientnet_lite0()})
    assert len(scores) == 3
    for per_picture in scores.values():
        assert per_picture.mean() > 0.7
