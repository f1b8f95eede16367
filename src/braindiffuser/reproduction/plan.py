"""Which runs a reproduction makes: one for each subject and split."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.part import known_kinds
from braindiffuser.plain_data import read_entries
from braindiffuser.planned_runs.planned import PlannedRun, Setting, as_folder, of_subjects
from braindiffuser.reproduction.published import GROUP_NAMES
from braindiffuser.splits.split import Split

FIGURES = ("decoder_accuracy", "voxel_weights", "roi_maximisation")
"""Analyses behind the paper's figures, which every run makes."""
WEIGHTS = "figure-8"
"""Name of the comparison of weights behind Figure 8, where the experiment's own looks at other regions or groups."""
UNIONS = "with_unions"
"""Name of the ROI maximisation behind Figures 9 to 11, where the experiment's own draws other regions, or no unions of them."""


def plan(
    experiments: Sequence[Experiment],
    subjects: Sequence[str] = (),
    splits: Sequence[str] = (),
    n_ablated: int | None = None,
) -> list[PlannedRun]:
    """List the runs of a reproduction, subject by subject.

    Args:
        experiments: one, whose dataset's entry `subject` is set to each subject; or one for each subject.
        subjects: names or numbers; none: the dataset's `default_subjects`, else that of each experiment.
        splits: each as `named_splits` reads it; none: that of the experiment. The first one is the replication.
        n_ablated: test pictures that are drawn without a part of the method; None: as the experiment says.

    Raises:
        RunError: there are several experiments and subjects, the dataset has no entry `subject`, a split is unknown, or two
            subjects have one name.
    """
    return [
        PlannedRun(name, split, _changed(experiment, name, split, n_ablated))
        for name, experiment in of_subjects(experiments, subjects)
        for split in named_splits(experiment, splits)
    ]


def named_splits(experiment: Experiment, wanted: Sequence[str]) -> list[Setting]:
    """Read the names of splits.

    A dataset with an entry `split`, such as laion_fmri, takes the names of its own splits; its `cluster_k5` and `random` stand
    for all of their kind that there are, which are averaged. Any dataset takes a kind of split with its entries:
    `cluster:n_clusters=5,test_cluster=0`.

    Raises:
        RunError: a text is neither.
        RecordingError: of several splits that a name stands for, some are not there.

    >>> [split.name for split in named_splits(Experiment.load("demo"), ["layout", "cluster:n_clusters=5,test_cluster=0"])]
    ['layout', 'cluster-n_clusters-5-test_cluster-0']
    """
    if not wanted:
        return [Setting(experiment.split.kind, experiment.split.kind, {})]
    found = [split for text in wanted for split in _read(experiment, text)]
    names = [split.name for split in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RunError(f"the split {twice[0]} is named twice: name each once")
    return found


def _read(experiment: Experiment, text: str) -> list[Setting]:
    kind, colon, entries = text.partition(":")
    if kind in known_kinds(Split):
        changes = {"split": {"kind": kind, **read_entries(entries.split(",") if entries else ())}}
        name = as_folder(text)
        return [Setting(name, name, changes)]
    if "split" not in type(experiment.dataset).model_fields or colon:
        raise RunError(
            f"there is no split {text}; known kinds: {', '.join(known_kinds(Split))}, with entries such as "
            "cluster:n_clusters=5,test_cluster=0"
        )
    names = experiment.dataset.split_family(text)
    return [Setting(as_folder(name), as_folder(text), _own_split(name)) for name in names]


def _own_split(name: str) -> dict[str, Any]:
    """Return the changes that take one of the dataset's own splits."""
    return {"dataset": {"split": name}, "split": {"kind": "layout"}}


def _changed(experiment: Experiment, subject: str, split: Setting, n_ablated: int | None) -> Experiment:
    """Return the experiment of one run: all ablations, and the analyses behind the paper's figures beside its own."""
    there = [analysis.kind for analysis in experiment.analyses]
    added: list[dict[str, Any]] = [{"kind": kind} for kind in FIGURES if kind not in there]
    taken = {analysis.label for analysis in experiment.analyses}
    if "voxel_weights" in there and label_of_weights(experiment) is None:
        added.append({"kind": "voxel_weights", "name": _free(WEIGHTS, taken)})
    if "roi_maximisation" in there and not _draws_unions(experiment):
        added.append({"kind": "roi_maximisation", "name": _free(UNIONS, taken), "lengths": "from-training"})
    own = [analysis.model_dump() for analysis in experiment.analyses]
    pictures: dict[str, Any] = {"ablations": "all"}
    if n_ablated is not None:
        pictures["n_ablated"] = n_ablated
    changes: dict[str, Any] = {
        "name": f"{experiment.name}, {subject}, {split.name}",
        "pictures": pictures,
        "analyses": [*own, *added],
    }
    return experiment.changed({**split.changes, **changes})


def _draws_unions(experiment: Experiment) -> bool:
    """Return whether the experiment's own ROI maximisation draws the paper's regions and their unions (Figures 9 to 11)."""
    entries = [analysis.model_dump() for analysis in experiment.analyses if analysis.kind == "roi_maximisation"]
    return any(own["regions"] is None and own["lengths"] == "from-training" for own in entries)


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name, with a number after it if an analysis of the experiment is called so."""
    numbered = (f"{name}-{n}" for n in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def label_of_weights(experiment: Experiment) -> str | None:
    """Return the label of the experiment's comparison of weights that is Figure 8's: its regions, against the VDVAE."""
    for analysis in experiment.analyses:
        if analysis.kind == "voxel_weights":
            entries = analysis.model_dump()
            if entries["regions"] is None and entries["reference"] in ("", next(iter(GROUP_NAMES))):
                return analysis.label
    return None
