"""Whether a .npy file holds Python objects, which only a pickle can store, and which are never read."""

from __future__ import annotations

import io
from typing import IO

import numpy as np

from braindiffuser.errors import BrainDiffuserError


def refuse_objects(
    stream: IO[bytes] | io.BufferedIOBase, name: object, error: type[BrainDiffuserError], advice: str = ""
) -> None:
    """Refuse a .npy file that holds Python objects, and a pickle without numpy's header; damaged files are left to numpy.

    Args:
        stream: of the file, at its beginning; its header is read from it, so open the file again afterwards.
        name: what messages call it.
        error: kind of the error.
        advice: what else the user may do, at the end of the message.

    Raises:
        BrainDiffuserError: of the kind `error`; the file holds objects.
    """
    begin = stream.read(len(np.lib.format.MAGIC_PREFIX) + 2)
    if begin[:1] == b"\x80":  # as pickle.dump begins
        raise error(f"{name} is a pickle, which is never read: write the array with numpy.save, as numbers")
    if begin[:-2] != np.lib.format.MAGIC_PREFIX or begin[-2] not in (1, 2):
        return
    read = np.lib.format.read_array_header_1_0 if begin[-2] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        what = "one Python object, such as a dict" if shape == () else f"Python objects {shape}"
        raise error(
            f"{name} holds {what}, in a pickle, which is never read: stack what is inside into one array of numbers, and write "
            f"that with numpy.save{advice}"
        )
