"""Generators: features of named target groups to pictures. One file is one kind. A generator sees no recording and no score."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from pydantic import PositiveInt, model_validator

from braindiffuser.arrays import Pictures
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.part import Part, runtime

GroupFeatures = Mapping[str, Float[np.ndarray, "n ..."]]
"""Target group → features (n, …)."""


NAME = r"[a-z][a-z0-9_]{0,63}"
"""What variants and ablations may be called: files are named by them."""
RESERVED = re.compile(r"seen|final|.*from_true_features|.*from_random_responses|.*_sample_\d+")
"""What no variant may be called: pictures of a variant that are drawn from other features or noise are named so."""


class Variant(NamedTuple):
    """One way in which a generator draws.

    Attributes:
        label: name in print.
        start: name of the variant whose pictures this one starts from; None if it starts from none.
        uses: target groups that this variant itself uses; None: all that the generator uses.
        ablation: name under which it is scored, if it leaves a part of the method out.
        ablation_label: that name in print; empty: the label.
        by_default: whether that ablation is drawn under `pictures.ablations: default`.
        branch: name in print of the only branch that it draws from, if it draws from one alone, for the recovery by branch.
    """

    label: str
    start: str | None = None
    uses: tuple[str, ...] | None = None
    ablation: str = ""
    ablation_label: str = ""
    by_default: bool = True
    branch: str = ""


Draw: TypeAlias = Callable[[GroupFeatures, Int[np.ndarray, " n"], Pictures | None], Pictures]
"""draw(features, picture_ids, start) → pictures (n, 3, height, width) in [0, 1], one for each row of features.

`features` are of the groups that the variant uses. `picture_ids` (n,) are numbers ≥ 0 that, with the seed, fix the noise.
`start` are pictures of the variant that this one starts from; None if it starts from none. A picture depends neither on the
others nor on their order.
"""


class Generator(Part):
    """Draws pictures from features of target groups."""

    uses: ClassVar[tuple[str, ...]]
    """Names of the target groups that it draws from."""
    variants: ClassVar[Mapping[str, Variant]]
    """Ways in which it draws, by name, each after the one that it starts from. "full" is the whole method."""

    batch_size: PositiveInt = runtime(4, description="Pictures per batch; halved if a batch does not fit in memory.")

    @model_validator(mode="after")
    def _variants_fit(self) -> Generator:
        earlier: list[str] = []
        for name, variant in self.variants.items():
            if RESERVED.fullmatch(name) or not all(
                re.fullmatch(NAME, word) for word in (name, variant.ablation) if word
            ):
                raise ValueError(
                    f"{name} cannot name a variant or ablation: it is reserved, or not made of a–z, 0–9, _"
                )
            if variant.start is not None and variant.start not in earlier:
                raise ValueError(f"variant {name} starts from {variant.start}, which is no variant before it")
            unknown = sorted(set(variant.uses or ()) - set(self.uses))
            if unknown:
                raise ValueError(f"variant {name} uses {unknown[0]}; the generator uses {', '.join(self.uses)}")
            earlier.append(name)
        if "full" not in earlier:
            raise ValueError(f'there must be a variant "full"; there are {", ".join(earlier) or "none"}')
        named = [variant.ablation for variant in self.variants.values() if variant.ablation]
        if len(named) > len(set(named)):
            raise ValueError(f"two variants have the same ablation name: {', '.join(named)}")
        return self

    def groups_of(self, variant: str) -> tuple[str, ...]:
        """Return the target groups that a variant itself uses."""
        own = self.variants[variant].uses
        return self.uses if own is None else own

    def chain(self, variant: str) -> tuple[str, ...]:
        """Return the variants to draw for one, in order: each starts from the one before, and it is the last itself."""
        start = self.variants[variant].start
        return (variant,) if start is None else (*self.chain(start), variant)

    @property
    def ablations(self) -> dict[str, str]:
        """Name of each ablation that the generator has → the variant that draws it."""
        return {variant.ablation: name for name, variant in self.variants.items() if variant.ablation}

    @property
    def branches(self) -> dict[str, str]:
        """Name of each variant that draws from one branch alone → the branch's name in print."""
        return {name: variant.branch for name, variant in self.variants.items() if variant.branch}

    @property
    def default_ablations(self) -> tuple[str, ...]:
        """Names of the ablations that are drawn under `pictures.ablations: default`."""
        return tuple(name for name, variant in self.ablations.items() if self.variants[variant].by_default)

    def without(self, groups: Collection[str]) -> Generator:
        """Return a generator that does without some target groups, such as those made of captions where there are none.

        Raises:
            ValueError: if it draws from one of them.
        """
        needed = sorted(set(groups) & set(self.uses))
        if needed:
            raise ValueError(f"generator {self.kind} draws from {needed[0]}: choose one that does not")
        return self

    @abstractmethod
    def open(self, variant: str, null: GroupFeatures, networks: NetworkCache, seed: int) -> Draw:
        """Load what one variant needs.

        Args:
            variant: one of `variants`.
            null: group → unconditional feature (1, …), of those groups that the variant uses and that have one.
            networks: loads networks, each once.
            seed: of all noise.

        Returns:
            A function that draws; its networks stay loaded until `networks.keep` releases them.
        """

    def check_rows(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compare the checkpoints with each other and with the features of the target groups; here nothing.

        Args:
            shapes: target group → shape of a row of its features, for those where it is known.

        Raises:
            ValueError: if they do not fit; names the entry.
        """

    def checkpoints_of(self, variant: str) -> dict[str, Path]:
        """Return the checkpoint folders that one variant needs, by the name of their entry."""
        return self.checkpoints

    def influences_of(self, variant: str, device: str) -> dict[str, Any]:
        """Return the entries that the pictures of one variant depend on."""
        return self.influences(device)
