"""What a reproduction writes and prints: numbers, the page on all runs, tables and figures as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from braindiffuser import __version__
from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.planned_runs.before_runs import PAGE
from braindiffuser.planned_runs.planned import PlannedRun
from braindiffuser.run import Run
from braindiffuser.run_folder import join_names
from braindiffuser.stages.evaluate import ablation_labels, gallery_kinds

if TYPE_CHECKING:
    from braindiffuser.report.finding_sections import RankedPictures
    from braindiffuser.report.sections import PictureGroup
    from braindiffuser.report.strips import ReadPictures
    from braindiffuser.store.draft import Draft
    from braindiffuser.store.results import Results

FINDINGS = "findings.json"
N_EACH = 2
"""Best, median and worst pictures of each subject."""


def write_findings(found: Mapping[str, Any], done: Sequence[tuple[PlannedRun, Run]], draft: Draft) -> None:
    """Write the numbers, the page on all runs, and its tables and figures as files.

    Args:
        found: what `findings` returns, and "experiment" and "studies".
        done: the finished runs, in their order.
        draft: of the reproduction's folder.

    Raises:
        RunError: a figure cannot be written.
    """
    from braindiffuser.report.finding_sections import finding_sections
    from braindiffuser.report.page import Header, render_page
    from braindiffuser.report.written_tables import written_files

    first = [(planned, run) for planned, run in done if planned.setting.averaged_as == found["splits"][0]]
    shown = {planned.subject: (planned, run) for planned, run in reversed(first)}
    shown = {subject: shown[subject] for subject in found["subjects"] if subject in shown}
    galleries = {
        subject: _gallery(run, prefix)
        for prefix, (subject, (_, run)) in zip(_prefixes(shown), shown.items(), strict=True)
    }
    regions = {
        subject: _region_groups(found, subject, run, prefix)
        for prefix, (subject, (_, run)) in zip(_prefixes(shown), shown.items(), strict=True)
    }
    sections = finding_sections(found, galleries, regions)
    header = Header(
        experiment=f"{found['experiment']}: the paper again",
        subject=join_names(list(found["subjects"])),
        simulated=all(run["simulated"] for run in found["runs"]),
        version=__version__,
        n_subjects=len(found["subjects"]),
    )
    readers = dict(zip(_prefixes(shown), (run.results for _, run in shown.values()), strict=True))
    draft.write_json(FINDINGS, dict(found))
    try:
        files = written_files(sections)
    except ValueError as error:
        raise RunError(f"a figure of the findings cannot be written: {error}") from error
    for name, content in files.items():
        draft.write_bytes(name, content)
    draft.write_text(PAGE, render_page(header, sections, _reader(readers)))


def _prefixes(shown: Mapping[str, Any]) -> list[str]:
    """Return what begins the kinds of each subject's pictures on the page."""
    return [f"run{number}." for number in range(len(shown))]


def _gallery(run: Run, prefix: str) -> RankedPictures:
    from braindiffuser.report.finding_sections import RankedPictures
    from braindiffuser.report.score_sections import ScoredSet, gallery_of, order_of

    experiment, results = run.experiment, run.results
    table = results.read_table("per_image.csv")
    kinds = {f"{prefix}{kind}": label for kind, label in gallery_kinds(experiment).items()}
    scored = ScoredSet(
        name="test",
        scores=results.read_json("scores.json"),
        per_image=table[table["set"] == "test"].reset_index(drop=True),
        kinds=kinds,
        ablations=ablation_labels(experiment),
    )
    return RankedPictures(gallery_of(scored, N_EACH), order_of(scored))


def _region_groups(found: Mapping[str, Any], subject: str, run: Run, prefix: str) -> list[PictureGroup]:
    """Return the pictures of one subject's regions, drawn by the whole method."""
    from braindiffuser.report.finding_sections import region_groups
    from braindiffuser.report.region_section import LENGTHS

    own = next(each["regions"] for each in found["runs"] if each["subject"] == subject)
    groups: list[PictureGroup] = []
    for label, facts in own.items():
        kinds = {
            f"{prefix}{label}_{variant}": variant.replace("_", " ")
            for variant in run.experiment.generator.chain("full")
        }
        note = "" if len(own) == 1 else f"{label}, {LENGTHS[facts['lengths']][1]}"
        groups += region_groups(kinds, facts["regions"], note)
    return groups


def _reader(results: Mapping[str, Results]) -> ReadPictures:
    """Return what reads pictures whose kind begins with the number of their run."""

    def read(kind: str, numbers: Sequence[int]) -> Any:
        prefix, _, own = kind.partition(".")
        return load_png([results[f"{prefix}."].picture_path(own, number) for number in numbers])

    return read


def print_findings(found: Mapping[str, Any], show: Callable[[Any], None]) -> None:
    """Print what was found: what the page says first, scores over subjects, and each claim with its verdict."""
    from rich.markdown import Markdown

    from braindiffuser.report.finding_scores import scores_by_subject
    from braindiffuser.report.finding_sections import recordings_section
    from braindiffuser.report.recording_section import warnings_of
    from braindiffuser.report.written_tables import table_markdown

    first = recordings_section(found)
    for sentence in [*warnings_of([first] if first else []), *found["unexpected"]]:
        show(sentence)
    show(Markdown(table_markdown(scores_by_subject(found["scores"]))))
    for claim in [*found["ablations"]["claims"], *found["weights"].get("claims", ())]:
        show(claim["sentence"])
