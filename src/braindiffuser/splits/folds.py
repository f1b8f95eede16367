"""One fold of several tests; over all folds every stimulus tests once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from braindiffuser.errors import RecordingError
from braindiffuser.part import Seed, without_defaults
from braindiffuser.splits.split import Split, divisible_stimuli, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

GROUPS = "groups"
"""Column of the table of stimuli that keeps stimuli together where no other is named."""


class Folds(Split):
    """Stimuli are shuffled and dealt into folds, of which one tests and the others train.

    All trials of a stimulus are in one fold. Scores belong to one fold: average them over folds, and never compare pictures of
    different folds with each other (`braindiffuser.metrics.score_in_folds` says why). `braindiffuser folds` makes all folds.
    """

    n_folds: int = Field(ge=2, description="Number of folds.")
    fold: int = Field(0, ge=0, description="Fold that tests, counted from 0.")
    seed: Seed = Field(0, description="Seed that shuffles the stimuli; runs of one seed belong together.")
    groups: str | None = Field(
        None,
        min_length=1,
        description="Column of the table of stimuli, such as category: stimuli with the same value share a fold. null: the "
        "column groups, if there is one.",
    )
    shuffled: Seed | None = Field(
        None,
        description="Seed that exchanges training pictures before anything is fitted, so that scores are those of decoders that "
        "learnt nothing (a null). null: none is exchanged.",
    )

    @model_validator(mode="after")
    def _there(self) -> Folds:
        if self.fold >= self.n_folds:
            raise ValueError(f"fold is {self.fold}, but {self.n_folds} folds are counted from 0 to {self.n_folds - 1}")
        return self

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on; `shuffled` only for a null."""
        return without_defaults(self, super().influences(device), "shuffled")

    def divide(self, recording: Recording) -> Recording:
        """Deal stimuli into folds, each group as a whole."""
        ids = divisible_stimuli(recording)
        groups = self._groups(recording, ids)
        n_groups = int(groups.max(initial=-1)) + 1
        if n_groups < self.n_folds:
            what = "stimuli" if n_groups == len(ids) else f"groups of {len(ids)} stimuli"
            raise RecordingError(f"split.n_folds is {self.n_folds}, but there are {n_groups} {what}: use fewer folds")
        test = ids[deal(groups, self.n_folds, self.seed) == self.fold]
        together = f"; {n_groups} groups are kept together" if n_groups < len(ids) else ""
        remark = (
            f"Split: {len(test)} of {len(ids)} stimuli test, fold {self.fold} (from 0) of {self.n_folds} by seed {self.seed}"
            f"{together}. Average scores over folds (`braindiffuser folds`); pictures of different folds are not comparable."
        )
        divided = with_split(
            recording,
            test.tolist(),
            remark,
            chosen=f"fold {self.fold} of {self.n_folds}",
            advice="use another number of folds",
        )
        return divided if self.shuffled is None else self._exchanged(divided, self.shuffled)

    def _exchanged(self, divided: Recording, seed: int) -> Recording:
        """Exchange training stimuli, so that their responses belong to others; trials of one stimulus stay trials of one."""
        trials = divided.trials
        shown, trains = trials["stimulus_id"].to_numpy(dtype=np.int64), (trials["split"] == "train").to_numpy()
        exchanged, train = shown.copy(), np.unique(shown[trains])
        order = np.random.default_rng([seed, self.fold]).permutation(len(train))
        exchanged[trains] = train[order][np.searchsorted(train, shown[trains])]
        remark = (
            f"This is a null, no result: its {len(train)} training pictures were exchanged among their responses (seed {seed}) "
            "before anything was fitted, so its scores are what decoders reach that learnt nothing."
        )
        return replace(divided, trials=trials.assign(stimulus_id=exchanged), remarks=(remark, *divided.remarks))

    def _groups(self, recording: Recording, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the group of each stimulus, numbered from 0; by default each stimulus is its own."""
        table = recording.stimuli
        columns = [] if table is None else list(map(str, table.columns))
        name = self.groups or GROUPS
        if table is None or name not in columns:
            if self.groups is None:
                return np.arange(len(ids))
            if self.groups in (() if table is None else table.attrs.get("varying", ())):
                raise RecordingError(
                    f"column {self.groups} of the table of trials, which split.groups names, differs between trials of one "
                    "stimulus, or is empty in some: write the same in all of them"
                )
            raise RecordingError(
                f"split.groups is {name!r}, but the table of stimuli has the columns {', '.join(columns) or '(none)'}: name one "
                "of them, with one value for all trials of a stimulus"
            )
        values = table[name].reindex(ids)
        if values.isna().any():
            raise RecordingError(
                f"column {name} of the table of stimuli has no value for {int(values.isna().sum())} stimuli, first "
                f"{recording.names.get(int(ids[values.isna().argmax()]))!r}: write one for each"
            )
        return np.unique(values.astype(str).to_numpy(dtype=str), return_inverse=True)[1]


def deal(groups: Int[np.ndarray, " n"], n_folds: int, seed: int) -> Int[np.ndarray, " n"]:
    """Return the fold of each item: groups in random order, the larger ones first, each to the fold that is smallest so far.

    Args:
        groups: group of each item, numbered from 0.
        n_folds: number of folds.
        seed: of the order.

    Example:
        >>> np.bincount(deal(np.arange(10), 4, seed=0)).tolist()
        [3, 3, 2, 2]
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    load, fold_of = np.zeros(n_folds, np.int64), np.zeros(len(sizes), np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[group] = load.argmin()
        load[fold_of[group]] += sizes[group]
    dealt: Int[np.ndarray, " n"] = fold_of[groups]
    return dealt
