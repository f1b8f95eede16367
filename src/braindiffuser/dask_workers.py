"""Parts of a run computed by Dask's workers: processes of this machine, or of a cluster. Only the calling process writes.

Each worker opens the run's folder for reading, as the calling process does, and returns what it made. A part that was lost with
its worker is computed again, so nothing depends on which worker it was, or on how often it was tried.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import Client, Future, KilledWorker, get_worker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from braindiffuser.errors import RunError
from braindiffuser.extensions import import_modules
from braindiffuser.networks.cache import NetworkCache

if TYPE_CHECKING:
    from braindiffuser.experiment import Experiment
    from braindiffuser.progress import Progress
    from braindiffuser.run import MakeWorkers
    from braindiffuser.stages import Item, Made, StageContext, Task

AHEAD = 2
"""Parts that are given out for each worker: one that it computes, and one that waits."""
TRIES = 3
"""How often a lost scheduler is connected to again."""
LATE = 60.0
"""Seconds that a worker waits for results of the run that a network disk shows late."""


class Site(NamedTuple):
    """What a worker needs to know of a run.

    Attributes:
        folder: of the run.
        experiment: in JSON.
        modules: that the user named with `--with`, by name.
        finished: name and uid of each finished step, which the worker must see before it begins.
    """

    folder: str
    experiment: str
    modules: tuple[str, ...]
    finished: tuple[tuple[str, str], ...]


class DaskWorkers:
    """Computes parts of one run on a Dask cluster.

    Attributes:
        site: returns what workers need to know of the run at this time.
    """

    def __init__(self, connect: Callable[[], Client], site: Callable[[], Site], progress: Progress) -> None:
        """Connect to a cluster.

        Args:
            connect: connects to the cluster, again if its scheduler was lost.
            site: returns what workers need to know of the run at this time.
            progress: says what happens, as progress(label, 1, 1).
        """
        self.site = site
        self._connect, self._progress = connect, progress
        self._client = connect()

    def each(self, task: Task[Item, Made], items: Sequence[Item]) -> Iterator[tuple[Item, Made]]:
        """Yield every item with what a worker made of it, in order.

        Raises:
            RunError: one part took worker after worker with it, as happens where memory runs out; the scheduler was lost again
                and again; what a part raises.
        """
        site, waiting, tries = self.site(), deque(items), TRIES
        given: deque[tuple[Item, Future[Any]]] = deque()
        if items and not self._n_workers():
            self._progress("waiting for the first worker: jobs of a queue may take long to begin", 1, 1)
        while waiting or given:
            try:
                self._give(partial(_compute, site, task), waiting, given)
                made = given[0][1].result()
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
                self._progress("the scheduler of the workers was lost: connecting again", 1, 1)
                self._client = self._connect()
                waiting.extendleft(item for item, _ in reversed(given))
                given.clear()
            else:
                item, _ = given.popleft()
                yield item, made

    def _n_workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1).get("workers", ()))

    def _give(
        self, compute: Callable[[Item], Any], waiting: deque[Item], given: deque[tuple[Item, Future[Any]]]
    ) -> None:
        most = AHEAD * max(1, self._n_workers())
        while waiting and len(given) < most:
            given.append((waiting[0], self._client.submit(compute, waiting[0], pure=False)))
            waiting.popleft()


def workers_of(connect: Callable[[], Client], modules: Sequence[str], progress: Progress) -> MakeWorkers:
    """Return what makes the workers of a run.

    Args:
        connect: connects to the cluster (`clusters.open_cluster`).
        modules: that the user named with `--with`.
        progress: says what happens.
    """

    def make(
        experiment: Experiment, folder: Path, finished: Callable[[], Mapping[str, Mapping[str, Any]]]
    ) -> DaskWorkers:
        def site() -> Site:
            steps = tuple((step, str(record["uid"])) for step, record in finished().items())
            return Site(str(folder.resolve()), json.dumps(experiment.model_dump(mode="json")), tuple(modules), steps)

        return DaskWorkers(connect, site, progress)

    return make


def _compute(site: Site, task: Task[Item, Made], item: Item) -> Made:
    """Compute one part, on a worker."""
    return task(_context(site), item)


@cache
def _networks(device: str) -> NetworkCache:
    """Return the networks that this worker keeps from part to part."""
    return NetworkCache(device)


_opened: dict[Site, StageContext] = {}


def _context(site: Site) -> StageContext:
    """Open a run for reading, on a worker; the last one stays open."""
    if site not in _opened:
        from braindiffuser.experiment import Experiment
        from braindiffuser.run import reading_context

        import_modules(site.modules)
        _wait_for(site)
        experiment = Experiment.model_validate(json.loads(site.experiment))
        device = _own_device(experiment.device)
        _opened.clear()
        _opened[site] = reading_context(experiment, Path(site.folder), _networks(device))
    return _opened[site]


def _own_device(device: str) -> str:
    """Return the GPU of this worker, where the machine has several: workers take turns."""
    if device != "cuda":
        return device
    import torch

    n, name = torch.cuda.device_count(), str(get_worker().name)
    number = int(name.rpartition("-")[2]) if name.rpartition("-")[2].isdigit() else 0
    return f"cuda:{number % n}" if n > 1 else device


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
