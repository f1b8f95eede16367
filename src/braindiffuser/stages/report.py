"""Sections that stages and analyses left → one page; its gallery and its table also as files of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from braindiffuser.arrays import Pictures
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.files import as_states
from braindiffuser.images import load_png
from braindiffuser.machine import versions
from braindiffuser.report.gallery import render_gallery
from braindiffuser.report.numbers import join
from braindiffuser.report.page import Header, Report, render_page
from braindiffuser.report.provenance_section import Input, Provenance, content_hash, provenance_section
from braindiffuser.report.run_section import run_section
from braindiffuser.report.sections import Gallery, Headlines, Section
from braindiffuser.report.tables import scores_markdown
from braindiffuser.report.verdict.conclusion import Evidence
from braindiffuser.report.verdict.conclusions import conclusions
from braindiffuser.report.verdict.of_split import doubt_of
from braindiffuser.report.verdict_section import verdict_section
from braindiffuser.stages import Stage, StageContext, Step, all_steps, stages
from braindiffuser.stages.reconstruct import STAGE as RECONSTRUCT
from braindiffuser.stages.reconstruct import inputs_of, kind_name
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results


def build_report(context: StageContext) -> Report:
    """Put the sections of all finished steps together, in the order of stages, and what was run at the end.

    Raises:
        RunError: if not even the list of stimuli is finished.
    """
    finished = context.finished()
    if "prepare.stimuli" not in finished:
        raise RunError(f"nothing of this run is finished: {command_line('prepare', '--out', context.results.folder)}")
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
    last = [*_provenance(context), run_section(manifest, finished, missing, _n_test(context))]
    page = render_page(header, [*_with_verdict(context, sections(context)), *last], _reader(context))
    return Report(page)


def _with_verdict(context: StageContext, own: Sequence[Section]) -> list[Section]:
    """Put the verdict before the sections, once pictures are scored; the headline numbers move into it."""
    if "evaluate" not in context.finished():
        return list(own)
    blocks = [block for section in own for block in section.blocks]
    headlines = next((block for block in blocks if isinstance(block, Headlines)), None)
    gallery = next((block for block in blocks if isinstance(block, Gallery)), None)
    rest = [_without(section, headlines) for section in own]
    verdict = verdict_section(conclusions(evidence(context)), headlines, gallery)
    of_set = next((section.test_set for section in own if headlines in section.blocks), "")
    return [verdict.model_copy(update={"test_set": of_set}), *rest]


def evidence(context: StageContext) -> Evidence:
    """Read what the verdict on a run is drawn from.

    Raises:
        RunError: if its pictures are not scored yet.
    """
    results, experiment, finished = context.results, context.experiment, context.finished()
    if "evaluate" not in finished:
        raise RunError(
            f"the pictures of this run are not scored yet: {command_line('evaluate', '--out', results.folder)}"
        )
    audits = [
        {**results.read_json(f"analyses/{analysis.label}.json")["sets"]["test"], "label": analysis.label}
        for analysis in experiment.analyses
        if analysis.kind == "split_audit" and f"analyse.{analysis.label}" in finished
    ]
    return Evidence(
        scores=results.read_json("scores.json"),
        audit=max(audits, key=doubt_of, default=None),  # the first of those that find the most
        noise_ceiling=results.read_json("noise_ceiling.json")["rois"].get("analysed voxels", {}).get("median"),
        notes=experiment.evaluation.all_metrics().notes,
        transductive=transductive_entries(context),
        is_simulated=bool(results.read_json("subject.json")["simulated"]),
    )


def _without(section: Section, moved: Headlines | None) -> Section:
    return section.model_copy(update={"blocks": tuple(block for block in section.blocks if block is not moved)})


def transductive_entries(context: StageContext) -> list[str]:
    """Return the entries of an experiment by which statistics of the test responses enter what is decoded, by their places."""
    from braindiffuser.datasets.trial_normalisation import normalisation_doubts

    experiment, responses = context.experiment, context.experiment.responses
    by_all = responses.normalisation == "session-all-trials"
    found = {
        "regression.calibration": getattr(experiment.regression, "calibration", None) == "transductive",
        "responses.normalisation": by_all  # only of sessions without training trials
        and bool(normalisation_doubts(context.results.read_table("trials.csv"), responses.normalisation)),
        "responses.voxel_choice": responses.voxel_choice == "transductive" and responses.min_noise_ceiling > 0,
    }
    return [place for place, does in found.items() if does]


def _n_test(context: StageContext) -> int:
    """Return the number of test pictures, of all test sets."""
    return int(context.results.open_array("stimuli/test_ids").shape[0])


def _provenance(context: StageContext) -> list[Section]:
    """Make the section on what reconstructions were drawn from, once they are finished."""
    experiment, finished = context.experiment, context.finished()
    kinds = {kind_name(variant, "predictions"): variant for variant in experiment.generator.chain("full")}
    if not all(f"reconstruct.{kind}" in finished for kind in kinds):
        return []
    files = {name: state.sha256 for record in finished.values() for name, state in as_states(record["files"]).items()}
    makers = {name: step for step, record in finished.items() for name in record["files"]}

    def given(to: str, named: Mapping[str, str]) -> list[Input]:
        made_by = {source: _maker(makers, source) for source in named.values()}
        hashes = {source: content_hash(files, source) for source in named.values()}
        return [
            Input(to, name, source, made_by[source], sha) for name, source in named.items() if (sha := hashes[source])
        ]

    drawn: list[Input] = []
    for kind, variant in kinds.items():
        label = experiment.generator.variants[variant].label
        drawn += given(label, inputs_of(experiment, kind))
        networks = RECONSTRUCT.checkpoints(experiment, kind)
        settings = finished[f"reconstruct.{kind}"]["settings"]
        drawn += [Input(label, f"network {name}", "", "", str(settings[name])) for name in networks if name in settings]
    groups = [
        group
        for group in experiment.targets
        if any(group in experiment.generator.groups_of(variant) for variant in kinds.values())
    ]
    rows = "trials" if experiment.responses.rows == "trials" else "train"
    decoded: list[Input] = []
    for group in groups:
        named = {
            "training responses": f"arrays/responses/{rows}",
            "features of the training pictures": f"arrays/targets/{group}",
            "decoder": f"decoders/{group}.safetensors",
            "test responses": "arrays/responses/test",
        }
        decoded += given(f"Decoded {group}", named)
    truth, predicted = (
        {group: sha for group in groups if (sha := content_hash(files, f"arrays/{source}/{group}"))}
        for source in ("truth", "predictions")
    )
    return [provenance_section(Provenance(drawn, decoded, truth, predicted, _remarks(context)))]


def _maker(makers: Mapping[str, str], source: str) -> str:
    """Return the step that made an array, a folder of pictures or a file."""
    return next((step for name, step in makers.items() if name == source or name.startswith(f"{source}/")), "")


def _remarks(context: StageContext) -> list[str]:
    """Say what else of the test set enters a picture, and which parts the test of this package does not cover."""
    experiment, entries, said = context.experiment, transductive_entries(context), []
    if "regression.calibration" in entries:
        said.append(
            "Calibration is transductive: decoded features are rescaled by their own mean and spread over the test set, so each "
            "picture depends on the other test responses, though not on what was seen."
        )
    if "responses.normalisation" in entries:
        said.append(
            "Sessions without training trials are z-scored by all their trials, so test responses enter their normalisation."
        )
    if "responses.voxel_choice" in entries:
        said.append("Voxels were chosen by noise ceilings that the recording brings, in which test trials may be.")
    outside = [f"{name} ({part.kind})" for name, part in experiment.parts.items() if ":" in part.kind and _enters(name)]
    if outside:
        said.append(
            f"{join(outside)} {'are' if len(outside) > 1 else 'is'} not of this package: its test does not cover what such code "
            "reads by itself."
        )
    return said


def _enters(part: str) -> bool:
    """Return whether a part has a say in what a reconstruction looks like."""
    return part.partition(".")[0] in ("dataset", "split", "targets", "regression", "generator")


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
