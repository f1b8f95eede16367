"""Sections that stages and analyses left → one page; its gallery and its table also as files of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from braindiffuser.arrays import Pictures
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.images import load_png
from braindiffuser.machine import versions
from braindiffuser.report.gallery import render_gallery
from braindiffuser.report.page import Header, Report, render_page
from braindiffuser.report.run_section import run_section
from braindiffuser.report.sections import Gallery, Section
from braindiffuser.report.tables import scores_markdown
from braindiffuser.stages import Stage, StageContext, Step, all_steps, stages
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results


def build_report(context: StageContext) -> Report:
    """Put the sections of all finished steps together, in the order of stages, and what was run at the end.

    Raises:
        RunError: if not even the list of stimuli is finished.
    """
    finished = context.finished()
    if "prepare.stimuli" not in finished:
        raise RunError(f"nothing of this run is finished: braindiffuser prepare --out {context.results.folder}")
    subject = context.results.read_json("subject.json")
    manifest = {
        **context.manifest(),
        "uid": context.experiment.uid,
        "seed": context.experiment.seed,
        "experiment": context.experiment.model_dump(mode="json"),
        "versions": versions(),
    }
    header = Header(
        experiment=context.experiment.name,
        subject=given_name(str(subject["subject"])),
        simulated=bool(subject["simulated"]),
        version=str(manifest["versions"]["braindiffuser"]),
    )
    missing = [
        str(step) for step in all_steps(context.experiment) if str(step) not in finished and step.stage != "report"
    ]
    page = render_page(header, [*sections(context), run_section(manifest, finished, missing)], _reader(context))
    return Report(page)


def sections(context: StageContext) -> list[Section]:
    """Read the sections of the finished steps, in the order of stages; those of one step by the number in their name."""
    return read_sections(context.results, context.finished())


def read_sections(results: Results, records: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """Read the sections that steps left, in the order of their records; those of one step by the number in their name."""
    names = [name for record in records.values() for name in sorted(record["files"]) if name.startswith("sections/")]
    return [_read_section(results.path(name)) for name in names]


def _read_section(path: Path) -> Section:
    try:
        return Section.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise RunError(f"{path} is no section of a page: {error.errors()[0]['msg']}") from error


def _reader(context: StageContext) -> Any:
    def read(kind: str, numbers: Sequence[int]) -> Pictures:
        return load_png([context.results.picture_path(kind, number) for number in numbers])

    return read


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    draft = drafts[""]
    blocks = [block for section in sections(context) for block in section.blocks]
    gallery = next((block for block in blocks if isinstance(block, Gallery)), None)
    if gallery is not None:
        draft.write_image("report/gallery.png", render_gallery(gallery, _reader(context)))
    draft.write_text("report/scores.md", scores_markdown(context.results.read_json("scores.json")) + "\n")
    draft.write_text("report/index.html", build_report(context).html)
    yield ""


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    return tuple(step for name, stage in stages().items() if name != "report" for step in stage.steps(experiment))


STAGE = Stage(
    name="report",
    does="write the page from stored numbers and pictures",
    reads="sections, scores, pictures",
    writes=("report/index.html", "report/gallery.png", "report/scores.md"),
    needs=("prepare", "evaluate", "analyse"),
    needs_of=_needs_of,
    influences=lambda experiment, unit: {"name": experiment.name},
    compute=_compute,
    on_device=False,
)
