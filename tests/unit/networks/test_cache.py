"""Laws of the cache: a network is loaded once as long as it is kept, and nothing else holds it."""

import errno
import gc
import os
import weakref
from pathlib import Path

import pytest

from braindiffuser.errors import RunError
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.checkpoints import load_vdvae

ONE, OTHER = Path("one"), Path("other")


class Network:
    def __init__(self, folder):
        self.folder = folder


def load(folder):
    return Network(folder)


def load_another_way(folder):
    return Network(folder)


@pytest.fixture
def networks():
    return NetworkCache()


def test_a_network_is_loaded_once(networks):
    network = networks.load(ONE, load)
    assert network.folder == ONE
    assert networks.load(ONE, load) is network


def test_other_folders_loaders_and_settings_are_other_networks(networks):
    loaded = [
        networks.load(ONE, load),
        networks.load(OTHER, load),
        networks.load(ONE, load_another_way),
        networks.load(ONE, load, "half"),
        networks.load(ONE, load, "full", True),
        networks.load(ONE, load, "full", False),
    ]
    assert len({id(network) for network in loaded}) == len(loaded)
    assert networks.load(ONE, load, "half") is loaded[3]


def test_a_loader_that_takes_the_device_shares_its_entry():
    def load_on(folder, device="cpu"):
        return folder, device

    networks = NetworkCache("cuda:1")
    assert networks.load_to_device(ONE, load_on) == (ONE, "cuda:1")
    assert networks.load(ONE, load_on) is networks.load_to_device(ONE, load_on)


def test_loaders_of_one_name_in_two_modules_are_two(networks):
    def of_another_module(folder):
        return Network(folder)

    of_another_module.__qualname__, of_another_module.__module__ = load.__qualname__, "another"
    assert networks.load(ONE, of_another_module) is not networks.load(ONE, load)


def test_functions_made_anew_at_the_same_place_are_the_same(networks):
    def opened():
        def load_there(folder):
            return Network(folder)

        return networks.load(ONE, load_there)

    assert opened() is opened()


def test_what_is_not_kept_is_gone(networks):
    kept, dropped = networks.load(ONE, load, "half"), weakref.ref(networks.load(OTHER, load))
    networks.keep({"any name": ONE}.values())
    gc.collect()
    assert dropped() is None
    assert networks.load(ONE, load, "half") is kept
    networks.keep(())
    assert networks.load(ONE, load, "half") is not kept


@pytest.mark.parametrize("error", [OSError("no such file"), ValueError("is damaged or cut short")])
def test_a_checkpoint_that_cannot_be_used_is_named_and_tried_again(networks, error):
    def broken(folder):
        raise error

    for _ in range(2):
        with pytest.raises(RunError, match=f"the checkpoint one cannot be used: {error}"):
            networks.load(ONE, broken)


def test_other_errors_show_where_they_came_from(networks):
    def faulty(folder):
        raise TypeError("of the loader itself")

    with pytest.raises(TypeError, match="of the loader itself"):
        networks.load(ONE, faulty)


def test_a_missing_checkpoint_is_named(networks, tmp_path):
    with pytest.raises(RunError, match=r"nowhere is not a checkpoint folder: it has no config\.json"):
        networks.load(tmp_path / "nowhere", load_vdvae)


def test_networks_compute_on_the_cpu_unless_told():
    assert NetworkCache().device == "cpu"
    assert NetworkCache("cuda:1").device == "cuda:1"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("quoted", [False, True])
def test_what_the_operating_system_refuses_is_no_fault_of_the_checkpoint(networks, number, quoted):
    def load(folder):
        raise ValueError(f"refused (os error {number})") if quoted else OSError(number, os.strerror(number))

    with pytest.raises(OSError, match="one") as raised:
        networks.load(Path("one"), load)
    assert (raised.value.errno, raised.value.filename) == (number, "one")


def write(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "new").write_text(text)
    (folder / "new").replace(folder / "config.json")


def read(folder):
    return (folder / "config.json").read_text()


def test_a_network_whose_files_were_replaced_is_loaded_anew(networks, tmp_path):
    folder = tmp_path / "clip"
    write(folder, "100")
    assert networks.load(folder, read) == "100"
    write(folder, "777")  # as large
    assert networks.load(folder, read) == "777"
    assert len(networks._loaded) == 1


def test_a_network_that_was_replaced_while_it_was_loaded_serves_nobody_later(networks, tmp_path):
    folder, kept = tmp_path / "clip", tmp_path / "kept"
    write(folder, "100")
    (folder / "config.json").rename(kept)
    good = kept.read_text()

    def swapped(folder):
        (folder / "config.json").write_text("777")
        return read(folder)

    kept.rename(folder / "config.json")
    assert networks.load(folder, swapped) == "777"
    (folder / "config.json").write_text(good)
    assert networks.load(folder, read) == "100"
