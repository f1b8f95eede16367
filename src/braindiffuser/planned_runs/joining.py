"""Finished runs under the same setting, put together over subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.planned_runs.before_runs import PAGE, STUDIES
from braindiffuser.planned_runs.planned import PlannedRun
from braindiffuser.progress import Progress
from braindiffuser.run_folder import join_names
from braindiffuser.study.join import check_alike, differences, refuse_one_person_twice, remarks_on
from braindiffuser.study.members import open_member, open_members
from braindiffuser.study.study import run_study


def by_setting(planned: Sequence[PlannedRun]) -> dict[str, list[PlannedRun]]:
    """Return the runs of each setting that several subjects have."""
    found: dict[str, list[PlannedRun]] = {}
    for each in planned:
        found.setdefault(each.setting.name, []).append(each)
    return {name: own for name, own in found.items() if len(own) > 1}


def mixed_settings(planned: Sequence[PlannedRun], folder: Path) -> list[str]:
    """Say what subjects were run with that differs from the first, so that means over subjects mix it.

    Raises:
        RunError: two subjects have the same betas.
    """
    said: dict[str, None] = {}
    for own in by_setting(planned).values():
        first, *others = [open_member(folder / each.folder, each.subject) for each in own]
        refuse_one_person_twice({member.path: member.betas for member in (first, *others)})
        for other in others:
            differing = differences(first, other)
            if differing:
                said[
                    f"{other.name} was run with other settings than {first.name}, and means over subjects mix them: "
                    f"{join_names(differing)}."
                ] = None
        said |= dict.fromkeys(remarks_on([first, *others], same_pictures=False))
    return list(said)


def join_settings(
    planned: Sequence[PlannedRun],
    folder: Path,
    progress: Progress,
    *,
    average: bool = True,
    n_permutations: int = 1000,
) -> tuple[dict[str, Any], BrainDiffuserError | None]:
    """Put the subjects of each setting together, where they saw the same test pictures.

    These studies are no user's own, so one that was made of other subjects is made anew.

    Args:
        planned: the runs, which are finished.
        folder: of all of them.
        progress: called as progress(label, done, total).
        average: whether features are averaged over subjects, drawn and scored.
        n_permutations: of the test pictures of each subject, for prevalence; 0: none.

    Returns:
        Setting → "page", and "average": metric → what averaging features over subjects gains; or "why_not", a sentence. Then the
        first error that stopped a study of runs that belong together, to be raised when all else is written.
    """
    made: dict[str, Any] = {}
    failed: BrainDiffuserError | None = None
    for name, own in by_setting(planned).items():
        runs = [folder / each.folder for each in own]
        try:
            check_alike(open_members(runs))
        except RunError as error:
            made[name] = {"why_not": _within(error, folder)}
            continue

        def report(label: str, done: int, total: int, name: str = name) -> None:
            progress(f"{STUDIES}/{name}: {label}", done, total)

        try:
            joint = run_study(
                runs,
                folder / STUDIES / name,
                average=average,
                n_permutations=n_permutations,
                device=None,
                overwrite=True,
                progress=report,
            )
        except BrainDiffuserError as error:
            failed = failed or error
            made[name] = {"why_not": _within(error, folder)}
            continue
        gained = {
            key: {"label": entry["label"], **entry["subject_average"]}
            for key, entry in joint["metrics"].items()
            if entry.get("subject_average")
        }
        made[name] = {"page": f"{STUDIES}/{name}/{PAGE}", "average": gained}
    return made, failed


def _within(error: BrainDiffuserError, folder: Path) -> str:
    """Return an error's message, with paths below the folder of all runs."""
    return str(error).replace(f"{folder.as_posix()}/", "")
