import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.images import from_uint8, resize
from braindiffuser.metrics import feature_networks
from braindiffuser.metrics.feature_networks import (
    load_clip_demo,
    load_efficientnet_lite0,
    load_networks,
    scoring_networks,
)
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.networks.catalogue import SCORING_NETWORKS
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import load_clip
from braindiffuser.networks.efficientnet_lite import load_efficientnet_lite
from braindiffuser.targets.clip_tokens import embed_pictures


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
    profile = Profile.load("demo").without({"clip_demo"})
    blurred = resize(resize(seen, 24), 64)
    scores = Scorer(seen, profile, {"efficientnet_lite0": load_efficientnet_lite0()}).score(blurred)
    assert len(scores) == 5
    for per_picture in scores.values():
        assert per_picture.mean() > 0.7


def test_networks_are_loaded_by_name(seen, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    networks, missing = scoring_networks(("swav", "clip_demo", "alexnet", "efficientnet_lite0"), tmp_path)
    assert set(networks) == {"clip_demo", "efficientnet_lite0"}
    assert list(missing) == ["alexnet", "swav"]
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in missing["alexnet"]
    np.testing.assert_array_equal(networks["clip_demo"](seen)["embedding"], load_clip_demo()(seen)["embedding"])
    assert scoring_networks((), tmp_path) == ({}, {})


def test_the_demo_clip_is_the_bundled_one_and_tells_scenes_apart(seen):
    features = load_clip_demo()(seen)["embedding"]
    expected = embed_pictures(load_clip(BUNDLED / "demo" / "clip"), seen)
    np.testing.assert_array_equal(features, expected)
    assert two_way_identification(features, load_clip_demo()(resize(resize(seen, 24), 64))["embedding"]).mean() > 0.7


def test_unknown_networks_are_answered_with_those_there_are(tmp_path):
    known = "alexnet, alexnet_256, alexnet_299, clip_demo, .*, lpips_alexnet, swav, swav_256"
    with pytest.raises(RunError, match=f"there is no scoring network resnet, vgg; known networks: {known}"):
        scoring_networks({"vgg", "alexnet", "resnet"}, tmp_path)


def test_asking_which_networks_are_here_loads_none_of_their_libraries(tmp_path):
    program = (
        "import sys\n"
        "from braindiffuser.experiment import Experiment\n"
        "from braindiffuser.stages import stages\n"
        "experiment = Experiment.load('brain-diffuser')\n"
        "assert stages()['evaluate'].available(experiment, '') == ('alexnet',)\n"
        "assert not {'torch', 'torchvision', 'transformers', 'pooch', 'huggingface_hub'} & set(sys.modules)"
    )
    (tmp_path / SCORING_NETWORKS["alexnet"].name).write_bytes(
        b""
    )  # which LPIPS needs too, but its own weights are not here
    places = {"BRAINDIFFUSER_CHECKPOINTS": str(tmp_path), "TORCH_HOME": str(tmp_path / "torch")}
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | places)


def test_scoring_networks_take_smaller_batches_where_memory_is_short(seen, tmp_path, monkeypatch):
    """The bundled and the published ones alike: they come from one place."""
    tried = []

    def small(pictures):
        tried.append(len(pictures))
        if len(pictures) > 2:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
        return {"last": pictures[:, 0, 0]}

    monkeypatch.setattr(
        feature_networks, "scoring_networks", lambda names, folder, device: (dict.fromkeys(names, small), {})
    )
    networks, _ = load_networks(Profile.load("demo"), tmp_path)
    features = networks["efficientnet_lite0"](seen[:5])
    np.testing.assert_array_equal(features["last"], seen[:5, 0, 0])
    assert tried == [5, 2, 2, 1]
    assert networks["clip_demo"](seen[:0])["last"].shape == (0, 64)
