"""Files that list the stimuli of a split by their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from braindiffuser.datasets.reading import read_text
from braindiffuser.errors import RecordingError
from braindiffuser.plain_data import read_json


def read_sides(path: Path, variant: int = 0) -> tuple[Sequence[str] | None, Sequence[str]]:
    """Read the names of the stimuli that train, None if the file does not say, and of those that test.

    Args:
        path: names of test stimuli, one a line; or `.json` with a list of them, with train_ids and test_ids, or with a list
            `variants` of such.
        variant: which of the variants, from 0.

    Raises:
        RecordingError: the file is missing or no such list, or a name is on both sides.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is missing; expected the names of test stimuli, one a line")
    if path.suffix.lower() != ".json":
        lines = read_text(path, "list of names").splitlines()
        return None, [line.strip() for line in lines if line.strip()]
    try:
        if read_text(path, "list of names").lstrip().startswith("["):
            return None, _names(json.loads(path.read_text(encoding="utf-8-sig")))
        content = read_json(path)
        sides = content["variants"][variant] if "variants" in content else content
        train, test = (_names(sides[side]) for side in ("train_ids", "test_ids"))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise RecordingError(
            f'{path} is no split: expected {{"train_ids": [names], "test_ids": [names]}}, a list of such variants, or a list of '
            "names that test"
        ) from error
    both = sorted(set(train) & set(test))
    if both:
        raise RecordingError(f"{path} lists {both[0]!r} as train and as test: let it stand on one side")
    return train, test


def _names(given: object) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str | int) for name in given):
        raise TypeError("expected a list of names")
    return [str(name) for name in given]
