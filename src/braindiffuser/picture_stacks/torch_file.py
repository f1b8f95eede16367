"""Stacks in torch's files: tensors alone are read, never code; files since torch 1.6 are mapped to memory anew for each read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.errors import RunError, reason
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, reading


def arrays(path: Path) -> Arrays:
    """Open a file that holds a tensor, or tensors by name or in a list.

    Raises:
        RunError: it holds anything but tensors and plain values, or is damaged.
    """
    return {name: _stored(path, name, tensor) for name, tensor in _tensors(path).items()}


def _stored(path: Path, name: str, tensor: Any) -> StoredArray:
    import torch

    bytes_of = {torch.bfloat16: "float32"}.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
    held = None if _is_zipped(path) else tensor

    def read(numbers: Numbers) -> Rows:
        with reading(path):
            rows = (_tensors(path)[name] if held is None else held)[torch.from_numpy(numbers)]
            return np.array((rows.float() if rows.dtype == torch.bfloat16 else rows).numpy())

    return StoredArray(tuple(tensor.shape), bytes_of, read)


def _tensors(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zipped(path))
    except RuntimeError as error:
        raise ValueError(reason(error)) from error
    except Exception as error:
        words = str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
        raise RunError(
            f"{path} is damaged, or holds more than tensors ({reason(words) or type(error).__name__}), and nothing else is read: "
            "save the pictures alone, as torch.save(pictures.cpu(), path), or as .npy"
        ) from error
    named: Mapping[Any, Any] = (
        content
        if isinstance(content, Mapping)
        else dict(enumerate(content))
        if isinstance(content, list | tuple)
        else {"": content}
    )
    return {str(name): value.detach() for name, value in named.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    import torch

    is_tensor = isinstance(value, torch.Tensor) and not value.is_nested
    return is_tensor and value.layout == torch.strided and not value.is_complex() and not value.is_quantized


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\3\4"  # since torch 1.6
