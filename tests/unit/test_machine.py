"""Facts of the machine: devices that are there, versions, and peaks of memory."""

import json
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindiffuser.errors import RunError
from braindiffuser.machine import (
    PACKAGES,
    _installed,
    check_device,
    machine,
    peak_memory_gb,
    reset_peak_memory,
    versions,
)


@pytest.mark.parametrize(
    ("device", "n_gpus"), [("cpu", 0), ("cpu", 2), ("cuda", 1), ("cuda:0", 1), ("cuda:1", 2), ("cuda", 2)]
)
def test_devices_that_are_there_are_accepted(device, n_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    check_device(device)


@pytest.mark.parametrize(("device", "n_gpus"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:7", 2)])
def test_a_gpu_that_is_not_there_is_named_with_a_remedy(device, n_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    with pytest.raises(RunError, match=f"device is {device}, but torch finds {n_gpus} GPUs: use --device cpu"):
        check_device(device)


def test_apples_gpu_is_looked_for(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    check_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RunError, match="device is mps, but torch finds no GPU of Apple's: use --device cpu"):
        check_device("mps")


@pytest.mark.parametrize("device", ["abacus", "cuda:one", "gpu", "cuda:-1", ""])
def test_words_that_name_no_device_are_answered_with_examples(device):
    with pytest.raises(RunError, match=f"there is no device '{device}': choose cpu, cuda, cuda:1 …"):
        check_device(device)


def test_versions_are_of_all_packages_that_results_depend_on():
    found = versions()
    assert set(found) == {"python", *PACKAGES}
    assert found["numpy"] == np.__version__
    assert all(version[0].isdigit() for version in found.values())


def test_a_package_under_another_name_has_no_known_version(monkeypatch):
    def version(package):
        if package == "pillow":  # as with pillow-simd
            raise PackageNotFoundError(package)
        return None if package == "timm" else "1.0"  # None: what is left of a broken install

    monkeypatch.setattr("braindiffuser.machine.version", version)
    found = _installed.__wrapped__()
    assert dict(found) == {"python": platform.python_version()} | dict.fromkeys(PACKAGES, "1.0") | {
        "pillow": "unknown",
        "timm": "unknown",
    }


def test_facts_are_json():
    facts = machine()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["memory_gb"] > 0
    assert facts["cpu_count"] > 0


def test_peaks_are_since_the_last_reset():
    reset_peak_memory()
    before = peak_memory_gb()
    large = np.ones(2**26)  # 0.5 GiB
    peak = peak_memory_gb()
    assert peak >= before + 0.4
    del large
    assert peak_memory_gb() == pytest.approx(peak, abs=0.01)
    reset_peak_memory()
    assert peak_memory_gb() < peak - 0.4


def test_macos_counts_bytes_and_other_systems_kilobytes(monkeypatch):
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3 * 2**20))
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    assert peak_memory_gb("darwin") == pytest.approx(3 / 1024, abs=0.001)
    assert peak_memory_gb("freebsd14") == 3


def test_windows_tells_its_peak_without_the_module_that_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    facts = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=5 * 2**29))
    monkeypatch.setattr("psutil.Process", lambda: facts)
    assert peak_memory_gb("win32") == 2.5
