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

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindiffuser import __version__
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import alone_in
from braindiffuser.images import load_png
from braindiffuser.plain_data import hash_json
from braindiffuser.progress import Progress, silent
from braindiffuser.reproduction.found import findings
from braindiffuser.reproduction.planned_runs import PlannedRun, plan
from braindiffuser.run import Run
from braindiffuser.run_folder import check_folder, check_links, join_names
from braindiffuser.stages.evaluate import ablation_labels, gallery_kinds
from braindiffuser.store.results import Store
from braindiffuser.study.join import check_alike
from braindiffuser.study.members import open_members
from braindiffuser.study.steps import Steps
from braindiffuser.study.study import run_study

if TYPE_CHECKING:
    from braindiffuser.report.page import ReadPictures
    from braindiffuser.report.sections import Gallery, PictureGroup
    from braindiffuser.store.draft import Draft
    from braindiffuser.store.results import Results

KIND = "reproduction"
"""Entry of the manifest by which the folder is recognised."""
FINDINGS, PAGE, STEP = "findings.json", "index.html", "findings"
TOPS = (FINDINGS, PAGE, "tables", "figures", "manifest.json", "steps")
"""What is written in the folder, beside the runs and studies."""
RECORDING, SHARED, STUDIES = "recording", "shared-features", "studies"
N_EACH = 2
"""Best, median and worst pictures of each subject."""


def reproduce(
    experiments: Sequence[Experiment],
    folder: Path | str,
    subjects: Sequence[str] = (),
    splits: Sequence[str] = (),
    n_ablated: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
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

    Returns:
        Content of `findings.json`: what `findings` returns.

    Raises:
        RunError: settings do not fit, the folder holds something else; what a run raises.
    """
    folder = Path(folder)
    planned = plan(experiments, subjects, splits, n_ablated)
    check_folder_of_runs(folder)
    _check_names(planned)
    several = len({each.split.name for each in planned}) > 1
    for each in planned:  # before any is run
        check_folder(folder / each.folder, each.experiment)
        check_links(folder / each.folder)
    done: list[tuple[PlannedRun, Run]] = []
    for number, each in enumerate(planned, start=1):
        done.append((each, _run(each, folder, several, overwrite, progress)))
        progress("runs", number, len(planned))
    found = findings([run_facts(each, run.results, f"{each.folder}/report/{PAGE}") for each, run in done])
    found["experiment"] = experiments[0].name
    found["studies"] = _studies(planned, folder, overwrite, progress)
    with alone_in(folder):
        steps = Steps(folder, overwrite)
        steps.store.update_manifest(kind=KIND)
        inputs = {
            "runs": {run["page"]: run["uid"] for run in found["runs"]},
            "content": hash_json([found, __version__]),
        }
        steps.finish(STEP, inputs, partial(_write, found, done), ("runs", "content"))
    return found


def check_folder_of_runs(folder: Path) -> None:
    """Check that the runs of a reproduction may be kept in a folder.

    Raises:
        RunError: it is a file, a run's or a study's own folder, holds files of the names that are written but no reproduction, or
            a link in their place.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for all runs")
    store = Store(folder)
    kind = store.manifest.get("kind", "run") if store.manifest else None
    if kind == KIND or store.record(STEP):
        links = [name for name in TOPS if (folder / name).is_symlink()]
        if links:
            raise RunError(f"{folder / links[0]} is a link, and only this folder is written to: remove the link")
        return
    if kind is not None:
        raise RunError(f"{folder} holds a {kind}: name another folder for all runs")
    foreign = sorted(name for name in TOPS if (folder / name).exists() or (folder / name).is_symlink())
    if foreign:
        raise RunError(
            f"{folder} holds {join_names(foreign)}, but no reproduction: name another folder, or move {folder / foreign[0]} away"
        )


def _studies(planned: Sequence[PlannedRun], folder: Path, overwrite: bool, progress: Progress) -> dict[str, Any]:
    """Put the subjects of each split together, where they saw the same test pictures.

    Returns:
        Split → "page", and "average": metric → what averaging features over subjects gains; or "why_not", a sentence.
    """
    made: dict[str, Any] = {}
    by_split: dict[str, list[PlannedRun]] = {}
    for each in planned:
        by_split.setdefault(each.split.name, []).append(each)
    for split, own in by_split.items():
        if len(own) < 2:
            continue
        runs = [folder / each.folder for each in own]
        try:
            check_alike(open_members(runs))
        except RunError as error:
            made[split] = {"why_not": str(error).replace(f"{folder.as_posix()}/", "")}
            continue

        def tell(label: str, done: int, total: int, split: str = split) -> None:
            progress(f"{STUDIES}/{split}: {label}", done, total)

        joint = run_study(runs, folder / STUDIES / split, device=None, overwrite=overwrite, progress=tell)
        average = {
            key: {"label": entry["label"], **entry["subject_average"]}
            for key, entry in joint["metrics"].items()
            if entry.get("subject_average")
        }
        made[split] = {"page": f"{STUDIES}/{split}/{PAGE}", "average": average}
    return made


def _check_names(planned: Sequence[PlannedRun]) -> None:
    """Refuse subjects and splits whose folders would be those of something else."""
    for each in planned:
        for name, taken in ((each.subject, (*TOPS, STUDIES)), (each.split.name, (RECORDING, SHARED))):
            if name in taken:
                raise RunError(f"{name} is the name of a folder or file that is written beside the runs: rename it")


def _run(planned: PlannedRun, folder: Path, shares: bool, overwrite: bool, progress: Progress) -> Run:
    """Make one run; with features that it shares with the subject's other splits, if there are any."""

    def tell(label: str, done: int, total: int) -> None:
        progress(f"{planned.folder}: {label}", done, total)

    experiment = planned.experiment
    if experiment.dataset.makes_files:
        made = folder / planned.subject / RECORDING
        made.mkdir(parents=True, exist_ok=True)
        with alone_in(made):
            experiment.dataset.make(made, tell)
        experiment = experiment.changed({"dataset": experiment.dataset.made_at(made).model_dump()})
    pool = folder / planned.subject / SHARED if shares else None
    run = Run.open(experiment, folder / planned.folder, overwrite, tell, pool)
    run.run_all()
    return run


def run_facts(planned: PlannedRun, results: Results, page: str) -> dict[str, Any]:
    """Read what findings need of one finished run.

    Args:
        planned: subject, split and experiment.
        results: of the run.
        page: path of its page, below the folder of all runs.
    """
    scores, subject = results.read_json("scores.json"), results.read_json("subject.json")
    first, last = results.read_json("test_sets.json")["test"]
    analyses = {analysis.label: analysis.kind for analysis in planned.experiment.analyses}
    facts = {label: results.read_json(f"analyses/{label}.json") for label in analyses if _has(results, label)}

    def of_kind(kind: str) -> dict[str, Any]:
        return {label: facts[label] for label, own in analyses.items() if own == kind and label in facts}

    ablated = next((entry["ablated"]["n_images"] for entry in scores["metrics"].values() if entry.get("ablated")), None)
    return {
        "subject": planned.subject,
        "split": planned.split.name,
        "together": planned.split.together,
        "dataset": planned.experiment.dataset.kind,
        "simulated": bool(subject["simulated"]),
        "page": page,
        "uid": planned.experiment.uid,
        "counts": {
            "voxels": int(results.read_json("voxels.json")["n_chosen"]),
            "training pictures": len(results.read_array("stimuli/train_ids")),
            "test pictures": last - first,
            "sessions": int(results.read_table("trials.csv")["session"].nunique()),
        },
        "n_ablated": ablated or last - first,
        "metrics": scores["metrics"],
        "missing": scores["missing"],
        "weights": next(iter(of_kind("voxel_weights").values()), None),
        "accuracy": next(iter(of_kind("decoder_accuracy").values()), None),
        "regions": of_kind("roi_maximisation"),
        "groups": of_kind("picture_groups"),
        "trained_on": trained_on(planned.experiment),
    }


def _has(results: Results, label: str) -> bool:
    return (results.folder / "analyses" / f"{label}.json").is_file()


def trained_on(experiment: Experiment) -> dict[str, str]:
    """Return what each network of an experiment was trained on, from the card beside its checkpoint, by the folder's name."""
    said: dict[str, str] = {}
    for path in dict.fromkeys(experiment.checkpoints.values()):
        card = path / "card.md"
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        lines = text.split("- **Data**:", 1)[-1].split("\n- **", 1)[0] if "- **Data**:" in text else ""
        words = " ".join(lines.split()).replace("`", "")
        said[path.name] = words or "Its folder has no card that says what it was trained on."
    return said


def _write(found: Mapping[str, Any], done: Sequence[tuple[PlannedRun, Run]], draft: Draft) -> None:
    """Write the numbers, the page on all runs, and its tables and figures as files."""
    from braindiffuser.report.finding_sections import finding_sections
    from braindiffuser.report.page import Header, render_page
    from braindiffuser.report.written_tables import written_files

    first = [(planned, run) for planned, run in done if planned.split.together == found["splits"][0]]
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


def _gallery(run: Run, prefix: str) -> Gallery:
    from braindiffuser.report.score_sections import ScoredSet, gallery_of

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
    return gallery_of(scored, N_EACH)


def _region_groups(found: Mapping[str, Any], subject: str, run: Run, prefix: str) -> list[PictureGroup]:
    """Return the pictures of one subject's regions, drawn by the whole method."""
    from braindiffuser.report.finding_sections import region_groups

    own = next(each["regions"] for each in found["runs"] if each["subject"] == subject)
    groups: list[PictureGroup] = []
    for label, facts in own.items():
        kinds = {
            f"{prefix}{label}_{variant}": variant.replace("_", " ")
            for variant in run.experiment.generator.chain("full")
        }
        note = (
            ""
            if len(own) == 1
            else {"as-published": "as published", "from-training": "lengths of training"}[facts["lengths"]]
        )
        groups += region_groups(kinds, facts["regions"], note)
    return groups


def _reader(results: Mapping[str, Results]) -> ReadPictures:
    """Return what reads pictures whose kind begins with the number of their run."""

    def read(kind: str, numbers: Sequence[int]) -> Any:
        prefix, _, own = kind.partition(".")
        return load_png([results[f"{prefix}."].picture_path(own, number) for number in numbers])

    return read


def print_findings(found: Mapping[str, Any], show: Callable[[Any], None]) -> None:
    """Print what was found: counts that differ, scores over subjects, and each claim with its verdict."""
    from rich.markdown import Markdown

    from braindiffuser.report.finding_sections import scores_by_subject
    from braindiffuser.report.written_tables import table_markdown

    for sentence in found["unexpected"]:
        show(sentence)
    show(Markdown(table_markdown(scores_by_subject(found["scores"]))))
    for claim in [*found["ablations"]["claims"], *found["weights"].get("claims", ())]:
        show(claim["sentence"])
