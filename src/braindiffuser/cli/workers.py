"""Workers that commands start."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindiffuser.progress import Progress
    from braindiffuser.run import MakeWorkers


def started_workers(
    n_workers: int | None, cluster: Path | None, modules: Sequence[str], progress: Progress, stack: ExitStack
) -> MakeWorkers | None:
    """Start the workers that were asked for, which end with the stack; Dask is imported only then.

    Args:
        n_workers: value of `--workers`.
        cluster: value of `--cluster`.
        modules: that the user named with `--with`.
        progress: says what happens to workers.
        stack: of the command.

    Returns:
        What makes the workers of a run; None if none were asked for.

    Raises:
        DependencyError, RunError: as `braindiffuser.clusters.open_cluster`.
    """
    if n_workers is None and cluster is None:
        return None
    from braindiffuser.clusters import open_cluster

    connect = stack.enter_context(open_cluster(n_workers, cluster, progress))
    from braindiffuser.dask_workers import DaskCluster

    return DaskCluster(connect, modules, progress)
