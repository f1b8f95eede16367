"""Targets: stimuli to the features of one target group, which a decoder learns to predict. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Int
from pydantic import PositiveInt, model_validator

from braindiffuser.arrays import Pictures
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.part import Part, runtime

Features = Float32[np.ndarray, "n ..."]
"""One row per stimulus, of any shape."""


class Stimuli:
    """Pictures and captions of some stimuli, read only when asked for."""

    def __init__(
        self,
        ids: Int[np.ndarray, " n"],
        pictures: Callable[[Int[np.ndarray, " n"]], Pictures] | None,
        captions: Callable[[int], Sequence[str]] | None,
    ) -> None:
        """Remember where to read from.

        Args:
            ids: 0-based stimulus ids.
            pictures: reads pictures by their ids; None if the target does not declare that it reads them.
            captions: reads the captions of one stimulus; None if the target does not declare that it reads them.
        """
        self.ids = ids
        self._pictures = pictures
        self._captions = captions

    def pictures(self) -> Pictures:
        """Read the pictures (n, 3, height, width) in [0, 1].

        Raises:
            RunError: if the target's `reads` does not name "stimuli".
            RecordingError: if the recording's pictures are not square, float and in [0, 1].
        """
        if self._pictures is None:
            raise RunError('a target that looks at pictures must declare so: "stimuli" in its `reads`')
        pictures = self._pictures(self.ids)
        _check_pictures(pictures, self.ids)
        return pictures

    def captions(self) -> list[Sequence[str]]:
        """Read the captions of each stimulus.

        Raises:
            RunError: if the target's `reads` does not name "captions".
            RecordingError: if the captions of a stimulus are one text instead of a tuple.
        """
        if self._captions is None:
            raise RunError('a target that looks at captions must declare so: "captions" in its `reads`')
        captions = [self._captions(int(stimulus_id)) for stimulus_id in self.ids]
        for stimulus_id, found in zip(self.ids, captions, strict=True):
            if isinstance(found, str) or not all(isinstance(caption, str) for caption in found):
                raise RecordingError(
                    f"captions of stimulus {stimulus_id} came as {found!r:.60}, expected a tuple of texts"
                )
        return captions


def _check_pictures(pictures: Any, ids: Int[np.ndarray, " n"]) -> None:
    """Check shape, dtype and range."""
    shape, dtype = np.shape(pictures), getattr(pictures, "dtype", None)
    side = shape[-1] if shape else 0
    if dtype != np.float32 or shape != (len(ids), 3, side, side):
        raise RecordingError(
            f"pictures of stimuli {ids[0]} to {ids[-1]} came as {dtype} of shape {shape}, expected float32 of "
            f"({len(ids)}, 3, side, side): square, colours first"
        )
    if not (np.isfinite(pictures).all() and pictures.min() >= 0 and pictures.max() <= 1):
        raise RecordingError(
            f"pictures of stimuli {ids[0]} to {ids[-1]} hold values from {pictures.min():.3g} to {pictures.max():.3g}, "
            "expected 0 to 1"
        )


class Target(Part):
    """One group of features that a decoder learns to predict."""

    reads: ClassVar[tuple[str, ...]] = ("stimuli",)
    """What of the recording the features are made from: "stimuli", "captions", or both."""
    stored_as: ClassVar[Literal["float16", "float32"]] = "float16"
    """Precision in which features of training stimuli are stored; float32 where float16 would move predictions (decision 10)."""

    batch_size: PositiveInt = runtime(32, description="Stimuli per batch; halved if a batch does not fit in memory.")

    @model_validator(mode="after")
    def _reads_what_there_is(self) -> Target:
        unknown = sorted(set(self.reads) - {"stimuli", "captions"})
        if unknown or not self.reads:
            raise ValueError(
                f"`reads` names {', '.join(unknown) or 'nothing'}; a target reads stimuli, captions, or both"
            )
        if self.stored_as not in {"float16", "float32"}:
            raise ValueError(f"`stored_as` is {self.stored_as!r}; training targets are stored in float16 or float32")
        return self

    @abstractmethod
    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Compute the features of some stimuli.

        Args:
            stimuli: to be read; features of a stimulus must not depend on which others come with it.
            networks: loads networks, each once.
            seed: of anything random, together with a stimulus' id.

        Returns:
            (n, …), float32; the shape of a row is the same for all stimuli.
        """

    def null(self, networks: NetworkCache) -> Features | None:
        """Compute the unconditional feature of guidance (1, …), which it leads away from; None if the group has none."""
        return None

    def row_shape(self) -> tuple[int, ...] | None:
        """Return the shape of a stimulus' features, by the config of the checkpoint; None if it is not known before.

        Raises:
            ValueError: if the checkpoint does not fit; names the entry.
        """
        return None
