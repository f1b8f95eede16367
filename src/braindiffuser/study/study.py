"""A study: finished runs of several subjects, their common scores, and a page on all of them.

runs/study/
  scores.json               means over subjects, with intervals over pictures and, apart, over subjects; prevalence
  per_image.csv             scores of every picture, with its subject
  index.html                the page
  tables/, figures/         of the page, as CSV, Markdown and LaTeX, SVG and PNG
  subject-average/          features averaged over subjects, pictures drawn from them, and their scores
  permutations/             scores under permutations, of each subject
  steps/                    what each was made of
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser import __version__
from braindiffuser.errors import RunError
from braindiffuser.files import alone_in
from braindiffuser.images import load_png
from braindiffuser.plain_data import hash_json
from braindiffuser.progress import Progress, silent
from braindiffuser.run_folder import check_outside_recording, join_names
from braindiffuser.stages.evaluate import ablation_labels
from braindiffuser.study.join import Joined, check_alike
from braindiffuser.study.members import Member, check_unchanged, open_members
from braindiffuser.study.permutations import permute_members
from braindiffuser.study.steps import KIND, Steps, check_study_folder
from braindiffuser.study.subject_average import FOLDER, LABEL, SubjectAverage, average_subjects

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.study_summary import Permuted
    from braindiffuser.report.score_sections import ScoredSet
    from braindiffuser.report.sections import Section
    from braindiffuser.report.strips import ReadPictures
    from braindiffuser.store.draft import Draft

__all__ = ["run_study"]

SCORES, PER_IMAGE, PAGE = "scores.json", "per_image.csv", "index.html"
PAGE_STEP = "page"
"""Step that writes all of these."""


def run_study(
    runs: Sequence[Path | str],
    folder: Path | str,
    *,
    average: bool = True,
    n_permutations: int = 1000,
    device: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Put finished runs of the same test pictures together, and write their common scores and page.

    Nothing is written to the runs. What the study computed before is read, so that the same command goes on after a kill.

    Args:
        runs: folders, two or more, each of another subject.
        folder: for the study; made if it does not exist.
        average: whether features are averaged over subjects, drawn and scored.
        n_permutations: of the test pictures of each subject, for prevalence; 0: none.
        device: where networks compute; None: where the first run's did.
        overwrite: recompute what was made of other runs; else it raises.
        progress: called as progress(label, done, total).

    Returns:
        Content of `scores.json`: what `metrics.study_summary.join_subjects` returns for the test set, and `test_sets` with the
        same of each further one that all have; `subjects` with name, run, page, uid and numbers of each; `subject_average`
        with the `spread` of averaged features, None if they were not averaged; `remarks`, `missing`, `shared_pictures`.

    Raises:
        RunError: a run is not finished or damaged, runs do not belong together, or the folder holds something else.
    """
    folder = Path(folder)
    check_study_folder(folder, [Path(run) for run in runs])
    members = open_members(runs)
    for member in members:
        check_outside_recording(folder, member.experiment, str(folder))
    joined = check_alike(members)
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        steps = Steps(folder, overwrite, partial(check_unchanged, members))
        steps.store.update_manifest(kind=KIND, runs={member.name: member.uid for member in members})
        averaged = None
        if average:
            averaged = average_subjects(
                members, joined.test_sets, folder / FOLDER, device=device, overwrite=overwrite, progress=progress
            )
        permuted = []
        if n_permutations:
            permuted = permute_members(members, steps, n_permutations=n_permutations, device=device, progress=progress)
        joint = join_members(members, joined, averaged, permuted, folder)
        _write(steps, joint, members, averaged, n_permutations)
        _name_others(steps, members, progress)
    return joint


def join_members(
    members: Sequence[Member],
    joined: Joined,
    averaged: SubjectAverage | None = None,
    permuted: Sequence[Mapping[str, Permuted]] = (),
    folder: Path | None = None,
    *,
    shared: bool = True,
) -> dict[str, Any]:
    """Return the content of a study's `scores.json`, from what runs stored.

    Args:
        members: that `join.check_alike` accepts.
        joined: what it returned.
        averaged: pictures of averaged features; None: not drawn.
        permuted: of each member, metric → permutations; none: prevalence is not tested.
        folder: of the page, from which links lead to those of the members; None: there are no links.
        shared: whether all saw the same pictures, in the same order.
    """
    from braindiffuser.metrics.study_summary import join_subjects

    def joint_of(name: str) -> dict[str, Any]:
        return join_subjects(
            [member.scores_of(name) for member in members],
            shared=shared,
            average=averaged.scores[name] if averaged else None,
            permuted=permuted if name == "test" else (),
        )

    whole, *further = joined.test_sets
    headings = members[0].results.read_json("subject.json").get("notes", {})
    missing = dict.fromkeys(name for member in members for name in member.scores["missing"])
    missing |= dict.fromkeys(averaged.missing if averaged else ())
    return {
        **joint_of(whole),
        "test_sets": {name: {**joint_of(name), "heading": headings.get(name)} for name in further},
        "shared_pictures": shared,
        "subjects": [facts_of(member, folder) for member in members],
        "subject_average": {"spread": dict(averaged.spread)} if averaged else None,
        "remarks": list(joined.remarks),
        "missing": list(missing),
    }


def facts_of(member: Member, folder: Path | None = None) -> dict[str, Any]:
    """Return what `scores.json` says of a member; `page` is relative to a folder, "" if no link can lead there."""
    results = member.results
    return {
        "name": member.name,
        "subject": member.subject,
        "run": member.path.as_posix(),
        "page": "" if folder is None else _link(member.path / "report" / PAGE, folder),
        "uid": str(results.read_json("manifest.json")["uid"]),
        "seed": member.experiment.seed,
        "n_images": int(member.scores["n_images"]),
        "n_train": int(results.open_array("stimuli/train_ids").shape[0]),
        "n_voxels": int(results.read_json("voxels.json")["n_chosen"]),
        "split": member.experiment.split.kind,
    }


def _link(page: Path, folder: Path) -> str:
    """Return where a page is from a folder, "" if it is not there or a page cannot link to such a name."""
    from pydantic import ValidationError

    from braindiffuser.report.sections import Links

    if not page.is_file():
        return ""
    try:
        path = Path(os.path.relpath(os.path.realpath(page), os.path.realpath(folder))).as_posix()
        return Links(links={"page": path}).links["page"]
    except (ValidationError, ValueError):  # on Windows another drive
        return ""


def _name_others(steps: Steps, members: Sequence[Member], progress: Progress) -> None:
    own = {PAGE_STEP, *(f"permutations.subject-{number}" for number in range(len(members)))}
    others = steps.others(own)
    if others:
        progress(f"{steps.store.folder} also holds {join_names(others)}, kept from an earlier command", 1, 1)


# The page


def _write(
    steps: Steps,
    joint: Mapping[str, Any],
    members: Sequence[Member],
    averaged: SubjectAverage | None,
    n_permutations: int,
) -> None:
    """Write scores, tables, figures and the page, unless they are there as they would be written."""
    inputs = {
        "runs": {member.name: member.uid for member in members},
        "average": averaged is not None,
        "n_permutations": n_permutations,
        "content": hash_json([joint, [member.warnings for member in members], __version__]),
    }
    renewed = ("average", "n_permutations", "content")
    steps.finish(PAGE_STEP, inputs, partial(_write_files, joint, members, averaged), renewed)


def _write_files(
    joint: Mapping[str, Any], members: Sequence[Member], averaged: SubjectAverage | None, draft: Draft
) -> None:
    from braindiffuser.report.page import render_page
    from braindiffuser.report.written_tables import written_files

    sections = page_sections(joint, members, averaged)
    draft.write_json(SCORES, dict(joint))
    draft.write_table(PER_IMAGE, per_image(members, averaged))
    try:
        files = written_files(sections)
    except ValueError as error:
        raise RunError(f"a figure of the study cannot be written: {error}") from error
    for name, content in files.items():
        draft.write_bytes(name, content)
    draft.write_text(PAGE, render_page(header_of(members), sections, reader(members, averaged)))


def page_sections(
    joint: Mapping[str, Any], members: Sequence[Member], averaged: SubjectAverage | None = None
) -> list[Section]:
    """Return the sections of a study's page, in order; what the members' own pages say first stands first."""
    from braindiffuser.report.recording_section import joint_recording_section
    from braindiffuser.report.study_sections import study_sections

    experiment = members[0].experiment
    first = joint_recording_section([member.warnings for member in members], [member.name for member in members])
    labels = {name: label for member in reversed(members) for name, label in ablation_labels(member.experiment).items()}
    headlines = experiment.evaluation.all_metrics().headlines
    scored = _scored(joint, members, averaged) if joint["shared_pictures"] else None
    sections = study_sections(joint, scored, labels, headlines)
    return [first, *sections] if first else sections


def header_of(members: Sequence[Member]) -> Any:
    """Return what stands above a page on several subjects."""
    from braindiffuser.report.page import Header

    names = list(dict.fromkeys(member.experiment.name for member in members))
    return Header(
        experiment=f"{names[0] if len(names) == 1 else 'Study'}, {len(members)} subjects",
        subject="",
        simulated=all(member.simulated for member in members),
        version=__version__,
        n_subjects=len(members),
    )


def _scored(joint: Mapping[str, Any], members: Sequence[Member], averaged: SubjectAverage | None) -> ScoredSet:
    """Return test pictures with their mean scores over subjects, and the kinds of pictures that stand side by side."""
    import pandas as pd

    from braindiffuser.report.score_sections import ScoredSet

    rows = members[0].test_sets["test"]
    scores = [member.per_picture("test") for member in members]
    means = {key: np.mean([own[key] for own in scores], axis=0) for key in joint["metrics"]}
    facts = {"number": np.arange(rows.stop - rows.start), "stimulus_id": members[0].test_ids[rows]}
    kinds = {"seen": "Seen", **{f"member-{number}": member.name for number, member in enumerate(members)}}
    return ScoredSet(
        name="test",
        scores=joint,
        per_image=pd.DataFrame(facts | means),
        kinds=kinds | ({"average": LABEL} if averaged else {}),
        ablations={},
        scores_of="mean over subjects",
        notes=members[0].experiment.evaluation.all_metrics().notes,
    )


def reader(members: Sequence[Member], averaged: SubjectAverage | None = None) -> ReadPictures:
    """Return what reads pictures of the page by their number in the test set: kinds are seen, member-0, member-1 …, average."""
    first = [member.test_sets["test"].start for member in members]

    def read(kind: str, numbers: Sequence[int]) -> Any:
        if kind == "average" and averaged is not None:
            start = averaged.test_sets["test"].start
            return load_png([averaged.results.picture_path("final", start + number) for number in numbers])
        place = 0 if kind == "seen" else int(kind.removeprefix("member-"))
        of_run = "seen" if kind == "seen" else "final"
        results = members[place].results
        return load_png([results.picture_path(of_run, first[place] + number) for number in numbers])

    return read


def per_image(members: Sequence[Member], averaged: SubjectAverage | None = None) -> pd.DataFrame:
    """Return the scores of all pictures of all members, with columns `subject` and `run`; `Sub Avg` stands last."""
    import pandas as pd

    tables = [member.per_image.assign(run=member.path.as_posix(), subject=member.name) for member in members]
    if averaged is not None:
        tables.append(averaged.results.read_table(PER_IMAGE).assign(run=FOLDER, subject=LABEL))
    table = pd.concat(tables, ignore_index=True)
    first = ["subject", "run"]
    return table[[*first, *(column for column in table if column not in first)]]


def scores_markdown(joint: Mapping[str, Any]) -> str:
    """Return the main table of a study in Markdown, for the command line; of intervals over pictures only that of the mean."""
    from braindiffuser.report.sections import Cell, Row
    from braindiffuser.report.study_sections import subjects_table
    from braindiffuser.report.written_tables import table_markdown

    table = subjects_table(joint)
    rows = [
        Row(
            label=row.label,
            cells=tuple(
                cell if column == table.main else Cell(value=cell.value)
                for column, cell in zip(table.columns, row.cells, strict=True)
            ),
        )
        for row in table.rows
    ]
    return table_markdown(table.model_copy(update={"rows": tuple(rows), "caption": ""}))
