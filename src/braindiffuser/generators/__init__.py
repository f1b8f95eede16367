"""Generators: features of named target groups to pictures. One file is one kind. A generator sees no recording and no score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int
from pydantic import PositiveInt

from braindiffuser._arrays import Pictures
from braindiffuser.models.cache import NetworkCache
from braindiffuser.part import Part, runtime

GroupFeatures = Mapping[str, Float[np.ndarray, "n ..."]]
"""Target group → features (n, …)."""


class Variant(NamedTuple):
    """One way in which a generator draws.

    Attributes:
        label: name in print.
        start: name of the variant whose pictures this one starts from; None if it starts from none.
        is_ablation: whether it leaves a part of the method out, and is scored as such.
    """

    label: str
    start: str | None = None
    is_ablation: bool = False


class Draw(Protocol):
    """Draws pictures; a generator's `open` returns one."""

    def __call__(
        self, features: GroupFeatures, picture_ids: Int[np.ndarray, " n"], start: Pictures | None, /
    ) -> Pictures:
        """Draw one picture for each row of features.

        Args:
            features: of the groups that the generator uses.
            picture_ids: a number ≥ 0 per picture that, with the seed, fixes its noise.
            start: pictures of the variant that this one starts from; None if it starts from none.

        Returns:
            (n, 3, height, width) in [0, 1]; a picture depends neither on the others nor on their order.
        """


class Generator(Part):
    """Draws pictures from features of target groups."""

    uses: ClassVar[tuple[str, ...]]
    """Names of the target groups that it draws from."""
    variants: ClassVar[Mapping[str, Variant]]
    """Ways in which it draws, by name, each after the one that it starts from. "full" is the whole method."""

    batch_size: PositiveInt = runtime(4, description="Pictures that are drawn at a time; results do not depend on it.")

    @abstractmethod
    def open(self, variant: str, null: GroupFeatures, networks: NetworkCache, seed: int) -> Draw:
        """Load what one variant needs.

        Args:
            variant: one of `variants`.
            null: features (1, …) of "nothing", of the groups that have such.
            networks: loads networks, each once.
            seed: of all noise.
        """

    def checkpoints_of(self, variant: str) -> dict[str, Path]:
        """Return the checkpoint folders that one variant needs, by the name of their entry."""
        return self.checkpoints

    def influences_of(self, variant: str, device: str) -> dict[str, object]:
        """Return the entries that the pictures of one variant depend on."""
        return self.influences(device)
