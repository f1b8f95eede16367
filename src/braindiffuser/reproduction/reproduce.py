"""The paper in one command: runs of all subjects and splits, what is found in them, one page, and a report's tables and figures.

runs/paper/
  subj01/recording/        a simulated subject; recordings on disk are read where they are
  subj01/shared-features/  features of all pictures of the subject, computed once for several splits
  subj01/layout/           a run for each split
  studies/layout/          the subjects of a split as a study, where they saw the same test pictures
  findings.json            what is found, in numbers
  index.html               the page
  tables/, figures/        each table as CSV, Markdown and LaTeX, each figure as SVG and PNG
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from braindiffuser import __version__
from braindiffuser.experiment import Experiment
from braindiffuser.files import alone_in
from braindiffuser.plain_data import hash_json
from braindiffuser.planned_runs.before_runs import PAGE, Purpose
from braindiffuser.planned_runs.joining import join_settings, mixed_settings
from braindiffuser.planned_runs.making import check_records, make_runs
from braindiffuser.progress import Progress, silent
from braindiffuser.reproduction.found import findings
from braindiffuser.reproduction.page import FINDINGS, write_findings
from braindiffuser.reproduction.plan import plan
from braindiffuser.reproduction.run_facts import run_facts
from braindiffuser.run import MakeWorkers
from braindiffuser.study.steps import Steps

REPRODUCTION = Purpose(kind="reproduction", step="findings", result=FINDINGS)


def reproduce(
    experiments: Sequence[Experiment],
    folder: Path | str,
    subjects: Sequence[str] = (),
    splits: Sequence[str] = (),
    n_ablated: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    workers: MakeWorkers | None = None,
) -> dict[str, Any]:
    """Make every run that is not finished, and write what is found.

    Args:
        experiments: one whose subject is changed, or one for each subject.
        folder: for all runs; made if it does not exist.
        subjects: as `plan` takes them.
        splits: likewise; the first is the replication.
        n_ablated: test pictures that are drawn without a part of the method; None: as the experiment says.
        overwrite: recompute what was made with other settings or inputs; else it raises.
        progress: called as progress(label, done, total).
        workers: other processes, as `make_runs` uses them; None: this process computes alone.

    Returns:
        Content of `findings.json`: what `findings` returns.

    Raises:
        RunError: settings do not fit, two subjects have the same betas or other metrics, the folder holds something else; what a
            run or a study raises. What can be known of all runs is said before the first.
    """
    folder = Path(folder)
    planned = plan(experiments, subjects, splits, n_ablated)
    made = make_runs(planned, folder, REPRODUCTION, overwrite, progress, workers)
    mixed = mixed_settings(planned, folder)
    found = findings(
        [run_facts(each.planned, each.run, f"{each.planned.folder}/report/{PAGE}", each.records) for each in made]
    )
    found["unexpected"] = [*mixed, *found["unexpected"]]
    found["experiment"] = experiments[0].name
    found["studies"], failed = join_settings(planned, folder, progress)
    with alone_in(folder):
        steps = Steps(folder, overwrite, partial(check_records, made))
        inputs = {
            "runs": {run["page"]: run["uid"] for run in found["runs"]},
            "content": hash_json([found, __version__]),
        }
        done = [(each.planned, each.run) for each in made]
        steps.finish(REPRODUCTION.step, inputs, partial(write_findings, found, done), ("runs", "content"))
    if failed is not None:
        raise failed
    return found
