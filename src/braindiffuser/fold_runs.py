"""All folds of an experiment: one ordinary run for each, a null of runs with exchanged pictures, and a page on all of them.

runs/mine-folds/
  fold-0 … fold-4             a run each, whose test set is that fold
  shuffled-0/fold-0 … fold-4  the same with training pictures exchanged before anything is fitted
  shared                      features of the stimuli, extracted once for all runs
  scores.json                 means over pictures that were scored inside their folds, with the null beside them
  per_image.csv               scores of every picture, with its fold and its number there
  index.html                  the page
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser import __version__
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import FileState, replacing
from braindiffuser.images import load_png
from braindiffuser.plain_data import read_json, write_json
from braindiffuser.progress import Progress, silent
from braindiffuser.recording_hashes import RecordingHashes, differences, recording_files
from braindiffuser.run import MakeWorkers, Run
from braindiffuser.run_folder import check_folder, check_links, check_way, join_names
from braindiffuser.splits.folds import Folds
from braindiffuser.stages import all_steps
from braindiffuser.stages.evaluate import ablation_labels, gallery_kinds, scored_pictures, scores_name
from braindiffuser.stages.extract import why_not_shared
from braindiffuser.step_states import StepStates, entry_text, flatten
from braindiffuser.store.results import Store
from braindiffuser.study.members import check_same_records, warnings_of_run

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.fold_summary import FoldOfSet
    from braindiffuser.report.score_sections import ScoredSet
    from braindiffuser.report.strips import ReadPictures
    from braindiffuser.store.results import Results

SCORES, PER_IMAGE, PAGE = "scores.json", "per_image.csv", "index.html"
SHARED = "shared"
"""Folder of features that all runs share."""
SPLIT = "split: {kind: folds, n_folds: 5}"
"""Example for messages."""
OWN_SETTINGS = ("split.fold", "split.shuffled", "pictures.", "name")
"""Beginnings of the settings in which folds and nulls of one experiment differ."""


@dataclass(frozen=True)
class FinishedFold:
    """One finished run.

    Attributes:
        path: of its folder, relative to that of all folds.
        experiment: that it ran.
        results: of it.
        per_image: content of its `per_image.csv`.
        records: step → its record: the settings and files that it was made from.
    """

    path: str
    experiment: Experiment
    results: Results
    per_image: pd.DataFrame
    records: Mapping[str, Mapping[str, Any]]

    def of_set(self, name: str) -> FoldOfSet:
        """Return what it scored of one test set."""
        from braindiffuser.metrics.fold_summary import FoldOfSet

        summary = self.results.read_json(scores_name(name))
        rows = self.per_image[self.per_image["set"] == name]
        scores = scored_pictures(self.results, self.per_image, name, summary["metrics"])
        return FoldOfSet(rows["stimulus_id"].to_numpy(dtype=np.int64), scores, summary)

    @property
    def facts(self) -> dict[str, Any]:
        """What `scores.json` says of it."""
        split = self.experiment.split
        return {
            "page": f"{self.path}/report/index.html",
            "uid": self.experiment.uid,
            "n_images": int((self.per_image["set"] == "test").sum()),
            "shuffled": split.shuffled if isinstance(split, Folds) else None,
        }


def run_folds(
    experiment: Experiment,
    folder: Path | str,
    n_shuffled: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
    workers: MakeWorkers | None = None,
) -> dict[str, Any]:
    """Run every fold that is not finished, put their scores together, and write the page.

    Each fold is an ordinary run, which goes on where it was stopped; finished ones are read. Folds share nothing but the features
    of their stimuli, which are extracted once: each run has the bytes that it would have alone.

    Args:
        experiment: its split is `Folds`; `fold` does not matter.
        folder: for all runs; made if it does not exist.
        n_shuffled: repetitions of the null, with the seeds 0, 1, …; they draw neither ceiling nor ablations, and analyse nothing.
        overwrite: recompute what was made with other settings or inputs; else it raises.
        progress: called as progress(label, done, total).
        workers: makes what other processes compute parts of each run with; None: this process computes alone.

    Returns:
        Content of `scores.json`: what `join_folds` returns for the test set; `test_sets` with the same of each further one, and
        its `facts`; `folds` and `nulls` with page, uid and number of pictures of each run; `seeds`, `missing`.

    Raises:
        RunError: the split is another, the folder holds something else, or the recording changed between two runs; what a run
            raises.
    """
    folder, split = Path(folder), _split_of(experiment)
    check_folder_of_folds(folder)
    of_folds = [f"fold-{fold}" for fold in range(split.n_folds)]
    of_nulls = [[f"shuffled-{seed}/{path}" for path in of_folds] for seed in range(n_shuffled)]
    paths = [*of_folds, *(path for null in of_nulls for path in null)]
    for path in paths:  # before any is run
        check_way(folder, path)
        check_folder(folder / path, experiment)
        check_links(folder / path)
    shared = folder_to_share(folder / SHARED, experiment, progress)
    changes = [{"split": {"fold": fold}} for fold in range(split.n_folds)]
    changes += [_null(experiment, fold, seed) for seed in range(n_shuffled) for fold in range(split.n_folds)]
    own = [experiment.changed(each) for each in changes]
    _refuse_stale(dict(zip(paths, own, strict=True)), folder, overwrite, progress)
    others = sorted(set(_runs_in(folder)) - set(paths))
    if others:
        progress(
            f"{folder} also holds {join_names(others)}, kept from an earlier command and no part of these scores", 1, 1
        )
    finished: list[FinishedFold] = []

    def finish(path: str, changes: Mapping[str, Any]) -> FinishedFold:
        def report(label: str, done: int, total: int) -> None:
            progress(f"{path}: {label}", done, total)

        run = Run.open(experiment.changed(changes), folder / path, overwrite, report, shared, workers=workers)
        run.run_all()
        store = Store(folder / path)
        records = {str(step): store.record(str(step)) or {} for step in run.steps()}
        done = FinishedFold(path, run.experiment, run.results, run.results.read_table("per_image.csv"), records)
        finished.append(done)
        _check_alike(finished[0], done, folder)
        return done

    folds = [finish(path, {"split": {"fold": fold}}) for fold, path in enumerate(of_folds)]
    nulls = [
        [finish(path, _null(experiment, fold, seed)) for fold, path in enumerate(own)]
        for seed, own in enumerate(of_nulls)
    ]
    _check_folds(folds)
    joint = _join(folds, nulls)
    for done in finished:
        check_same_records(folder / done.path, done.records)
    write_json(folder / SCORES, joint)
    table = _numbered(folds)
    with replacing(folder / PER_IMAGE) as beside:
        table.to_csv(beside, index=False)
    _write_page(folder / PAGE, joint, folds, table)
    return joint


def _refuse_stale(planned: Mapping[str, Experiment], folder: Path, overwrite: bool, progress: Progress) -> None:
    """Raise if any of several runs is stale and may not be made anew, before the first is made; planned: path → experiment."""
    checkpoint_files: dict[Path, FileState] = {}
    for path, own in planned.items():
        experiment, store = own if own.dataset.has_captions else own.without_captions(), Store(folder / path)
        hashes = RecordingHashes(store, recording_files(experiment), progress, keep=False)
        StepStates(experiment, store, hashes, checkpoint_files).refuse_stale(all_steps(experiment), overwrite)


def folder_to_share(folder: Path, experiment: Experiment, progress: Progress = silent) -> Path | None:
    """Return the folder of features that several runs share; None, with a word why, if their dataset lets them share none.

    Raises:
        RunError: it is a link.
    """
    why_not = why_not_shared(experiment)
    if why_not:
        progress(f"{why_not.partition('; ')[0]}: each run extracts its own", 1, 1)
        return None
    check_way(folder.parent, folder.name)
    return folder


def check_folder_of_folds(folder: Path) -> None:
    """Check that the runs of all folds may be kept in a folder.

    Raises:
        RunError: it is a file, a run's own folder, or holds files of the names that are written but not of folds.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for the runs of all folds")
    if (folder / "manifest.json").exists() or (folder / "steps").exists():
        raise RunError(f"{folder} holds a run: name another folder for the runs of all folds")
    foreign = [name for name in (SCORES, PER_IMAGE, PAGE) if (folder / name).exists()]
    if not foreign:
        return
    try:
        is_own = read_json(folder / SCORES).keys() >= {"folds", "nulls", "seeds"}
        fault = "no scores of folds"
    except (OSError, ValueError, AttributeError):  # lost, or cut short
        is_own = not (folder / SCORES).is_dir() and any(True for _ in _runs_in(folder))
        fault = "no scores of folds that can be read, and no fold"
    if not is_own:
        raise RunError(
            f"{folder} holds {foreign[0]}, but {fault}: name another folder, or move {folder / foreign[0]} away or delete it"
        )


def _runs_in(folder: Path) -> Iterator[str]:
    """Yield the paths, relative to a folder, of runs of folds in it: `fold-0`, `shuffled-0/fold-0`."""
    for path in [*folder.glob("fold-*"), *folder.glob("shuffled-*/fold-*")]:
        name = path.relative_to(folder).as_posix()
        if re.fullmatch(r"(shuffled-\d+/)?fold-\d+", name) and path.is_dir():
            experiment = Store(path).manifest.get("experiment")
            if isinstance(experiment, Mapping) and (experiment.get("split") or {}).get("kind") == "folds":
                yield name


def _split_of(experiment: Experiment) -> Folds:
    split = experiment.split
    if not isinstance(split, Folds):
        raise RunError(f"split is {split.kind}, and all folds are made of folds: write `{SPLIT}`")
    if split.shuffled is not None:
        raise RunError(
            f"split.shuffled is {split.shuffled}, so these folds would be a null: leave it out, and give --shuffled for a null "
            "beside them"
        )
    return split


def _null(experiment: Experiment, fold: int, seed: int) -> dict[str, Any]:
    """Return what a run of the null changes: exchanged pictures, and nothing drawn but the reconstructions."""
    return {
        "name": f"{experiment.name} – null, training pictures exchanged",
        "split": {"fold": fold, "shuffled": seed},
        "pictures": {"ceiling": False, "ablations": [], "n_recovered": 0, "n_samples": 1, "n_random_responses": 0},
        "analyses": [],
    }


def _check_alike(first: FinishedFold, other: FinishedFold, folder: Path) -> None:
    """Raise if two runs were made from different recordings, or with different settings, so that no scores belong together."""
    changes = [
        change
        for step in first.records.keys() & other.records.keys()
        if not step.startswith("report")
        for change in _changes(first.records[step], other.records[step])
    ]
    if changes:
        raise RunError(
            f"{folder / other.path} was made from other inputs than {folder / first.path} "
            f"({'; '.join(sorted(set(changes))[:4])}), so their scores cannot be joined: run the same command again with "
            "--overwrite, which recomputes the folds that are out of date"
        )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between the records of one step in two runs, but for what folds and nulls change."""
    settings, others = flatten(before.get("settings", {})), flatten(now.get("settings", {}))
    changed = [
        f"{name} was {entry_text(settings.get(name, 'absent'))}, then {entry_text(others.get(name, 'absent'))}"
        for name in dict.fromkeys([*settings, *others])
        if settings.get(name) != others.get(name) and not name.startswith(OWN_SETTINGS)
    ]
    return changed + differences(before.get("contents", {}), now.get("contents", {}))


def _check_folds(folds: Sequence[FinishedFold]) -> None:
    """Raise if a picture tested in two folds: then they were not dealt together."""
    tested: dict[int, str] = {}
    for fold in folds:
        for stimulus_id in fold.of_set("test").stimulus_ids.tolist():
            other = tested.setdefault(stimulus_id, fold.path)
            if other != fold.path:
                raise RunError(
                    f"stimulus {stimulus_id} tested in {other} and in {fold.path}, so these are no folds of one recording: run "
                    "the same command with --overwrite, or choose another folder"
                )


def _join(folds: Sequence[FinishedFold], nulls: Sequence[Sequence[FinishedFold]]) -> dict[str, Any]:
    from braindiffuser.metrics.fold_summary import join_folds

    experiment, split = folds[0].experiment, _split_of(folds[0].experiment)
    names = list(dict.fromkeys(folds[0].per_image["set"]))
    sets = {
        name: join_folds(
            [fold.of_set(name) for fold in folds],
            [[fold.of_set(name) for fold in null] for null in nulls],
        )
        for name in names
    }
    for name, scores in sets.items():
        scores |= {} if name == "test" else {"facts": _facts_of_further(name, folds)}
    runs = [*folds, *(fold for null in nulls for fold in null)]
    missing = dict.fromkeys(name for fold in runs for name in fold.results.read_json(SCORES)["missing"])
    return {
        **sets.pop("test"),
        "test_sets": sets,
        "missing": list(missing),
        "folds": [fold.facts for fold in folds],
        "nulls": [[fold.facts for fold in null] for null in nulls],
        "seeds": {"experiment": experiment.seed, "split": split.seed, "shuffled": list(range(len(nulls)))},
    }


def _facts_of_further(name: str, folds: Sequence[FinishedFold]) -> dict[str, Any]:
    """Return what is known of a further test set: `heading` (title and note), `imagined`, `n_trained` and `trained_in`.

    Its stimuli never train, but another stimulus may that shows the same picture, as who imagines has seen: `n_trained` is the
    number of pictures whose file is equal to one that trained in any fold, `trained_in` the fewest and most folds of these.
    """
    subjects = [fold.results.read_json("subject.json") for fold in folds]
    times = Counter(number for subject in subjects for number in subject.get("trained", {}).get(name, ()))
    return {
        "heading": subjects[0].get("notes", {}).get(name),
        "imagined": name in subjects[0].get("imagined", ()),
        "n_trained": len(times),
        "trained_in": [min(times.values()), max(times.values())] if times else None,
    }


def _numbered(folds: Sequence[FinishedFold]) -> pd.DataFrame:
    """Put the scores of all pictures together: `number` counts through all folds, `number_in_fold` is that of the run."""
    import pandas as pd

    tables = [
        fold.per_image.rename(columns={"number": "number_in_fold"}).assign(fold=number)
        for number, fold in enumerate(folds)
    ]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "number", np.arange(len(table)))
    return table


def _write_page(path: Path, joint: Mapping[str, Any], folds: Sequence[FinishedFold], table: pd.DataFrame) -> None:
    from braindiffuser.report.fold_sections import fold_sections
    from braindiffuser.report.page import Header, Report, render_page
    from braindiffuser.report.recording_section import joint_recording_section

    subject = folds[0].results.read_json("subject.json")
    header = Header(
        experiment=f"{folds[0].experiment.name}, {len(folds)} folds",
        subject=given_name(str(subject["subject"])),
        simulated=bool(subject["simulated"]),
        version=__version__,
    )
    first = joint_recording_section([warnings_of_run(fold.results, fold.records) for fold in folds])
    sections = fold_sections(joint, _scored(joint, folds[0].experiment, table))
    Report(render_page(header, [first, *sections] if first else sections, _reader(folds, table))).save(path)


def _scored(joint: Mapping[str, Any], experiment: Experiment, table: pd.DataFrame) -> ScoredSet:
    from braindiffuser.report.score_sections import ScoredSet

    profile = experiment.evaluation.all_metrics()
    return ScoredSet(
        name="test",
        scores=joint,
        per_image=table[table["set"] == "test"].reset_index(drop=True),
        kinds=gallery_kinds(experiment),
        ablations=ablation_labels(experiment),
        headlines=tuple(key for key in profile.headlines if key in joint["metrics"]),
        notes=profile.notes,
    )


def _reader(folds: Sequence[FinishedFold], table: pd.DataFrame) -> ReadPictures:
    """Return what reads pictures by their number through all folds."""
    places = list(zip(table["fold"].tolist(), table["number_in_fold"].tolist(), strict=True))

    def read(kind: str, numbers: Sequence[int]) -> Any:
        return load_png([folds[places[n][0]].results.picture_path(kind, places[n][1]) for n in numbers])

    return read
