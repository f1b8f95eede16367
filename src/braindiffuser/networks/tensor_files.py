"""Files of named tensors: opened without running anything in them, compared with a network, written one after the other."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name of a tensor → its shape."""

_DTYPES = {torch.float16: "F16", torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}


def open_tensors(path: Path) -> Mapping[str, torch.Tensor]:
    """Open a file of tensors without running anything in it: safetensors, or torch's format with `weights_only`.

    Raises:
        ValueError: if it is missing, truncated, or holds anything but tensors by name; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except (SafetensorError, RuntimeError, EOFError, UnpicklingError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is truncated or no checkpoint: download it again ({reason})") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ValueError(f"{path} does not hold tensors by name, so it is no checkpoint: download it again")
    return content


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # written before torch 1.6


def shapes(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    """Return the shape of each tensor by its name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_fit(source: Path, found: Shapes, wanted: Shapes) -> None:
    """Check that a file or folder holds the tensors of a network.

    Args:
        source: of the tensors; named in the error.
        found: names and shapes in it.
        wanted: names and shapes in the network.

    Raises:
        ValueError: if names or shapes differ; names the first five.
    """
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differing:
        listed = "; ".join(
            f"{name}: expected {wanted.get(name, 'none')}, found {found.get(name, 'none')}" for name in differing[:5]
        )
        raise ValueError(
            f"{source} does not hold this network: {len(differing)} of {len(wanted)} tensors differ ({listed}): name the "
            "checkpoint of this network, or the config that the checkpoint was made with"
        )


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> None:
    """Write a safetensors file one tensor after the other, floating-point ones in `dtype`.

    The format is a header (its length in 8 bytes, then JSON: name → type, shape, first and last byte) and the bytes.
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        stored = dtype if tensor.is_floating_point() else tensor.dtype
        start, end = end, end + tensor.numel() * stored.itemsize
        header[name] = {"dtype": _DTYPES[stored], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            written = tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
            file.write(written.contiguous().flatten().view(torch.uint8).numpy().data)
