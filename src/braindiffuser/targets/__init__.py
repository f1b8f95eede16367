"""Targets: stimuli to the features of one target group, which a decoder learns to predict. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int
from pydantic import model_validator

from braindiffuser._arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.network_cache import NetworkCache
from braindiffuser.part import Part

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
        """
        if self._pictures is None:
            raise RunError('a target that looks at pictures must declare so: "stimuli" in its `reads`')
        return self._pictures(self.ids)

    def captions(self) -> list[Sequence[str]]:
        """Read the captions of each stimulus, without empty ones.

        Raises:
            RunError: if the target's `reads` does not name "captions".
        """
        if self._captions is None:
            raise RunError('a target that looks at captions must declare so: "captions" in its `reads`')
        return [self._captions(int(stimulus_id)) for stimulus_id in self.ids]


class Target(Part):
    """One group of features that a decoder learns to predict."""

    reads: ClassVar[tuple[str, ...]] = ("stimuli",)
    """What of the recording the features are made from: "stimuli", "captions", or both."""

    @model_validator(mode="after")
    def _reads_what_there_is(self) -> Target:
        unknown = sorted(set(self.reads) - {"stimuli", "captions"})
        if unknown or not self.reads:
            raise ValueError(
                f"`reads` names {', '.join(unknown) or 'nothing'}; a target reads stimuli, captions, or both"
            )
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
        """Compute the feature of "nothing" (1, …), which guidance leads away from; None if the group has no such thing."""
        return None
