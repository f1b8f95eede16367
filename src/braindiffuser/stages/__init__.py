"""Stages of a run: each is a record in a file of its own, and everything about the order of work derives from the records.

A stage is divided into units that are made and kept separately: `extract` and `fit` have one per target group, `reconstruct` one
per kind of pictures. A *step* is one unit of a stage. A changed setting makes stale only the steps that depend on it, and those
that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from braindiffuser.batches import Batches
    from braindiffuser.datasets.recording import Recording
    from braindiffuser.experiment import Experiment
    from braindiffuser.networks.cache import NetworkCache
    from braindiffuser.progress import Progress
    from braindiffuser.recording_hashes import RecordingHashes
    from braindiffuser.store.draft import Draft
    from braindiffuser.store.results import Results


Item = TypeVar("Item")
Made = TypeVar("Made")


class Step(NamedTuple):
    """One unit of a stage."""

    stage: str
    unit: str = ""

    def __str__(self) -> str:
        """Return the name: `extract.latents`, or `report` for a stage that is one unit."""
        return f"{self.stage}.{self.unit}" if self.unit else self.stage


def changed_while(step: Step) -> str:
    """Say that files were changed while a step read them, so that nothing that was made since counts."""
    return f"files that {step} reads were changed while it worked: run the same command again"


@runtime_checkable
class Workers(Protocol):
    """Other processes, here or on a cluster, that compute parts of a run and return what they made."""

    def each(self, task: Task[Item, Made], items: Sequence[Item]) -> Iterator[tuple[Item, Made]]:
        """Yield every item with what `task(context, item)` returned in one of the processes, in order."""


@dataclass(frozen=True)
class StageContext:
    """What a stage is given to compute from.

    Attributes:
        experiment: what to do.
        results: of earlier steps, for reading.
        manifest: returns what is known of the run as a whole.
        finished: returns the records of the steps that are finished, by their names, in order.
        open_recording: opens the recording, once.
        hashes: of the recording's files, to be taken as they are read.
        networks: loads networks, each once.
        progress: to be called as progress(label, done, total).
        settings: returns the entries that a step depends on, with the hashes of its checkpoints.
        shared: folder of features that runs of the recording share; None: this run shares none.
        workers: processes that compute beside this one; None: there are none.
    """

    experiment: Experiment
    results: Results
    manifest: Callable[[], Mapping[str, Any]]
    finished: Callable[[], Mapping[str, Mapping[str, Any]]]
    open_recording: Callable[[], Recording]
    hashes: RecordingHashes
    networks: NetworkCache
    progress: Progress
    settings: Callable[[Step], Mapping[str, Any]]
    shared: Path | None = None
    workers: Workers | None = None
    _batches: dict[str, Batches] = field(default_factory=dict)
    _last: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def each(self, task: Task[Item, Made], items: Sequence[Item]) -> Iterator[tuple[Item, Made]]:
        """Yield every item with what `task(context, item)` returns, in order; workers compute several at a time.

        Args:
            task: a function of a module, or a `functools.partial` of one, that reads what it needs from the context; it writes
                nothing, so that each file has one writer.
            items: what it is called with; small, since they are sent to workers.
        """
        return self.here(task, items) if self.workers is None else self.workers.each(task, items)

    def here(self, task: Task[Item, Made], items: Sequence[Item]) -> Iterator[tuple[Item, Made]]:
        """Do the same in this process."""
        return ((item, task(self, item)) for item in items)

    def batches(self, name: str, size: int) -> Batches:
        """Return the `Batches` kept under a name, so that a size that was halved for lack of memory stays halved.

        Args:
            name: of what is computed.
            size: rows that are computed together at first.
        """
        from braindiffuser.batches import Batches

        if name not in self._batches:
            self._batches[name] = Batches(size, self.progress)
        return self._batches[name]

    def last(self, name: str, key: Any, make: Callable[[], Made]) -> Made:
        """Return what was made last under a name, if it was for the same key; else make it, after the last one is let go.

        Args:
            name: of what is kept, one object for each name.
            key: what it depends on.
            make: makes it.
        """
        if name not in self._last or self._last[name][0] != key:
            self._last.pop(name, None)
            self._last[name] = key, make()
        kept: Made = self._last[name][1]
        return kept

    def let_go(self) -> None:
        """Let go all that `last` keeps."""
        self._last.clear()


Task: TypeAlias = Callable[[StageContext, Item], Made]
"""Computes one item; reads from the context and writes nothing."""


def _one_unit(experiment: Experiment) -> tuple[str, ...]:
    return ("",)


def _nothing(experiment: Experiment, unit: str) -> tuple[()]:
    return ()


def _no_checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    return {}


@dataclass(frozen=True)
class Stage:
    """Declaration of a stage.

    Attributes:
        name: also of its command.
        does: what it does, in one line.
        reads: what it reads, for the table in the docs.
        writes: patterns of the files that it writes in the run's folder.
        needs: stages whose results it may need, so that it comes after them.
        needs_of: the steps that one unit needs.
        influences: the entries of an experiment that one unit depends on, besides those of the steps that it needs.
        compute: computes units into their drafts, and yields each unit whose draft is complete.
        units: names of the units of an experiment; a stage that is not divided has one, "".
        roles: roles of the recording's files whose contents one unit depends on.
        roles_while_reading: those of `roles` that the stage itself hashes while it reads them.
        roles_by_name: roles of the recording's files of which only the names matter.
        checkpoints: checkpoint folders whose contents one unit depends on, by a name.
        available: optional resources that one unit uses if this machine has them, such as scoring networks; when one is
            added later, the unit is recomputed.
        on_device: whether it computes on the experiment's device.
        workers: how much of it that takes the device workers do, if there are any.
        less_memory: settings of it that need less memory, for the error when that runs out.
    """

    name: str
    does: str
    reads: str
    writes: tuple[str, ...]
    needs: tuple[str, ...]
    needs_of: Callable[[Experiment, str], tuple[Step, ...]]
    influences: Callable[[Experiment, str], Mapping[str, Any]]
    compute: Callable[[StageContext, Mapping[str, Draft]], Iterator[str]]
    units: Callable[[Experiment], tuple[str, ...]] = _one_unit
    roles: Callable[[Experiment, str], tuple[str, ...]] = _nothing
    roles_while_reading: tuple[str, ...] = ()
    roles_by_name: Callable[[Experiment, str], tuple[str, ...]] = _nothing
    checkpoints: Callable[[Experiment, str], Mapping[str, Path]] = _no_checkpoints
    available: Callable[[Experiment, str], tuple[str, ...]] = _nothing
    on_device: bool = True
    workers: Literal["none", "some", "all"] = "none"
    less_memory: str = ""

    def steps(self, experiment: Experiment) -> tuple[Step, ...]:
        """Return its steps in an experiment, in order."""
        return tuple(Step(self.name, unit) for unit in self.units(experiment))


@cache
def stages() -> Mapping[str, Stage]:
    """Return all stages by name, each after those that it needs: one for every file of this folder."""
    names = (module.name for module in iter_modules(__path__) if not module.ispkg)
    found: list[Stage] = [import_module(f"{__name__}.{name}").STAGE for name in names]
    by_name = {stage.name: stage for stage in found}
    order = TopologicalSorter({stage.name: stage.needs for stage in found}).static_order()
    return {name: by_name[name] for name in order}


def all_steps(experiment: Experiment) -> tuple[Step, ...]:
    """Return the steps of an experiment, each after those that it needs."""
    return tuple(step for stage in stages().values() for step in stage.steps(experiment))


def stages_table() -> str:
    """Return the table of stages in Markdown, as the docs print it."""
    rows = [
        f"| `{stage.name}` | {stage.does} | {stage.reads} | {_listed(stage.writes)} |" for stage in stages().values()
    ]
    return "\n".join(["| stage | does | reads | writes |", "|---|---|---|---|", *rows])


def _listed(patterns: tuple[str, ...]) -> str:
    return ", ".join(f"`{pattern}`" for pattern in patterns)
