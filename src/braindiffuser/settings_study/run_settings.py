"""A study of settings: the runs of all subjects under each setting, the settings compared, and a page.

runs/settings/
  subj01/NAME/             a run for each setting; what settings have in common is computed once
  studies/NAME/            the subjects under one setting as a study, where they saw the same test pictures
  comparison.json          scores of each setting, and differences with intervals and p
  index.html               the page
  tables/, figures/        each table as CSV, Markdown and LaTeX, each figure as SVG and PNG
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindiffuser import __version__
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import alone_in
from braindiffuser.images import load_png
from braindiffuser.metrics.paired_comparison import PictureScores
from braindiffuser.metrics.scored_pictures import left_out_of
from braindiffuser.metrics.setting_comparison import compare_all_settings
from braindiffuser.metrics.study_summary import join_subjects
from braindiffuser.plain_data import hash_json
from braindiffuser.planned_runs.before_runs import PAGE, Purpose
from braindiffuser.planned_runs.joining import join_settings, mixed_settings
from braindiffuser.planned_runs.making import MadeRun, check_records, make_runs
from braindiffuser.progress import Progress, silent
from braindiffuser.run import MakeWorkers
from braindiffuser.run_folder import join_names
from braindiffuser.settings_study.study_file import StudyFile
from braindiffuser.several_tests import holm
from braindiffuser.step_states import entry_text, flatten
from braindiffuser.study.join import other_pictures
from braindiffuser.study.members import Member, open_member
from braindiffuser.study.steps import Steps

if TYPE_CHECKING:
    from braindiffuser.report.strips import ReadPictures
    from braindiffuser.store.draft import Draft

RESULT = "comparison.json"
COMPARISON = Purpose(kind="comparison of settings", step="comparison", result=RESULT)
OF_TEST_RESPONSES = ("transductive", "voxels_by_test_trials")
"""Conclusions that test responses entered what is decoded."""
SEED = 0
"""Of random signs, so that the same scores have the same p."""


def run_settings(
    file: Path | str,
    folder: Path | str,
    *,
    average: bool = True,
    n_permutations: int = 1000,
    device: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    workers: MakeWorkers | None = None,
) -> dict[str, Any]:
    """Make every run that is not finished, compare settings on the same subjects and pictures, and write a page.

    Args:
        file: says what varies, as `StudyFile` describes.
        folder: for all runs; made if it does not exist.
        average: whether features are averaged over subjects under each setting, drawn and scored.
        n_permutations: of the test pictures of each subject, for prevalence under each setting; 0: none.
        device: where networks compute; None: as the experiment says.
        overwrite: recompute what was made with other settings or inputs; else it raises.
        progress: called as progress(label, done, total).
        workers: other processes, as `make_runs` uses them; None: this process computes alone.

    Returns:
        Content of `comparison.json`: what `compared` returns, "studies" as `join_settings` returns them, "remarks" (sentences on
        what differs between subjects), and "doubts" as `doubts_of` returns them.

    Raises:
        RunError: the file cannot be used, the folder holds something else; what a run or a study raises. What can be known of
            all runs is said before the first.
    """
    path, folder = Path(file), Path(folder)
    study = StudyFile.load(path)
    planned = study.plan(path, {"device": device} if device else None)
    made = make_runs(planned, folder, COMPARISON, overwrite, progress, workers)
    remarks = mixed_settings(planned, folder)
    members = members_of(made)
    found = compared(study, members)
    found["remarks"] = remarks
    found["doubts"] = doubts_of(made)
    found["studies"], failed = join_settings(planned, folder, progress, average=average, n_permutations=n_permutations)
    with alone_in(folder):
        steps = Steps(folder, overwrite, partial(check_records, made))
        inputs = {
            "runs": {each.planned.folder: each.planned.experiment.uid for each in made},
            "content": hash_json([found, __version__]),
        }
        steps.finish(COMPARISON.step, inputs, partial(_write, found, members), ("runs", "content"))
    if failed is not None:
        raise failed
    return found


def members_of(made: Sequence[MadeRun]) -> dict[str, list[Member]]:
    """Open finished runs for reading: setting → subject by subject."""
    members: dict[str, list[Member]] = {}
    for each in made:
        setting, subject = each.planned.setting.averaged_as, each.planned.subject
        members.setdefault(setting, []).append(open_member(each.run.results.folder, subject))
    return members


def doubts_of(made: Sequence[MadeRun]) -> list[dict[str, Any]]:
    """Return what the pages of runs say that a reader of all must know, each sentence once.

    These are the conclusions that put a run in doubt, and those that test responses entered what is decoded.

    Returns:
        `name` and `kind` of the conclusion, its `sentence`, and the `runs`, as "setting, subject".
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for each in made:
        for said in each.run.verdict():
            if said.kind == "wrong" or said.name in OF_TEST_RESPONSES:
                runs = found.setdefault((said.kind, said.name, said.sentence), [])
                runs.append(f"{each.planned.setting.averaged_as}, {each.planned.subject}")
    return [
        {"name": name, "kind": kind, "sentence": sentence, "runs": runs}
        for (kind, name, sentence), runs in sorted(found.items(), key=lambda item: item[0][0] != "wrong")
    ]


def compared(study: StudyFile, members: Mapping[str, Sequence[Member]]) -> dict[str, Any]:
    """Return the scores of settings, and their differences.

    Args:
        study: what varies.
        members: setting → finished runs, subject by subject, the same subjects under all.

    Returns:
        What `comparison.json` holds, but for "studies", "remarks" and "doubts":

        - `name`, `against`, `subjects` (names), `simulated`, `profile`, `notes` (of the profile), `missing` (networks whose
          metrics are left out);
        - `shared_pictures`: whether all subjects saw the same; `n_images`: subject → number of its test pictures;
        - `settings`: name → `study` (its key in "studies"), `changes` (dotted entry → value), `entries` (the same of all that any
          setting changes, as its runs have them), `runs` (subject → path of its page, below the folder of all runs), `metrics` as
          in a study's `scores.json`;
        - `comparisons`: name → metric key → `difference` from `against`, `ci95`, `ci95_subjects`, `subjects` (name →
          difference), `p` of the sign-flip test and `p_holm`, adjusted for all of them;
        - `not_compared`: name → why.
    """
    reference = members[study.reference]
    names = [member.name for member in reference]
    shared = {
        setting: all(not other_pictures(own[0], other, "test") for other in own[1:]) for setting, own in members.items()
    }
    joined = {
        setting: join_subjects([member.scores_of("test") for member in own], shared=shared[setting])
        for setting, own in members.items()
    }
    not_compared = {setting: said for setting, own in members.items() if (said := _not_paired(reference, own, setting))}
    scores = {
        setting: [_scores_of(member) for member in own]
        for setting, own in members.items()
        if setting not in not_compared
    }
    found = compare_all_settings(scores, study.reference, SEED, shared=shared[study.reference])
    adjusted = holm({(setting, key): each.p for setting, own in found.items() for key, each in own.items()})
    first = reference[0]
    varied = dict.fromkeys(entry for changes in study.settings.values() for entry in flatten(changes))
    missing = dict.fromkeys(name for own in members.values() for member in own for name in member.scores["missing"])
    return {
        "name": study.name,
        "against": study.reference,
        "subjects": names,
        "simulated": all(member.simulated for member in reference),
        "shared_pictures": shared[study.reference],
        "n_images": {member.name: int(member.scores["n_images"]) for member in reference},
        "profile": joined[study.reference]["profile"],
        "notes": dict(first.experiment.evaluation.all_metrics().notes),
        "settings": {
            setting: {
                "study": own[0].path.name,
                "changes": {entry: entry_text(value) for entry, value in flatten(study.settings[setting]).items()},
                "entries": _entries(own[0].experiment, varied),
                "runs": {member.name: f"{member.path.parent.name}/{member.path.name}/report/{PAGE}" for member in own},
                "metrics": joined[setting]["metrics"],
            }
            for setting, own in members.items()
        },
        "comparisons": {
            setting: {
                key: {
                    "difference": each.value,
                    "ci95": list(each.ci95),
                    "ci95_subjects": None if each.ci95_subjects is None else list(each.ci95_subjects),
                    "subjects": dict(zip(names, each.subjects, strict=True)),
                    "p": each.p,
                    "p_holm": adjusted[setting, key],
                }
                for key, each in own.items()
            }
            for setting, own in found.items()
        },
        "not_compared": not_compared,
        "missing": list(missing),
    }


def _entries(experiment: Experiment, wanted: Iterable[str]) -> dict[str, str]:
    """Return entries of an experiment by dotted names; of one that holds others, as of another kind of part, these."""
    own = flatten(experiment.model_dump(mode="json"))
    found: dict[str, str] = {}
    for name in wanted:
        below = {entry: value for entry, value in own.items() if entry == name or entry.startswith(f"{name}.")}
        found |= {entry: entry_text(value) for entry, value in below.items()}
    return found


def _not_paired(reference: Sequence[Member], own: Sequence[Member], setting: str) -> str:
    """Say why a setting cannot be compared picture by picture; "" if it can."""
    for first, other in zip(reference, own, strict=True):
        said = other_pictures(first, replace(other, name=f"{other.name} under {setting}"), "test")
        if said:
            return said
    return ""


def _scores_of(member: Member) -> dict[str, PictureScores]:
    found = member.per_picture("test")
    return {key: PictureScores(scores, left_out_of(found, key)) for key, scores in found.items()}


# The page


def _write(found: Mapping[str, Any], members: Mapping[str, Sequence[Member]], draft: Draft) -> None:
    from braindiffuser.report.page import Header, render_page
    from braindiffuser.report.setting_sections import lead_of, setting_sections
    from braindiffuser.report.written_tables import written_files

    shown = {setting: own for setting, own in members.items() if setting not in found["not_compared"]}
    tables = {member.name: _table_of(member) for member in members[found["against"]]}
    sections = setting_sections(found, list(shown), tables)
    header = Header(
        experiment=found["name"],
        subject=join_names(list(found["subjects"])),
        simulated=found["simulated"],
        version=__version__,
        n_subjects=len(found["subjects"]),
        title="Settings compared on the same pictures",
        lead=lead_of(found),
    )
    draft.write_json(RESULT, dict(found))
    try:
        files = written_files(sections)
    except ValueError as error:
        raise RunError(f"a figure of the comparison cannot be written: {error}") from error
    for name, content in files.items():
        draft.write_bytes(name, content)
    draft.write_text(PAGE, render_page(header, sections, _reader(shown, found["against"])))


def _table_of(member: Member) -> Any:
    table = member.per_image
    return table[table["set"] == "test"].reset_index(drop=True)


def _reader(members: Mapping[str, Sequence[Member]], against: str) -> ReadPictures:
    """Return read(kind, numbers); kind is "0.seen" or "0.2": place of the subject, then of the setting."""
    settings = list(members)

    def read(kind: str, numbers: Sequence[int]) -> Any:
        subject, _, own = kind.partition(".")
        setting, of_run = (against, "seen") if own == "seen" else (settings[int(own)], "final")
        member = members[setting][int(subject)]
        start = member.test_sets["test"].start
        return load_png([member.results.picture_path(of_run, start + number) for number in numbers])

    return read
