"""Files of named tensors: opened without running anything in them, compared with a network, written one after the other."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from safetensors.torch import load_file

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import reason
from braindiffuser.lfs_pointers import pointer_sentence

MOST_ZEROS = 0.45
"""Share of zeros in the matrices of a network; untrained ones, of which some layers begin as zeros, have up to 0.41."""

Shapes: TypeAlias = Mapping[str, str]
"""Name of a tensor → its shape as text, then its dtype unless that is floating-point."""

_DTYPES = {torch.float16: "F16", torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}


def open_tensors(path: Path) -> Mapping[str, torch.Tensor]:
    """Open a file of tensors without running anything in it: safetensors, or torch's format with `weights_only`.

    Raises:
        ValueError: if it is missing, cut short, longer than its content, or holds anything but tensors by name; names it.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    pointer = pointer_sentence(path)
    if pointer:
        raise ValueError(pointer)
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except Exception as error:  # of the libraries' many kinds, for arbitrary bytes
        if lacks_memory(error):
            raise MemoryError(f"{path} cannot be opened: {reason(error)}") from error
        words = str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
        raise ValueError(
            f"{path} is damaged, cut short or no checkpoint ({reason(words) or type(error).__name__})"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(n, str) and _is_plain(t) for n, t in content.items()):
        raise ValueError(f"{path} does not hold tensors by name, so it is no checkpoint")
    return content


def _torch_load(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\3\4"  # since torch 1.6
        file.seek(0)
        content = torch.load(path if zipped else file, map_location="cpu", weights_only=True, mmap=zipped)
        if zipped:
            file.seek(-22, os.SEEK_END)  # to the record that ends a zip file
        if file.read(4) != (b"PK\5\6" if zipped else b""):
            raise ValueError("other bytes follow its end")
    return content


def check_sums(path: Path) -> None:
    """Compare every part of a zip file, torch's format since 1.6, with the checksum in it; other formats have none.

    Raises:
        ValueError: if one differs; names the file.
    """
    if not is_zipfile(path):
        return
    try:
        with ZipFile(path) as file:
            damaged = file.testzip()
    except (OSError, BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, cut short or no checkpoint ({reason(error)})") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged, cut short or no checkpoint ({damaged} does not have its checksum)")


def _is_plain(tensor: Any) -> bool:
    is_tensor = isinstance(tensor, torch.Tensor) and not tensor.is_nested
    return is_tensor and (tensor.layout, tensor.device.type) == (torch.strided, "cpu")


def shapes(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    """Return the shape of each tensor by its name, with its dtype unless that is floating-point."""
    return {
        name: f"{tuple(tensor.shape)}{'' if tensor.is_floating_point() else f' of {tensor.dtype}'}"
        for name, tensor in tensors.items()
    }


def check_fit(source: Path, found: Shapes, wanted: Shapes) -> None:
    """Check that a file or folder holds the tensors of a network.

    Args:
        source: of the tensors; named in the error.
        found: names and shapes in it.
        wanted: names and shapes in the network.

    Raises:
        ValueError: if names, shapes or kinds of numbers differ; names the first five.
    """
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differing:
        listed = "; ".join(
            f"{name}: expected {wanted.get(name, 'none')}, found {found.get(name, 'none')}" for name in differing[:5]
        )
        raise ValueError(
            f"{source} does not hold this network: {len(differing)} of {len(wanted)} tensors differ ({listed})"
        )


def check_values(source: Path, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> None:
    """Check that no number of any tensor is NaN or infinite in `dtype`, and that most matrices hold different numbers.

    Layers that are still as they began may be zero, but files of which a part was never written are so too.

    Raises:
        ValueError: naming the source and the first such tensor.
    """
    n_matrices = n_constant = n_values = n_zeros = 0
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            values = tensor.to(dtype)
            if not values.isfinite().all():
                raise ValueError(f"{source} holds numbers that are NaN or infinite in {dtype}, in the tensor {name}")
            if values.numel() and sum(side > 1 for side in values.shape) > 1:
                n_matrices += 1
                n_constant += int((values == values.flatten()[0]).all())
                n_values += values.numel()
                n_zeros += int((values == 0).sum())
    if 2 * n_constant > n_matrices or n_zeros > MOST_ZEROS * n_values:
        raise ValueError(
            f"{source} was not written, or only in part: in {dtype}, {n_constant} of its {n_matrices} matrices hold the same "
            f"number throughout, and {n_zeros / max(n_values, 1):.0%} of their numbers are 0; download or save it again"
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
