"""Files of named tensors: opened without running anything in them, compared with a network, written one after the other."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import reason
from braindiffuser.lfs_pointers import pointer_sentence

BYTES_AT_A_TIME = 2**26
"""Bytes of a file that are read per opening; reopening releases mapped memory."""
CHECKED_AT_A_TIME = 2**22
"""Numbers that are checked together, so that a check takes little memory beside the tensor."""
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


def each_tensor(path: Path, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield tensors of a file one by one, with little of it in memory at a time.

    Args:
        path: of a file that `open_tensors` opens.
        names: of the tensors.

    Yields:
        Name and tensor. It lies in the mapped file: copy it before the next is taken.
    """
    if path.suffix != ".safetensors":
        opened = open_tensors(path)
        yield from ((name, opened[name]) for name in names)
        return
    left = list(names)
    while left:
        n_bytes = 0
        with safe_open(path, framework="pt") as file:
            while left and n_bytes < BYTES_AT_A_TIME:
                tensor = file.get_tensor(name := left.pop(0))
                n_bytes += tensor.nbytes
                yield name, tensor
                del tensor  # otherwise the mapping outlives this opening


class ValueCheck:
    """Checks the numbers of a file's tensors, one tensor after the other.

    No number may be NaN or infinite, and most matrices must hold different numbers: layers that are still as they began may be
    zero, but files of which a part was never written are so too.
    """

    def __init__(self, source: Path, dtype: torch.dtype) -> None:
        """Begin.

        Args:
            source: of the tensors; named in errors.
            dtype: in which numbers must be finite.
        """
        self._source, self._dtype = source, dtype
        self._n_matrices = self._n_constant = self._n_values = self._n_zeros = 0

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Check one tensor and count its zeros.

        Raises:
            ValueError: if a number is not finite; names the tensor.
        """
        if not tensor.is_floating_point():
            return
        flat, is_constant, n_zeros = tensor.flatten(), True, 0
        for start in range(0, len(flat), CHECKED_AT_A_TIME):
            values = flat[start : start + CHECKED_AT_A_TIME].to(self._dtype)
            if not values.isfinite().all():
                raise ValueError(
                    f"{self._source} holds numbers that are NaN or infinite in {self._dtype}, in the tensor {name}"
                )
            is_constant = is_constant and bool((values == flat[0].to(self._dtype)).all())
            n_zeros += int((values == 0).sum())
        if len(flat) and sum(side > 1 for side in tensor.shape) > 1:
            self._n_matrices += 1
            self._n_constant += is_constant
            self._n_values += len(flat)
            self._n_zeros += n_zeros

    def finish(self) -> None:
        """Check what all tensors together hold.

        Raises:
            ValueError: if most matrices are constant, or too many numbers are 0.
        """
        if 2 * self._n_constant > self._n_matrices or self._n_zeros > MOST_ZEROS * self._n_values:
            raise ValueError(
                f"{self._source} was not written, or only in part: in {self._dtype}, {self._n_constant} of its "
                f"{self._n_matrices} matrices hold the same number throughout, and "
                f"{self._n_zeros / max(self._n_values, 1):.0%} of their numbers are 0; download or save it again"
            )


def check_values(source: Path, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> None:
    """Check the numbers of all tensors, as `ValueCheck` does.

    Raises:
        ValueError: naming the source and the first tensor with a number that is not finite in `dtype`.
    """
    check = ValueCheck(source, dtype)
    for name, tensor in tensors.items():
        check.add(name, tensor)
    check.finish()


def load_checked(
    path: Path, dtypes: Mapping[str, torch.dtype], device: torch.device | str, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Read tensors one by one, check them, and put each on a device before the next is read.

    So main memory holds `BYTES_AT_A_TIME` of the file and one tensor, not the network, unless that stays there.

    Args:
        path: of the file.
        dtypes: name of each tensor → dtype that it is wanted in.
        device: where it is wanted.
        dtype: in which numbers must be finite.

    Raises:
        ValueError: what `ValueCheck` raises.
    """
    check, made = ValueCheck(path, dtype), {}
    device, staging = torch.device(device), torch.empty(0, dtype=torch.uint8)
    for name, tensor in each_tensor(path, dtypes):
        if device.type == "cpu":
            made[name] = tensor.to(dtypes[name], copy=True)
        else:
            if tensor.nbytes > staging.nbytes:
                staging = torch.empty(tensor.nbytes, dtype=torch.uint8)
            held = staging[: tensor.nbytes].view(tensor.dtype).view(tensor.shape).copy_(tensor)
            made[name] = held.to(device).to(dtypes[name])
        check.add(name, tensor if device.type == "meta" else made[name])
        del tensor
    check.finish()
    return made


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
