"""The paper in one command: runs of all subjects and splits, what is found in them, one page, and a report's tables and figures.

runs/paper/
  subj01/recording/        a simulated subject; recordings on disk are read where they are
  subj01/shared/           features of all pictures of the subject, computed once for all splits
  subj01/layout/           a run for each split
  studies/layout/          the subjects of a split as a study, where they saw the same test pictures
  findings.json            what is found, in numbers
  index.html               the page
  tables/, figures/        each table as CSV, Markdown and LaTeX, each figure as SVG and PNG
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindiffuser import __version__
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.images import load_png
from braindiffuser.plain_data import read_json, write_json
from braindiffuser.progress import Progress, silent
from braindiffuser.reproduction.found import findings
from braindiffuser.reproduction.planned_runs import PlannedRun, plan
from braindiffuser.run import Run
from braindiffuser.run_folder import check_folder, check_links, join_names
from braindiffuser.stages.evaluate import ablation_labels, gallery_kinds

if TYPE_CHECKING:
    from braindiffuser.report.page import ReadPictures
    from braindiffuser.report.sections import Gallery, PictureGroup
    from braindiffuser.store.results import Results

FINDINGS, PAGE = "findings.json", "index.html"
RECORDING, SHARED = "recording", "shared"
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
    for each in planned:  # before any is run
        check_folder(folder / each.folder, each.experiment)
        check_links(folder / each.folder)
    done: list[tuple[PlannedRun, Run]] = []
    for number, each in enumerate(planned):
        progress(f"run {number + 1} of {len(planned)}: {each.folder}", number, len(planned))
        done.append((each, _run(each, folder, overwrite, progress)))
    found = findings([run_facts(each, run.results, f"{each.folder}/report/{PAGE}") for each, run in done])
    found["experiment"] = experiments[0].name
    write_json(folder / FINDINGS, found)
    write_page(folder, found, done)
    return found


def check_folder_of_runs(folder: Path) -> None:
    """Check that the runs of a reproduction may be kept in a folder.

    Raises:
        RunError: it is a file, a run's own folder, or holds files of the names that are written but not of a reproduction.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for all runs")
    if (folder / "manifest.json").exists() or (folder / "steps").exists():
        raise RunError(f"{folder} holds a run: name another folder for all runs")
    foreign = [name for name in (FINDINGS, PAGE) if (folder / name).exists()]
    if not foreign:
        return
    try:
        is_own = read_json(folder / FINDINGS).keys() >= {"subjects", "splits", "runs"}
    except (OSError, ValueError, AttributeError):
        is_own = False
    if not is_own:
        raise RunError(
            f"{folder} holds {foreign[0]}, but no findings of a reproduction that can be read: name another folder, or move "
            f"{folder / foreign[0]} away or delete it"
        )


def _run(planned: PlannedRun, folder: Path, overwrite: bool, progress: Progress) -> Run:
    def tell(label: str, done: int, total: int) -> None:
        progress(f"{planned.folder}: {label}", done, total)

    experiment = planned.experiment
    if experiment.dataset.makes_files:
        made = folder / planned.subject / RECORDING
        experiment.dataset.make(made, tell)
        experiment = experiment.changed({"dataset": experiment.dataset.made_at(made).model_dump()})
    run = Run.open(experiment, folder / planned.folder, overwrite, tell)
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
        "regions": next(iter(of_kind("roi_maximisation").values()), None),
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


def write_page(folder: Path, found: Mapping[str, Any], done: Sequence[tuple[PlannedRun, Run]]) -> None:
    """Write the page on all runs, and its tables and figures as files."""
    from braindiffuser.report.finding_sections import finding_sections
    from braindiffuser.report.page import Header, Report, render_page

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
    )
    readers = dict(zip(_prefixes(shown), (run.results for _, run in shown.values()), strict=True))
    Report(render_page(header, sections, _reader(readers))).save(folder / PAGE)


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

    analysis = next((each for each in run.experiment.analyses if each.kind == "roi_maximisation"), None)
    own = next((each for each in found["runs"] if each["subject"] == subject), None)
    if analysis is None or own is None or not own["regions"] or not own["regions"]["regions"]:
        return []
    chain = run.experiment.generator.chain("full")
    labels = {f"{prefix}{analysis.label}_{variant}": variant.replace("_", " ") for variant in chain}
    return region_groups(labels, own["regions"]["regions"])


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
