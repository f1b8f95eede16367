"""What a computation ran on and took: versions, machine, peak memory."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from braindiffuser.errors import DependencyError, RunError, lacks_package

PACKAGES = (
    "braindiffuser",
    "numpy",
    "torch",
    "diffusers",
    "transformers",
    "timm",
    "scikit-learn",
    "scikit-image",
    "scipy",
    "pillow",
    "torchvision",
    "zarr",
)
"""Packages that results depend on."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`; "unknown" for one that was installed under another name."""
    return dict(_installed())


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    return (("python", platform.python_version()), *((name, _version(name)) for name in PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package) or "unknown"  # importlib.metadata returns None where a folder is left of an old install
    except PackageNotFoundError:
        return "unknown"


def machine() -> dict[str, Any]:
    """Return facts of this machine."""
    import psutil

    return {
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def check_networks(device: str) -> None:
    """Check that networks can run on a device.

    Raises:
        DependencyError: if torch is not installed.
        RunError: if there is no such device on this machine.
    """
    if not networks_are_installed():
        raise DependencyError(lacks_package(ModuleNotFoundError(name="torch")))
    check_device(device)


def networks_are_installed() -> bool:
    """Whether this machine has what networks are built with."""
    return find_spec("torch") is not None


def check_device(device: str) -> None:
    """Check that there is a device; that of any computer, the CPU, needs no torch.

    Raises:
        RunError: if there is no such device on this machine.
    """
    if device == "cpu":
        return
    import torch

    try:
        index, kind = torch.device(device).index or 0, torch.device(device).type
    except RuntimeError as error:
        raise RunError(f"there is no device {device!r}: choose cpu, cuda, cuda:1 …") from error
    if kind not in ("cpu", "cuda", "mps"):
        raise RunError(f"networks cannot compute on {device!r}: choose cpu, cuda, cuda:1 …")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RunError(f"device is {device}, but torch finds no GPU of Apple's: use --device cpu")
    if kind == "cuda" and index >= torch.cuda.device_count():
        raise RunError(
            f"device is {device}, but torch finds {torch.cuda.device_count()} GPUs: use --device cpu or another index"
        )


def reset_peak_memory() -> None:
    """Reset the peak that `peak_memory_gb` reads. Only Linux can; elsewhere it is the peak since the process began."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_gb(system: str = sys.platform) -> float:
    """Return the largest resident memory since `reset_peak_memory`, in GiB.

    Args:
        system: as `sys.platform` calls it.
    """
    return round(_peak_bytes(system) / 2**30, 3)


def _peak_bytes(system: str) -> int:
    if system == "win32":
        import psutil

        memory: Any = psutil.Process().memory_info()
        return int(memory.peak_wset)
    status = Path("/proc/self/status")
    if system != "darwin" and status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in lines:  # which some containers leave out
            return 1024 * int(lines["VmHWM"].split()[0])
    import resource  # which Windows lacks

    unit = 1 if system == "darwin" else 1024  # macOS counts bytes
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
