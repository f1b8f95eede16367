"""Clusters of workers: so many processes of this machine, or what a file says in Dask's own words."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt, ValidationError, model_validator

from braindiffuser.errors import BrainDiffuserError, DependencyError, RunError, reason
from braindiffuser.experiment import list_faults
from braindiffuser.part import Settings
from braindiffuser.plain_data import read_yaml

if TYPE_CHECKING:
    from distributed import Client

    from braindiffuser.progress import Progress

QUEUES: Mapping[str, str] = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster"}
"""Queueing system → class of dask-jobqueue."""
REACHED = 60
"""Seconds in which a scheduler must answer."""


class ClusterFile(Settings):
    """Where workers run: one of three entries."""

    address: str | None = Field(None, description="Address of a scheduler that runs, such as tcp://10.0.0.1:8786.")
    local: dict[str, Any] | None = Field(
        None, description="Arguments of distributed.LocalCluster: workers on this machine, such as memory_limit: 8GiB."
    )
    jobqueue: dict[str, dict[str, Any]] | None = Field(
        None,
        description="The section of the same name of dask-jobqueue's own config: slurm, pbs or sge, with its queue and memory.",
    )
    n_workers: PositiveInt | None = Field(
        None, description="Processes or jobs; null: one for each core of this machine, or one job."
    )

    @model_validator(mode="after")
    def _one(self) -> ClusterFile:
        given = [name for name in ("address", "local", "jobqueue") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of address, local and jobqueue, got {', '.join(given) or 'none'}")
        for name in ("n_workers", "threads_per_worker"):
            number = (self.local or {}).get(name, 1)
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"local.{name} is {number!r}, expected 1 or more")
        if self.jobqueue is not None and (len(self.jobqueue) != 1 or not self.jobqueue.keys() <= QUEUES.keys()):
            raise ValueError(
                f"jobqueue has {', '.join(self.jobqueue) or 'nothing'}, expected one of {', '.join(QUEUES)}"
            )
        return self

    @classmethod
    def load(cls, path: Path) -> ClusterFile:
        """Read a file.

        Raises:
            RunError: it cannot be read, or says something else.
        """
        try:
            content = read_yaml(path.read_bytes())
        except FileNotFoundError as error:
            raise RunError(f"there is no file {path}: give one that says where workers run") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read as YAML: {reason(error)}") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise RunError(f"{path}: {list_faults(error)}") from error


@contextmanager
def open_cluster(n_workers: int | None, file: Path | None, progress: Progress) -> Iterator[Callable[[], Client]]:
    """Start or find a cluster; it ends with the block, unless it was there before.

    Args:
        n_workers: processes of this machine, or jobs of a queue; None: what the file says.
        file: says where workers run, as `ClusterFile` describes; None: on this machine.
        progress: says where the dashboard is, and what happens to workers.

    Yields:
        Returns what is connected to the cluster, and connects again if that was closed.

    Raises:
        DependencyError: Dask is not installed.
        RunError: the file cannot be used, or the cluster cannot be started or reached.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise DependencyError("workers need Dask: pip install 'braindiffuser[cluster]'") from error
    settings = ClusterFile(local={}) if file is None else ClusterFile.load(file)
    if settings.address is not None and (n_workers or settings.n_workers):
        raise RunError(
            f"the scheduler at {settings.address} has workers of its own, so their number cannot be chosen here: leave --workers "
            "and n_workers out, or start more with `dask worker`"
        )
    try:
        cluster = _cluster(settings, n_workers or settings.n_workers)
    except BrainDiffuserError:
        raise
    except Exception as error:  # whatever Dask makes of the arguments in the file
        raise RunError(f"workers cannot be started: {reason(error)}{_cause(error)}") from error

    clients: list[Client] = []
    at_work = True

    def connect() -> Client:
        if settings.address is not None:
            progress(f"connecting to {settings.address}", 1, 1)
        client = _client(cluster, settings.address)
        client.subscribe_topic("all", lambda event: _say(event[1], progress) if at_work else None)
        clients.append(client)
        return client

    try:
        client = connect()
        shown = "dashboard" in client.scheduler_info()["services"]
        dashboard = f"; dashboard: {client.dashboard_link}" if shown else ""
        progress(f"workers: {settings.address or 'started'}{dashboard}", 1, 1)
        yield lambda: clients[-1] if clients[-1].status == "running" else connect()
    finally:
        at_work = False  # workers that end now are not lost
        for client in clients:
            if client.status == "running":
                client.unsubscribe_topic("all")  # else its own end is told to it when it has gone
                client.close()
        if not isinstance(cluster, str):
            cluster.close()


def _client(cluster: Any, address: str | None) -> Client:
    """Connect to a cluster that was started, or to the scheduler at an address.

    Raises:
        RunError: it does not answer, or the address is none.
    """
    from distributed import Client

    try:
        client = Client(cluster, timeout=REACHED)
    except OSError as error:
        where = f" at {address}" if address else " on this machine"
        raise RunError(f"no scheduler of workers answers{where}: {reason(error)}") from error
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{address} cannot be reached: {reason(error)}; give an address such as tcp://10.0.0.1:8786, and for tls:// the "
            "certificates in Dask's configuration (distributed.comm.tls)"
        ) from error
    if address is not None:
        _refuse_unable(client, address)
    return client


def _refuse_unable(client: Client, address: str) -> None:
    """Raise RunError if a worker that runs already cannot import what computes parts, as one of another version cannot."""
    from braindiffuser.dask_workers import is_able

    try:
        client.run(is_able)
    except Exception as error:  # whatever fails on the worker
        client.close()
        raise RunError(
            f"the workers at {address} cannot compute for this command: {reason(error)}; install the same braindiffuser there, "
            "and start them again"
        ) from error


def job_script(settings: ClusterFile) -> str:
    """Return the script that starts one job of a queue, as dask-jobqueue makes it."""
    with _queue(settings) as cluster:
        made: str = cluster.job_script()
    return made


def _cluster(settings: ClusterFile, n_workers: int | None) -> Any:
    """Return the address of a scheduler, or a cluster that was started."""
    if settings.address is not None:
        return settings.address
    if settings.local is not None:
        from distributed import LocalCluster

        usual: dict[str, Any] = {
            "threads_per_worker": 1,
            "dashboard_address": "127.0.0.1:0",  # any port that is free
            "silence_logs": logging.CRITICAL,  # what goes wrong is said by the command
            "preload": ["braindiffuser.dask_workers"],
        }
        given = usual | settings.local | ({} if n_workers is None else {"n_workers": n_workers})
        try:
            return LocalCluster(**given)
        except RuntimeError:  # a process was killed while it started, as where memory is short
            return LocalCluster(**given)
    from distributed import Status

    queue = _queue(settings)
    try:
        for _ in range(n_workers or 1):  # as `scale` does, which does not wait
            queue.worker_spec.update(queue.new_worker_spec())
        queue.sync(_submitted, queue)
    except BaseException as error:
        for job in queue.workers.values():
            if job.status is Status.created:  # it never was in the queue; Dask would wait for its end
                job.status = Status.failed
        queue.close()
        if isinstance(error, FileNotFoundError):
            raise RunError(
                f"{error.filename} is not on this machine: start this command where jobs are submitted from"
            ) from error
        if isinstance(error, RuntimeError):  # of dask-jobqueue; what the queue said comes last
            said = str(error).strip().rpartition("\n")[2].strip(" .")
            raise RunError(
                f"the queue took no job: {said}; see queue, account, memory and walltime in the file"
            ) from error
        raise
    return queue


async def _submitted(queue: Any) -> None:
    """Wait until all jobs are in the queue.

    Raises:
        what the queue's command for submitting raises.
    """
    await queue


def _cause(error: BaseException) -> str:
    """Return what led to an error that only says that something failed."""
    cause = error.__cause__
    return "" if cause is None else f": {reason(cause)}{_cause(cause)}"


def _queue(settings: ClusterFile) -> Any:
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise DependencyError("jobs of a queue need dask-jobqueue: pip install 'braindiffuser[cluster]'") from error
    if on_ctrl_c is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, on_ctrl_c)  # dask-jobqueue sets its own, which ends with status 0
    ((name, own),) = (settings.jobqueue or {}).items()
    import dask

    for entry in ("cores", "memory"):
        if own.get(entry) is None and dask.config.get(f"jobqueue.{name}.{entry}", None) is None:
            raise RunError(f"jobqueue.{name} has no {entry}: say what each job gets")
    usual = {"scheduler_options": {"dashboard_address": ":0"}}
    given = {entry.replace("-", "_"): value for entry, value in own.items()}
    return getattr(dask_jobqueue, QUEUES[name])(**(usual | given))


def _say(event: Mapping[str, Any], progress: Progress) -> None:
    """Say in one line that a worker was lost."""
    if event.get("action") == "remove-worker" and not event.get("expected"):
        progress(f"the worker {event.get('worker', '')} was lost: what it had to do is computed again", 1, 1)
