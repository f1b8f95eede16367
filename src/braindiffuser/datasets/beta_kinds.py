"""Which types of numbers betas may have, whatever file they are stored in."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindiffuser.errors import RecordingError


def check_kind(dtype: np.dtype[Any], path: object) -> None:
    """Refuse betas that are no real numbers with a sign.

    A beta below 0 that was stored in an unsigned type is a large number now, and nothing tells it from others.

    Raises:
        RecordingError: names the file.
    """
    if dtype.kind not in "if":
        wrapped = ", in which a beta below 0 would be a large number" if dtype.kind == "u" else ""
        raise RecordingError(
            f"{path} holds betas as {dtype}{wrapped}; expected real numbers with a sign, such as int16 or float32: write it again"
        )
