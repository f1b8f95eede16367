"""All pictures that cannot be taken, in one message, so that they are mended at once and not one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from braindiffuser.errors import RecordingError, RunError

SHOWN = 3
"""Further pictures that are named for each reason."""


@dataclass(frozen=True)
class Fault:
    """Why a picture cannot be taken.

    Attributes:
        name: of the picture, with what else tells which one it is.
        said: the whole sentence, as if it was the only one.
        kind: the same for all that are wrong in the same way, though numbers may differ.
        n: pictures that the sentence counts itself.
    """

    name: str
    said: str
    kind: str
    n: int = 1

    @classmethod
    def of(cls, name: object, said: str) -> Fault:
        """Make a fault from a sentence that names the picture; without the name and numbers it is the kind."""
        return cls(str(name), said, re.sub(r"\d+", "0", said.replace(str(name), "", 1)))


class RefusedPicturesError(RecordingError):
    """Several pictures cannot be taken, or one.

    Attributes:
        faults: in the order in which they were found.
    """

    def __init__(self, faults: Sequence[Fault], n: int) -> None:
        """Hold the faults of pictures.

        Args:
            faults: one or more.
            n: pictures that were looked at.
        """
        super().__init__(faults_sentence(faults, n))
        self.faults = tuple(faults)


class PictureFaults:
    """Collects what is wrong with pictures while they are looked at."""

    def __init__(self) -> None:
        """Begin with none."""
        self.found: list[Fault] = []

    @contextmanager
    def collecting(self, name: object) -> Iterator[None]:
        """Take note of what is refused inside.

        Args:
            name: of the picture that is read inside, as the error's message calls it.
        """
        try:
            yield
        except RefusedPicturesError as error:
            self.found += error.faults
        except RunError as error:
            self.found.append(Fault.of(name, str(error)))

    def refuse(self, n: int) -> None:
        """Raise RefusedPicturesError if there is any fault, of `n` pictures that were looked at; each sentence is said once."""
        if self.found:
            raise RefusedPicturesError(list({fault.said: fault for fault in self.found}.values()), n)


def faults_sentence(faults: Sequence[Fault], n: int) -> str:
    """Say all faults, by kind: the first of a kind in full, SHOWN by name, the others counted.

    >>> transparent = [Fault.of(name, f"{name} is transparent: fill it") for name in ("a", "b", "c", "d", "e", "f")]
    >>> faults_sentence(transparent[:1], 9)
    'a is transparent: fill it'
    >>> faults_sentence([*transparent, Fault.of("g", "g is damaged: get it again")], 9)
    '7 of 9 pictures cannot be taken: a is transparent: fill it (likewise b, c, d and 2 more); g is damaged: get it again'
    """
    if len(faults) == 1:
        return faults[0].said
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    said = "; ".join(f"{alike[0].said}{_others([fault.name for fault in alike[1:]])}" for alike in kinds.values())
    return f"{sum(fault.n for fault in faults):,} of {n:,} pictures cannot be taken: {said}"


def _others(names: Sequence[str]) -> str:
    """Name the further pictures of a kind: the first few, and the number of the rest.

    >>> _others([]), _others(["b"]), _others(["b", "c"])
    ('', ' (likewise b)', ' (likewise b, c)')
    """
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f" (likewise {', '.join(names[:SHOWN])}{more})" if names else ""
