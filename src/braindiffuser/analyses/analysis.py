"""Analyses of a finished run, each of which ends in a section of its page.

An analysis gets arrays; it reads and writes no file.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import AfterValidator, Field

from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.arrays import Pictures, Vector
from braindiffuser.datasets.statmaps import StatMap
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.images import PictureReader
from braindiffuser.part import Part
from braindiffuser.progress import Progress
from braindiffuser.report.sections import Section

if TYPE_CHECKING:
    from braindiffuser.datasets.known_regions import KnownRegions
    from braindiffuser.datasets.responses import SingleTrials


@dataclass(frozen=True)
class RunData:
    """A run's results, as given to an analysis.

    Attributes:
        subject: name, such as "subj01".
        rois: region → mask over the chosen voxels (n_voxels,), on which decoders are fitted.
        known_regions: all that an expression of regions may name over these voxels: `rois`, and labels of volumes and maps, for
            which the recording is opened when an expression first names one. Names → masks: `chosen_regions`.
        noise_ceiling: of each voxel, in percent; NaN where it is not known.
        test_sets: name → rows of the test arrays; score each set separately. The first is "test".
        responses: "train" or "test" → responses (n, n_voxels).
        stimulus_ids: "train" or "test" → 0-based stimulus ids (n,).
        predictions: target group → decoded features of the test stimuli (n_test, …), if the analysis needs `fit`.
        truth: target group → their own features (n_test, …).
        groups: all target groups.
        drawn_groups: those that the generator draws from.
        is_linear: whether decoders are linear, so that they have coefficients: `decoders().project` can be called.
        draw: draw(features, picture_ids, changes=None, begun=None) with features by target group, and ids that fix the noise →
            the generator's pictures by variant, `full` and those it starts from; `changes` are entries of the generator that
            differ, `begun` pictures by variant that are there already and are not drawn again; only if the analysis `draws`.
        per_image: table of scores picture by picture, if the analysis needs `evaluate`.
        progress: to be called as progress(label, done, total).
        seed: of the experiment.
        device: where networks and regressions compute.
        decoders: returns the run's decoders with what they were fitted to, if it needs `fit`.
        voxels: returns the chosen voxels and where they lie, if it `reads` "regions".
        stimuli: "train" or "test" → table of what the recording says of the stimuli, indexed by id in the order of
            `stimulus_ids`, such as a category; without a column where it says nothing. If it `reads` "design".
        n_pictures: returns how many pictures the recording's ids count from 0, None if that is not known; if it `reads` "design".
        captions: "train" or "test" → the captions of each of their stimuli; if it `reads` "captions".
        seen: "train" or "test" → their pictures, read when asked for; if it `reads` "stimuli".
        made: kind, such as "final" → pictures of all test stimuli, if it needs `reconstruct`.
        score: score(pictures, name, chosen=None) → scores picture by picture of the pictures of one test set, or of those at the
            places `chosen` in it, by the key of each metric of the run's profile whose network is here; if it `scores`.
        metrics: key → what is known of each metric, as in `scores.json`; if it `scores`.
        trials: "train" or "test" → single trials behind `responses`, if it `reads` "betas".
        chain: variants of the generator up to the whole method, each starting from the one before it.
        generator: entries of the generator, nested as in the experiment.
        kept: kept(name, compute) → what `compute()` returned, which JSON can hold. It is stored as
            `analyses/<label>/kept/<name>.json` and is not computed again by a run that was interrupted, or that differs only in
            entries which the analysis lists as `later`.
        kept_each: kept_each(items, compute), with name → item: yields what `compute(item)` returned, kept under each name in the
            same way. Workers, if there are any, compute several at a time, by `Analysis.part_of`.
    """

    subject: str
    rois: Mapping[str, Bool[np.ndarray, " n_voxels"]]
    known_regions: KnownRegions
    noise_ceiling: Float[np.ndarray, " n_voxels"]
    test_sets: Mapping[str, slice]
    responses: Callable[[str], Float[np.ndarray, "n n_voxels"]]
    stimulus_ids: Callable[[str], Int[np.ndarray, " n"]]
    predictions: Callable[[str], Float[np.ndarray, "n ..."]]
    truth: Callable[[str], Float[np.ndarray, "n ..."]]
    groups: tuple[str, ...]
    drawn_groups: tuple[str, ...]
    is_linear: bool
    draw: Callable[..., Mapping[str, Pictures]]
    per_image: Callable[[], Any]
    progress: Progress
    seed: int
    device: str
    decoders: Callable[[], RunDecoders]
    voxels: Callable[[], Voxels]
    stimuli: Callable[[str], Any]
    n_pictures: Callable[[], int | None]
    captions: Callable[[str], Sequence[tuple[str, ...]]]
    seen: Callable[[str], PictureReader]
    made: Callable[[str], PictureReader]
    score: Callable[..., Mapping[str, Vector]]
    metrics: Callable[[], Mapping[str, Mapping[str, Any]]]
    trials: Callable[[str], SingleTrials]
    chain: tuple[str, ...] = ("full",)
    generator: Mapping[str, Any] = field(default_factory=dict)
    kept: Callable[[str, Callable[[], Any]], Any] = lambda name, compute: compute()
    kept_each: Callable[[Mapping[str, Any], Callable[[Any], Any]], Iterator[Any]] = lambda items, compute: map(
        compute, items.values()
    )


@dataclass(frozen=True)
class Outcome:
    """Result of an analysis.

    Attributes:
        section: of the page; its pictures are referred to as kind and number.
        pictures: kind → pictures (n, 3, height, width), stored as `reconstructions/<kind>/NNNN.png`; kinds begin with the
            analysis' label and an underscore.
        facts: numbers and words, stored as `analyses/<label>.json`.
        maps: name → numbers over the chosen voxels, stored below `analyses/<label>/` as NIfTI with names of BIDS derivatives, or
            as a table where voxels lie in no volume; if the analysis `reads` "regions".
        tables: name → table, stored as `analyses/<label>/<name>.csv`.
    """

    section: Section
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, StatMap] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)


def _each_once(given: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [item for item in given if given.count(item) > 1]
    if twice:
        said = " and ".join(map(str, twice[0])) if isinstance(twice[0], tuple) else twice[0]
        raise ValueError(f"names {said} twice: name each once")
    return given


EACH_ONCE = AfterValidator(_each_once)
"""Of an entry that is a list: an item may not come twice."""


class Analysis(Part):
    """An analysis of a finished run."""

    needs: ClassVar[tuple[str, ...]] = ("fit",)
    """Stages whose results it asks for."""
    draws: ClassVar[bool] = False
    """Whether it calls the generator."""
    scores: ClassVar[bool] = False
    """Whether it scores pictures by the run's profile."""
    reads: ClassVar[tuple[str, ...]] = ()
    """What it reads of the recording itself: "design" (what is known of the stimuli), "captions", "stimuli" (pictures), "regions"
    (places of voxels), "betas" (single trials)."""

    later: ClassVar[tuple[str, ...]] = ()
    """Entries that decide what is made of the parts that it has `kept`, and not what is in these."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]*$", max_length=64)] = Field(
        "", description="Name of the results; needed if a kind is used twice. '' takes the kind's name."
    )

    @property
    def label(self) -> str:
        """Name of its results."""
        return self.name or self.kind.rpartition(":")[2].rpartition(".")[2].lower()

    def part_of(self, data: RunData) -> Callable[[Any], Any]:
        """Return what `kept_each` computes an item with, in another process; a class without its own is computed in this one."""
        raise NotImplementedError

    @property
    def region_expressions(self) -> Mapping[str, str]:
        """Name → expression of the regions that its entries name, which are looked up before anything is computed."""
        return {}

    @property
    def scoring_networks(self) -> tuple[str, ...]:
        """Names of the networks it scores with beside those of the run's profile: it is done anew when one's file has come."""
        return ()

    def check_groups(self, drawn: Collection[str]) -> None:
        """Check that it suits the generator's groups; by default any do.

        Raises:
            ValueError: if not, saying what to change.
        """

    def check_columns(self, columns: Collection[str]) -> None:
        """Check that the table of stimuli has what it asks for, before anything is computed; by default it asks for nothing.

        Args:
            columns: that are known of the stimuli; none if they have numbers alone.

        Raises:
            RunError: if not, saying what there is.
        """

    @abstractmethod
    def run(self, data: RunData) -> Outcome:
        """Do the analysis.

        Raises:
            RunError: if the analysis cannot be done for this run; says why.
        """
