"""A run: an experiment and the folder that its results go to. It trusts nothing in that folder that it did not check."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from braindiffuser.batches import needing_memory
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.files import alone_in, state_of
from braindiffuser.machine import (
    check_networks,
    machine,
    networks_are_installed,
    peak_memory_gb,
    reset_peak_memory,
    versions,
)
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.progress import Progress, silent
from braindiffuser.recording_hashes import RecordingHashes, recording_files
from braindiffuser.run_folder import (
    check_captions,
    check_checkpoints,
    check_configs,
    check_folder,
    check_links,
    check_shared_folder,
    join_names,
    orphans_sentence,
    stored_experiment,
)
from braindiffuser.stages import Stage, StageContext, Step, Workers, all_steps, stages
from braindiffuser.stages.prepare import MADE
from braindiffuser.step_results import StepResults, time_now
from braindiffuser.step_states import State, StepStates
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results, Store

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording
    from braindiffuser.report.page import Report
    from braindiffuser.report.verdict.conclusion import Conclusion


@runtime_checkable
class MakeWorkers(Protocol):
    """Other processes, here or on a cluster, that compute for a command."""

    def __call__(
        self, experiment: Experiment, folder: Path, finished: Callable[[], Mapping[str, Mapping[str, Any]]]
    ) -> Workers:
        """Return what computes parts of a run, from its experiment, its folder, and the records of its finished steps."""

    def apart(
        self, work: Callable[[str, Progress], None], items: Sequence[str], device: str, progress: Progress
    ) -> Iterator[str]:
        """Do several pieces of work, each in one process, which writes its results itself; yield each when it is done."""


class Run:
    """An experiment and the folder that its results go to.

    Attributes:
        experiment: what to do.
        results: finished results, for reading.
        states: which steps are finished, which are out of date and why.
    """

    def __init__(
        self,
        experiment: Experiment,
        store: Store,
        progress: Progress,
        shared: Path | None = None,
        workers: MakeWorkers | None = None,
        siblings: Sequence[Store] = (),
    ) -> None:
        """Use `Run.open`, which checks the folder."""
        self.experiment = experiment
        self.results: Results = store
        self._store = store
        self._progress = progress
        self._shared = shared
        self._workers = workers
        of_others = [(other, recording_files(stored_experiment(other.folder))) for other in siblings]
        self._hashes = RecordingHashes(store, recording_files(experiment), progress, others=of_others)
        self._networks = NetworkCache(experiment.device)
        self.states = StepStates(experiment, store, self._hashes)
        self._step_results = StepResults(self.states, store, self._hashes, siblings, progress)
        self._earlier: str | None = None
        """The uid of an experiment that the folder keeps until a stage of this one is done."""

    @classmethod
    def open(
        cls,
        experiment: Experiment | None,
        folder: Path | str,
        overwrite: bool = False,
        progress: Progress = silent,
        shared: Path | str | None = None,
        note_when_done: bool = False,
        workers: MakeWorkers | None = None,
        siblings: Sequence[Path | str] = (),
    ) -> Run:
        """Open a new or existing run folder.

        Args:
            experiment: what to do; None takes the one that the folder holds.
            folder: where results go.
            overwrite: recompute steps whose settings or inputs changed; else they raise. Old results stay until new ones are
                complete.
            progress: called as progress(label, done, total).
            shared: folder of features that runs of this recording share, made if it does not exist: each stimulus is extracted
                once, whatever the split. Results are the same, byte for byte. None: this run shares nothing.
            note_when_done: whether a folder that holds an experiment keeps it until a stage of this one is done, so that a stage
                that fails leaves the run as it was.
            workers: makes what other processes compute parts with (`braindiffuser.dask_workers.DaskCluster`); None: this process
                computes alone.
            siblings: folders of further runs; a step that one of them has finished from the same settings and inputs is taken
                from there, by hard links where the disk has them, and not computed again.

        Raises:
            RunError: if no experiment is given and the folder holds none; for stale or foreign files, overlap with the
                recording, or a missing checkpoint.
        """
        folder = Path(folder)
        store = Store(folder)
        experiment = experiment or stored_experiment(folder)
        if not experiment.dataset.has_captions:
            experiment = experiment.without_captions()
        check_folder(folder, experiment)
        check_checkpoints(experiment)
        others = [other for other in map(Store, map(Path, siblings)) if other.manifest.get("experiment")]
        run = cls(experiment, store, progress, None if shared is None else Path(shared), workers, others)
        if any(store.record(str(step)) is None for step in run.steps("extract")):
            run._check_shared()
        for (
            step
        ) in run.steps():  # fails before any work if a part asks for a stage that there is not, or has odd influences
            run.states.needs_of(step)
            run.states.influences(step)
        folder.mkdir(parents=True, exist_ok=True)
        check_links(folder)
        with run._alone():
            store.remove_leftovers()
            store.finish_publishing()
            run._note_missing_recording()
            run._settle_stale(overwrite)
            if not run.is_finished("extract"):
                run._check_shared()
            run._earlier = store.manifest.get("uid") if note_when_done else None
            if run._earlier is None:
                run._note_experiment()
            run._note_orphans()
        return run

    def _check_shared(self) -> None:
        """Raise if features cannot be shared in that folder; a run whose features are all there does not look at it."""
        if self._shared is not None:
            check_shared_folder(self._shared, self.experiment, self.results.folder)

    # States

    def steps(self, stage: str | None = None) -> tuple[Step, ...]:
        """Return the steps of this run, or of one stage, in order."""
        return all_steps(self.experiment) if stage is None else stages()[stage].steps(self.experiment)

    def state(self, step: Step) -> State:
        """Return the step's state."""
        return self.states.state(step)

    def is_finished(self, stage: str) -> bool:
        """Return whether all steps of a stage are finished."""
        return all(self.state(step) == "finished" for step in self.steps(stage))

    def _settle_stale(self, overwrite: bool) -> None:
        """Raise if results are stale, but for a page of another name, or that tells of more or fewer steps than there are.

        With `overwrite`, record that they may be replaced.
        """
        stale = self.states.refuse_stale(self.steps(), overwrite)
        states = {step: self.state(step) for step in self.steps()}
        for step in stale:
            self._store.update_record(str(step), replaced_for=self.states.consent_key(step))
        for step, state in states.items():
            if state in ("finished", "damaged") and (self._store.record(str(step)) or {}).get("replaced_for"):
                self._store.update_record(str(step), replaced_for=None)

    # Work

    def do(self, stage: str, again: bool = False) -> None:
        """Run a stage's unfinished steps; an interrupted stage resumes.

        Args:
            stage: its name.
            again: do a finished step anew too, of a stage of one step: a page, which a newer version draws otherwise.

        Raises:
            RunError: if a stage that it needs is not finished, or another process works in the folder.
        """
        if stage not in stages():
            raise RunError(f"there is no stage {stage}; stages: {', '.join(stages())}")
        record = stages()[stage]
        steps = record.steps(self.experiment)
        pending = [step for step in steps if again or self.state(step) != "finished"]
        if not pending:
            why = "already finished" if steps else "nothing to do: the experiment asks for none"
            self._progress(f"{stage} ({why})", 1, 1)
            if self._earlier is not None:
                with self._alone():
                    self._refuse_what_came_between(record)
                    self._note_done()
            return
        self._require(pending)
        if record.on_device and not self._leaves_device_to_workers(record):
            check_networks(self.experiment.device)
        if networks_are_installed():  # which the other stages do without
            check_configs(self.experiment)
        with self._alone():
            self._refuse_what_came_between(record)
            for step in pending:
                if self.state(step) == "damaged":
                    self._step_results.announce_repair(step)
            try:
                with self._timed(stage):
                    left = [step for step in pending if again or not self._step_results.take_over(step)]
                    if left:
                        self._compute(record, left)
            finally:
                self._networks.keep(())
                self._context.let_go()
            self._note_done()

    def _leaves_device_to_workers(self, stage: Stage) -> bool:
        return self._workers is not None and stage.workers == "all" and self._shared is None

    def _refuse_what_came_between(self, stage: Stage) -> None:
        """Raise if the folder or the recording changed since opening."""
        uid = self._store.manifest.get("uid")
        if uid is None:
            self._note_experiment()
        steps = stage.steps(self.experiment)
        stale = [str(step) for step in steps if self.state(step) == "stale" and self.states.reasons(step)]
        if stale or uid not in (None, self._earlier or self.experiment.uid):
            why = f"the inputs of {join_names(stale)} changed" if stale else f"another experiment ({uid}) was begun"
            raise RunError(
                f"{why} since this run of {self.results.folder} was opened: run the same command again (in Python: Run.open), or "
                "choose another folder"
            )

    def _compute(self, stage: Stage, pending: list[Step]) -> None:
        drafts = _Drafts(
            [step.unit for step in pending],
            lambda unit: self._step_results.draft(Step(stage.name, unit)),
            lambda unit: self.state(Step(stage.name, unit)) != "finished",
        )
        left = list(pending)
        device = self.experiment.device if stage.on_device else ""
        try:
            with needing_memory(device, lambda: str((left or pending[-1:])[0]), stage.less_memory):
                for unit in stage.compute(self._context, drafts):
                    self._step_results.publish(Step(stage.name, unit), drafts[unit])
                    left.remove(Step(stage.name, unit))
        except Exception:
            for step in left:
                self._step_results.refuse_damaged_inputs(step)  # which may be why it failed, and says so more plainly
            raise

    def _require(self, pending: list[Step]) -> None:
        """Check that steps needed by `pending`, outside it, are finished."""
        needs = (need for step in pending for need in self.states.needs_of(step))
        for need in dict.fromkeys(needs):
            if need not in pending and self.state(need) != "finished":
                damaged = self._store.damaged_files(str(need)) if self.state(need) == "damaged" else {}
                why = "".join(f" ({name} {change})" for name, change in list(damaged.items())[:1])
                raise RunError(
                    f"{pending[0].stage} needs {need.stage} first{why}: "
                    f"{command_line(need.stage, '--out', self.results.folder)}"
                )

    @cached_property
    def _context(self) -> StageContext:
        return StageContext(
            experiment=self.experiment,
            results=self.results,
            manifest=lambda: self._store.manifest,
            finished=self._finished,
            open_recording=self.recording,
            hashes=self._hashes,
            networks=self._networks,
            progress=self._progress,
            settings=self.states.settings,
            shared=self._shared,
            workers=None
            if self._workers is None
            else self._workers(self.experiment, self.results.folder, self._finished),
        )

    def _finished(self) -> dict[str, dict[str, Any]]:
        """Return the records of finished steps, in order."""
        steps = [str(step) for step in self.steps() if self.state(step) == "finished"]
        return {step: record for step in steps if (record := self._store.record(step))}

    def recording(self) -> Recording:
        """Open the recording, once.

        Raises:
            RecordingError: if a file is missing or does not fit; names it.
        """
        return self._recording

    @cached_property
    def _recording(self) -> Recording:
        self._step_results.note_opening()
        recording = self.experiment.recording(self.results.folder / MADE)
        check_captions(self.experiment, recording)
        return recording

    def _alone(self) -> AbstractContextManager[None]:
        return alone_in(self.results.folder)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Record a stage's time over all attempts, and the last one's peak memory."""
        earlier = float(self._store.manifest.get("stages", {}).get(stage, {}).get("seconds", 0.0))
        reset_peak_memory()
        started = time.monotonic()
        facts: dict[str, Any] = {}
        try:
            yield
            facts = {"peak_memory_gb": peak_memory_gb(), "finished": time_now()}
        finally:
            seconds = round(earlier + time.monotonic() - started, 2)
            noted = self._store.manifest.get("stages", {})
            known = {key: value for key, value in noted.get(stage, {}).items() if key == "finished"}
            self._store.update_manifest(stages=noted | {stage: {"seconds": seconds, **known, **facts}})

    def _note_missing_recording(self) -> None:
        folder, gone = self.experiment.dataset.folder, self._hashes.gone()
        if folder is not None and not folder.exists():
            self._progress(f"{folder} is missing, so changes in it cannot be detected", 1, 1)
        elif gone:
            self._progress(f"all files of {join_names(gone)} are missing, so changes in them cannot be detected", 1, 1)

    def _note_experiment(self) -> None:
        experiment = self.experiment
        self._store.update_manifest(
            uid=experiment.uid,
            experiment=experiment.model_dump(mode="json"),
            seed=experiment.seed,
            versions=versions(),
            machine=machine(),
        )
        self._write_experiment_file()
        from braindiffuser.report.run_section import version_sentences

        for sentence in version_sentences(self._finished(), versions()):
            self._progress(sentence, 1, 1)

    def _note_done(self) -> None:
        """Note the experiment if the folder still keeps an earlier one: a stage of this one is done."""
        if self._earlier is not None:
            self._earlier = None
            self._note_experiment()

    def _note_orphans(self) -> None:
        """Report results of steps that this experiment lacks; they are kept."""
        own = {str(step) for step in self.steps()}
        orphans = [name for name in self._store.steps() if name not in own]
        if orphans:
            self._progress(orphans_sentence(orphans, self.results.folder), 1, 1)

    def _write_experiment_file(self) -> None:
        """Write `experiment.yaml`, unless it was edited."""
        path, text = self.results.folder / "experiment.yaml", self.experiment.to_yaml()
        own, new = self._store.manifest.get("experiment_files", []), hashlib.sha256(text.encode()).hexdigest()
        if path.exists() and (not path.is_file() or state_of(path).sha256 not in [*own, new]):
            self._progress(
                f"{path} was edited and is kept; manifest.json holds the experiment that is run. Delete {path.name} to have "
                "it written again",
                1,
                1,
            )
            return
        self._store.update_manifest(experiment_files=[*own[-1:], new])  # noted first: a kill in between is no harm
        self._store.write_text("experiment.yaml", text)

    # All of it

    def run_all(self) -> Path:
        """Run every stage that is not finished, and return the page."""
        left = [stages()[step.stage] for step in self.steps() if self.state(step) != "finished"]
        if any(stage.on_device and not self._leaves_device_to_workers(stage) for stage in left):
            check_networks(self.experiment.device)
        for stage in stages():
            self.do(stage)
        return self.results.folder / "report" / "index.html"

    def verdict(self) -> list[Conclusion]:
        """Return the conclusions of the page's first box: what the numbers support, what they do not, and why.

        Raises:
            RunError: if the run's pictures are not scored yet.
        """
        from braindiffuser.report.verdict.conclusions import conclusions
        from braindiffuser.stages.report import evidence

        return conclusions(evidence(self._context))

    def report(self) -> Report:
        """Return a Report of the finished steps: it shows itself in a notebook, saves, and opens in a browser."""
        from braindiffuser.stages.report import build_report

        return build_report(self._context)


class _Drafts(Mapping[str, Draft]):
    """Maps unfinished units to drafts, opened on first access.

    They are opened late: a draft's key contains the uids of the units that its unit needs.
    """

    def __init__(self, units: list[str], open_draft: Callable[[str], Draft], is_wanted: Callable[[str], bool]) -> None:
        self._units, self._open, self._is_wanted = units, cache(open_draft), is_wanted

    def __getitem__(self, unit: str) -> Draft:
        if unit not in self._units:
            raise KeyError(unit)
        return self._open(unit)

    def __iter__(self) -> Iterator[str]:
        return (unit for unit in self._units if self._is_wanted(unit))

    def __contains__(self, unit: object) -> bool:
        return any(unit == wanted for wanted in self)

    def __len__(self) -> int:
        return len(list(iter(self)))


def reading_context(experiment: Experiment, folder: Path, networks: NetworkCache) -> StageContext:
    """Return what a part of a run is computed from, in a process that writes nothing.

    Args:
        experiment: of the run.
        folder: of the run.
        networks: keeps networks from part to part.
    """
    run = Run(experiment, Store(folder), silent)
    run._networks = networks
    return run._context


def run_demo(folder: Path | str = "runs/demo", progress: Progress = silent) -> Path:
    """Simulate a subject, decode it with the bundled networks, and return the page."""
    return Run.open(Experiment.load("demo"), folder, progress=progress).run_all()
