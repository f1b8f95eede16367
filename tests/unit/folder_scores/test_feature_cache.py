"""Laws of kept features: the same numbers, computed once, never from a damaged file, and nothing else is deleted."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from braindiffuser.folder_scores.feature_cache import FeatureCache, network_facts

FACTS = {"network": "counted", "file": "0"}


@pytest.fixture
def pictures():
    return np.random.default_rng(0).random((3, 3, 12, 12), dtype=np.float32)


class Counted:
    """A network that counts how often it computes."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, pictures):
        self.n_calls += 1
        return {"mean": pictures.mean(axis=(2, 3)), "flat": pictures.reshape(len(pictures), -1)}


def alike(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_batch_passes_a_network_once(pictures, tmp_path):
    network = Counted()
    expected = Counted()(pictures)
    for _ in range(2):
        remembered = FeatureCache(tmp_path / "new").remembering("counted", network, FACTS)
        assert alike(remembered(pictures), expected)
    assert network.n_calls == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda pictures: pictures[::-1],
        lambda pictures: pictures[:2],
        lambda pictures: pictures + np.float32(1e-6),
        lambda pictures: pictures.reshape(3, 3, 9, 16),
    ],
)
def test_other_pictures_are_others(change, pictures, tmp_path):
    network = Counted()
    remembered = FeatureCache(tmp_path).remembering("counted", network, FACTS)
    remembered(pictures)
    assert alike(remembered(change(pictures)), Counted()(change(pictures)))
    assert network.n_calls == 2


def test_another_network_is_another(pictures, tmp_path):
    network, cache = Counted(), FeatureCache(tmp_path)
    for file in "01":
        cache.remembering("counted", network, {**FACTS, "file": file})(pictures)
    assert network.n_calls == 2


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-9], lambda content: content[:-1] + bytes([content[-1] ^ 1]), lambda content: b""],
)
def test_damaged_features_are_computed_again(damage, pictures, tmp_path):
    network = Counted()
    remembered = FeatureCache(tmp_path).remembering("counted", network, FACTS)
    remembered(pictures)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert alike(remembered(pictures), Counted()(pictures))
    assert network.n_calls == 2
    assert alike(remembered(pictures), Counted()(pictures))
    assert network.n_calls == 2


def test_features_under_the_name_of_others_are_computed_again(pictures, tmp_path):
    """A backup or a sync that renames files must not give one picture the features of another."""
    network = Counted()
    remembered = FeatureCache(tmp_path).remembering("counted", network, FACTS)
    remembered(pictures)
    (first,) = tmp_path.iterdir()
    remembered(pictures[::-1])
    (second,) = set(tmp_path.iterdir()) - {first}
    second.write_bytes(first.read_bytes())
    assert alike(remembered(pictures[::-1]), Counted()(pictures[::-1]))
    assert network.n_calls == 3
    assert alike(remembered(pictures), Counted()(pictures))
    assert network.n_calls == 3


def test_files_of_earlier_versions_are_not_read_but_make_room(pictures, tmp_path):
    network, cache = Counted(), FeatureCache(tmp_path, room=0)
    remembered = cache.remembering("counted", network, FACTS)
    made = remembered(pictures)
    (path,) = tmp_path.iterdir()
    save_file(made, path, {"made_by": "braindiffuser features 1", "sha256": ""})
    remembered(pictures)
    assert network.n_calls == 2
    save_file(made, path, {"made_by": "braindiffuser features 1", "sha256": ""})
    cache.tidy()
    assert not path.exists()


def test_a_folder_that_cannot_be_written_costs_no_scores(pictures, tmp_path):
    (tmp_path / "file").touch()
    network, cache = Counted(), FeatureCache(tmp_path / "file")
    remembered = cache.remembering("counted", network, FACTS)
    for _ in range(2):
        assert alike(remembered(pictures), Counted()(pictures))
    (fault,) = cache.faults
    assert fault.startswith(f"features could not be kept in {tmp_path / 'file'}: ")


def test_what_was_not_used_for_longest_goes_first_and_nothing_else_goes(pictures, tmp_path):
    cache = FeatureCache(tmp_path)
    remembered = cache.remembering("counted", Counted(), FACTS)
    paths = []
    for number in range(3):
        remembered(pictures + np.float32(number))
        (path,) = set(tmp_path.iterdir()) - set(paths)
        os.utime(path, (number, number))
        paths.append(path)
    foreign = [tmp_path / "model.safetensors", tmp_path / f"mine-{'0' * 40}.safetensors"]
    for path in foreign:
        save_file({"a": np.zeros(1000)}, path)
        os.utime(path, (0, 0))
    remembered(pictures)  # used again
    cache.tidy()
    assert all(path.exists() for path in [*paths, *foreign])
    cache.room = sum(path.stat().st_size for path in [paths[0], foreign[1]])
    cache.tidy()
    assert [path.exists() for path in paths] == [True, False, False]
    assert all(path.exists() for path in foreign)


def test_facts_are_known_of_networks_that_are_there(tmp_path, monkeypatch):
    declared = SimpleNamespace(NETWORKS={"swav": "layers"})
    monkeypatch.setitem(sys.modules, "braindiffuser.metrics.published_networks", declared)
    demo = network_facts("clip_demo", tmp_path, "cuda:1")
    assert (demo["network"], demo["device"]) == ("clip_demo", "cuda")
    assert demo != network_facts("clip_demo", tmp_path, "cpu")
    assert network_facts("efficientnet_lite0", tmp_path, "cpu")["file"]
    assert network_facts("alexnet", tmp_path, "cpu") is None  # no file
    assert network_facts("mine", tmp_path, "cpu") is None
    (tmp_path / "swav_800ep_pretrain.pth.tar").write_bytes(b"one")
    one = network_facts("swav", tmp_path, "cpu")
    (tmp_path / "swav_800ep_pretrain.pth.tar").write_bytes(b"two")
    assert one != network_facts("swav", tmp_path, "cpu")
    two = network_facts("swav", tmp_path, "cpu")
    declared.NETWORKS = {"swav": "other layers"}
    assert two != network_facts("swav", tmp_path, "cpu")
