"""Parts of a run computed by Dask's workers: processes of this machine, or of a cluster. Only the calling process writes.

Each worker opens the run's folder for reading, as the calling process does, and returns what it made. A part that was lost with
its worker is computed again, so nothing depends on which worker it was, or on how often it was tried.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from distributed import Client, Event, Future, KilledWorker, LocalCluster, Status, Worker, get_worker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.extensions import import_modules
from braindiffuser.machine import check_device, versions
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.plain_data import hash_json

if TYPE_CHECKING:
    from braindiffuser.experiment import Experiment
    from braindiffuser.progress import Progress
    from braindiffuser.stages import Item, Made, StageContext, Task

AHEAD = 2
"""Parts that are given out for each worker: one that it computes, and one that waits."""
TRIES = 3
"""How often a lost scheduler is connected to again."""
PATIENCE = 10.0
"""Seconds after which it is looked whether there are workers at all."""
REPORT_EVERY, ASK_EVERY = 0.5, 2.0
"""Seconds between two reports of a worker's progress, and between two questions whether the command still runs."""
KEPT = {-3: 32 * 2**20, -1: 64 * 2**20}
"""Number of M_MMAP_THRESHOLD and of M_TRIM_THRESHOLD in glibc's malloc.h → bytes, the highest that glibc itself chooses."""
STARTING = 60.0
"""Seconds after which it is said again that workers are started anew."""
LATE = 60.0
"""Seconds that a worker waits for results of the run that a network disk shows late."""


class Place(NamedTuple):
    """What a worker needs to know of a command.

    Attributes:
        command: drawn anew by each command: what a worker opened for one is not used for another.
        working: folder that the command was started in; relative paths count from here.
        modules: name of each module that the user named with `--with`, and hash of its file.
        versions: of the packages that numbers depend on.
    """

    command: str
    working: str
    modules: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


class Site(NamedTuple):
    """What a worker needs to know of a run.

    Attributes:
        place: the command.
        folder: of the run.
        experiment: in JSON.
        recording: hash of the sizes and times of its files.
        finished: name and uid of each finished step, which the worker must see before it begins.
    """

    place: Place
    folder: str
    experiment: str
    recording: str
    finished: tuple[tuple[str, str], ...]


class _Refused(NamedTuple):
    """What a part raised that is no fault of the program: it comes back as a result, so that workers print no traceback."""

    error: Exception


class DaskWorkers:
    """Computes parts of one run on a Dask cluster.

    Attributes:
        site: returns what workers need to know of the run at this time.
    """

    def __init__(self, queue: _Queue, site: Callable[[], Site]) -> None:
        """Give out parts to the workers of a queue."""
        self.site, self._queue = site, queue

    def each(self, task: Task[Item, Made], items: Sequence[Item]) -> Iterator[tuple[Item, Made]]:
        """Yield every item with what a worker made of it, in order; raises what `_Queue.each` raises."""
        return self._queue.each(partial(_compute, self.site(), task), items)


class _Queue:
    """Gives out work to a Dask cluster, and again what was lost."""

    def __init__(self, connect: Callable[[], Client], progress: Progress) -> None:
        """Connect to a cluster.

        Args:
            connect: connects to the cluster, again if its scheduler was lost.
            progress: says what happens, as progress(label, 1, 1).
        """
        self._connect, self._progress = connect, progress
        self._said_until = -math.inf
        """Time of the monotonic clock until when it is not said again that workers are started anew."""
        self.client = connect()

    def each(self, compute: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        """Yield every item with what a worker made of it, in order.

        Raises:
            RunError: one part took worker after worker with it, as happens where memory runs out; the scheduler was lost again
                and again; what a part raises.
        """
        waiting, tries = deque(items), TRIES
        given: deque[tuple[Item, Future[Any]]] = deque()
        while waiting or given:
            try:
                self._give(compute, waiting, given)
                made = self._result(given[0][1])
            except KilledWorker as error:
                raise RunError(
                    "a part of the work took worker after worker with it, probably because memory ran out: give workers more "
                    "memory, use fewer, or make the batch_size of targets and generator smaller"
                ) from error
            except (CancelledError, ClosedClientError, CommClosedError, OSError) as error:
                if given and given[0][1].status == "error":  # of the part itself
                    raise
                if not tries:
                    raise RunError(
                        "the scheduler of the workers was lost again and again: see that it runs, and run the same command "
                        "again, which goes on from what is there"
                    ) from error
                tries -= 1
                self._connect_again()
                waiting.extendleft(item for item, _ in reversed(given))
                given.clear()
            else:
                item, _ = given.popleft()
                if isinstance(made, _Refused):
                    raise made.error
                yield item, made

    def _result(self, future: Any) -> Any:
        """Wait for a result; say once if there is no worker that could give it."""
        said, wait = False, 0.0 if not self._n_workers() else PATIENCE
        while True:
            try:
                return future.result(timeout=wait)
            except TimeoutError:
                wait = PATIENCE
                self._replace_lost()
                if not (said or self._n_workers()):
                    self._progress(
                        "no worker is there: waiting for one (jobs of a queue may take long to begin; those that ended are not "
                        "submitted again, so stop this command then, and the same one goes on with new jobs)",
                        1,
                        1,
                    )
                    said = True

    def _connect_again(self) -> None:
        self._progress("the scheduler of the workers was lost: connecting again", 1, 1)
        with suppress(Exception):  # it is of no use any more, whatever its state
            self.client.close(timeout=1)
        try:
            self.client = self._connect()
        except RunError as error:
            raise RunError(f"{error}; once it runs, the same command goes on from what is there") from error

    def _replace_lost(self) -> None:
        """Start processes of this machine anew that do not come back by themselves, if this command started them."""
        cluster = self.client.cluster
        n_lost = _replace_lost(cluster) if isinstance(cluster, LocalCluster) else 0
        if n_lost and time.monotonic() > self._said_until:
            self._said_until = time.monotonic() + STARTING
            self._progress(f"workers that did not come back, which are started anew: {n_lost}", 1, 1)

    def _n_workers(self) -> int:
        return len(self.client.scheduler_info(n_workers=-1).get("workers", ()))

    def _give(
        self, compute: Callable[[Item], Any], waiting: deque[Item], given: deque[tuple[Item, Future[Any]]]
    ) -> None:
        if waiting:
            self._replace_lost()
        most = AHEAD * max(1, self._n_workers())
        while waiting and len(given) < most:
            given.append((waiting[0], self.client.submit(compute, waiting[0], pure=False)))
            waiting.popleft()


def _replace_lost(cluster: LocalCluster) -> int:
    """Begin to start the workers anew that Dask has given up, and return how many are not there yet.

    A worker that ended is started anew by its own nanny. Dask gives up both when it is not back within 15 seconds
    (`distributed.deploy.lost-worker-timeout`), as on a busy machine, and would go on with fewer workers, or wait for ever.
    Called again before they are there, it starts none twice.
    """
    for name, worker in list(cluster.workers.items()):
        if worker.status in {Status.closed, Status.failed}:
            cluster.workers.pop(name, None)
    wanted, kept = len(cluster.worker_spec), len(cluster.workers)
    if kept < wanted:
        cluster.scale(wanted)
    return max(0, wanted - kept)


class DaskCluster:
    """Makes what computes beside a command: parts of its runs, or whole pieces of work that write for themselves."""

    def __init__(self, connect: Callable[[], Client], modules: Sequence[str], progress: Progress) -> None:
        """Remember how to connect.

        Args:
            connect: connects to the cluster (`clusters.open_cluster`).
            modules: that the user named with `--with`.
            progress: says what happens.
        """
        self._connect, self._modules, self._progress = connect, modules, progress

    def __call__(
        self, experiment: Experiment, folder: Path, finished: Callable[[], Mapping[str, Mapping[str, Any]]]
    ) -> DaskWorkers:
        """Return what computes parts of one run."""
        from braindiffuser.recording_hashes import recording_files, when_written

        command = uuid4().hex

        def site() -> Site:
            return Site(
                place=self._place(command),
                folder=str(folder.resolve()),
                experiment=json.dumps(experiment.model_dump(mode="json")),
                recording=hash_json(when_written(recording_files(experiment))),
                finished=tuple((step, str(record["uid"])) for step, record in finished().items()),
            )

        return DaskWorkers(_Queue(self._connect, self._progress), site)

    def apart(
        self, work: Callable[[str, Progress], None], items: Sequence[str], device: str, progress: Progress
    ) -> Iterator[str]:
        """Do several pieces of work, each by one worker, which writes its results itself; yield each when it is done, in order.

        Args:
            work: called on a worker as work(item, progress); a function of a module of this package, which goes on from what is
                there, since a piece whose worker was lost is done again.
            items: text that says what each piece is.
            device: where networks compute: workers of a machine with several GPUs take one each.
            progress: called with what workers report.

        Raises:
            RunError: what `_Queue.each` raises.
        """
        command = uuid4().hex

        def connect() -> Client:
            client = self._connect()
            client.subscribe_topic(command, lambda event: progress(*event[1]))
            return client

        queue = _Queue(connect, self._progress)
        try:
            for item, _ in queue.each(partial(_work, self._place(command), work, device), items):
                yield item
        finally:
            with suppress(Exception):  # of a scheduler that is gone
                Event(command, client=queue.client).set()  # workers of a cluster that stays stop, too
                queue.client.unsubscribe_topic(command)

    def _place(self, command: str) -> Place:
        return Place(
            command=command,
            working=str(Path.cwd()),
            modules=tuple((name, _hash_of_module(name)) for name in self._modules),
            versions=tuple(versions().items()),
        )


def _compute(site: Site, task: Task[Item, Made], item: Item) -> Made | _Refused:
    """Compute one part, on a worker."""
    try:
        return task(_context(site), item)
    except (BrainDiffuserError, OSError, EOFError, MemoryError) as error:
        return _Refused(error)


def _work(place: Place, work: Callable[[str, Progress], None], device: str, item: str) -> _Refused | None:
    """Do one piece of work, on a worker."""
    try:
        _prepare(place)
        number = _number_of_gpu(device)
        if number is not None:
            import torch

            torch.cuda.set_device(number)
        work(item, _Reported(place.command))
    except (BrainDiffuserError, OSError, EOFError, MemoryError) as error:
        return _Refused(error)
    return None


class _Reported:
    """Progress of a worker, reported to the command: each end, and up to twice a second what is between.

    It stops the work if the command has ended.
    """

    def __init__(self, command: str) -> None:
        self._command, self._last, self._asked = command, 0.0, time.monotonic()

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._asked > ASK_EVERY:
            self._asked = now
            if Event(self._command).is_set():
                raise RunError("the command that began this has ended")
        if done >= total or now - self._last > REPORT_EVERY:
            self._last = now
            get_worker().log_event(self._command, (label, done, total))


def dask_setup(worker: Worker) -> None:
    """Leave Ctrl-C to the command that started this worker; Dask calls this when a worker starts on the command's machine."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Keep memory that was freed for what needs it next, as processes do that Dask did not start.

    Dask sets MALLOC_TRIM_THRESHOLD_, so that its workers return freed memory to the system at once. The next layer of a network
    asks for as much again and waits for each page: with this, drawing took twice as long.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return
    for parameter, size in KEPT.items():
        ctypes.CDLL(None).mallopt(parameter, size)


@lru_cache(maxsize=1)
def _networks(command: str, device: str) -> NetworkCache:
    """Return the networks that this worker keeps from part to part of one command."""
    return NetworkCache(device)


_imported: dict[str, str] = {}
"""Name of each module that a user named → hash of its file when this process imported it."""


def _hash_of_module(name: str) -> str:
    """Return the hash of a module's file as it was imported, of a package's all files; "" of one that has no file."""
    if name not in _imported:
        module = sys.modules.get(name)
        file, folders = getattr(module, "__file__", None), getattr(module, "__path__", ())
        files = sorted(
            {*([Path(file)] if file else []), *(path for each in folders for path in Path(each).rglob("*.py"))}
        )
        found = hash_json([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
        _imported[name] = found if files else ""
    return _imported[name]


def _prepare(place: Place) -> None:
    """Go where the command was started, import the user's modules, and compare versions with those of the command.

    Raises:
        RunError: the folder is not there, a module cannot be imported, or versions differ.
    """
    _keep_freed_memory()
    if not Path(place.working).is_dir():
        raise RunError(
            f"a worker does not see {place.working}, where this command was started: start it on a disk that all workers share"
        )
    os.chdir(place.working)
    own = versions()
    for name, version in place.versions:
        if own.get(name) != version:
            raise RunError(
                f"a worker has {name} {own.get(name)}, and this command {version}: install the same versions, and start the "
                "workers again"
            )
    for name, digest in place.modules:
        try:
            import_modules([name])
        except RunError as error:
            raise RunError(f"on a worker, {error}") from error
        if _hash_of_module(name) != digest:
            raise RunError(f"a worker has another version of the module {name}: start the workers again")


_opened: dict[Site, StageContext] = {}


def _context(site: Site) -> StageContext:
    """Open a run for reading, on a worker; the last one stays open."""
    if site not in _opened:
        from braindiffuser.experiment import Experiment
        from braindiffuser.run import reading_context

        _prepare(site.place)
        _wait_for(site)
        experiment = Experiment.model_validate(json.loads(site.experiment))
        device = _own_device(experiment.device)
        check_device(device)
        _opened.clear()
        _opened[site] = reading_context(experiment, Path(site.folder), _networks(site.place.command, device))
    return _opened[site]


def _own_device(device: str) -> str:
    """Return the GPU of this worker, where the machine has several: workers take turns."""
    number = _number_of_gpu(device)
    return device if number is None else f"cuda:{number}"


def _number_of_gpu(device: str) -> int | None:
    """Return the number of this worker's GPU by the end of its name; None if there is no choice."""
    if device != "cuda":
        return None
    import torch

    n, name = torch.cuda.device_count(), str(get_worker().name)
    number = int(name.rpartition("-")[2]) if name.rpartition("-")[2].isdigit() else 0
    return number % n if n > 1 else None


def is_able() -> bool:
    """Return True, on a worker that can import this module."""
    return True


def _wait_for(site: Site) -> None:
    """Wait until this machine shows the finished steps of a run.

    Raises:
        RunError: it does not.
    """
    from braindiffuser.store.results import Store

    until = time.monotonic() + LATE
    while True:
        store = Store(Path(site.folder))
        late = [step for step, uid in site.finished if (store.record(step) or {}).get("uid") != uid]
        if not late:
            return
        if time.monotonic() > until:
            raise RunError(
                f"a worker does not see {late[0]} in {site.folder} after {LATE:g} seconds: the folder must lie on a disk that "
                "all workers share, under the same path"
            )
        time.sleep(1)
