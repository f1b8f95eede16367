"""Laws of a reproduction: ordinary runs of each subject and split, findings from what they stored, and a page."""

import html
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_experiment, write_recording
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.experiment import Experiment
from braindiffuser.planned_runs import joining, making
from braindiffuser.planned_runs.before_runs import PAGE, check_before_runs
from braindiffuser.progress import silent
from braindiffuser.reproduction.page import FINDINGS
from braindiffuser.reproduction.plan import named_splits, plan
from braindiffuser.reproduction.reproduce import REPRODUCTION, reproduce
from braindiffuser.run import Run
from braindiffuser.run_folder import stored_experiment
from braindiffuser.store.checked_json import write_checked
from braindiffuser.store.results import Store

SPLITS = ("layout", "folds:n_folds=2,fold=1")
NAMES = ("layout", "folds-n_folds-2-fold-1")
SUBJECTS = ("a", "b")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return fake_experiment(write_recording(tmp_path_factory.mktemp("recordings") / "told"))


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """One for each subject, with a recording of its own."""
    place = tmp_path_factory.mktemp("subjects")
    roots = {name: write_recording(place / name, seed=number) for number, name in enumerate(SUBJECTS)}
    return [fake_experiment(root, dataset={"root": str(root), "subject": name}) for name, root in roots.items()]


@pytest.fixture(scope="module")
def finished(experiments, tmp_path_factory):
    """The folder of all runs, and what was found."""
    folder = tmp_path_factory.mktemp("runs") / "paper"
    return folder, reproduce(experiments, folder, (), SPLITS)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the folder of all runs, to be spoilt."""
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


def test_every_subject_and_split_is_a_run_of_its_own(finished):
    folder, found = finished
    assert [(run["subject"], run["split"]) for run in found["runs"]] == [(s, n) for s in SUBJECTS for n in NAMES]
    for run in found["runs"]:
        experiment = Store(folder / run["subject"] / run["split"]).manifest["experiment"]
        assert experiment["dataset"]["subject"] == run["subject"]
        assert experiment["pictures"]["ablations"] == "all"
        assert (folder / run["page"]).is_file()


def test_findings_are_means_of_what_the_runs_stored(finished):
    folder, found = finished
    assert json.loads((folder / FINDINGS).read_text()) == json.loads(json.dumps(found))
    for key, entry in found["scores"].items():
        own = {
            subject: json.loads((folder / subject / "layout" / "scores.json").read_text())["metrics"][key]
            for subject in SUBJECTS
        }
        assert {s: values[0] for s, values in entry["subjects"].items()} == {s: e["value"] for s, e in own.items()}
        assert entry["mean"] == pytest.approx(np.mean([each["value"] for each in own.values()]))
        splits = found["generalisation"][key]["splits"]
        assert list(splits) == list(NAMES)
        assert splits["layout"]["mean"] == pytest.approx(entry["mean"])
        variants = found["ablations"]["metrics"][key]["subjects"]["b"]
        assert variants == {"full": own["b"]["value"], **own["b"]["ablations"]}


def test_the_page_has_every_finding_and_links_to_every_run(finished):
    folder, found = finished
    page = html.unescape((folder / PAGE).read_text())
    assert all(f'id="finding-{number}"' in page for number in range(1, 6))
    assert all(f'href="{run["page"]}"' in page for run in found["runs"])
    assert all(claim["sentence"] in page for claim in found["ablations"]["claims"])


def test_the_page_states_the_score_that_orders_pictures(finished):
    folder, found = finished
    said = re.compile(r"ordered by their score in ([^,<]+)(?:, ties by [^,<]+)?, and cut")
    of_all, of_one = (
        said.search(html.unescape(path.read_text()))
        for path in (folder / PAGE, folder / "a" / NAMES[0] / "report" / PAGE)
    )
    assert of_all[0] == of_one[0]
    assert of_all[1] in {entry["label"] for entry in found["scores"].values()}


def test_a_null_and_what_is_unusual_of_one_subject_are_said_first(experiments, tmp_path):
    root = Path(shutil.copytree(experiments[1].dataset.root, tmp_path / "told"))
    (root / "remarks.txt").write_text("Session 2 is odd.")
    other = experiments[1].changed({"dataset": {"root": str(root)}})
    found = reproduce([experiments[0], other], tmp_path / "out", (), ["folds:n_folds=2,fold=0,shuffled=1"])
    page = html.unescape((tmp_path / "out" / PAGE).read_text())
    for said in ("This is a null, no result: its ", "b: Session 2 is odd."):
        assert 0 < page.index(said) < page.index('id="finding-1"')
    assert [run["warnings"][0][:14] for run in found["runs"]] == ["This is a null"] * 2


def test_from_its_first_run_on_the_folder_is_a_reproductions(experiments, tmp_path, monkeypatch):
    said = "holds a reproduction: name one of its runs, or another folder"

    def look(planned, folder, *others):
        with pytest.raises(RunError, match=said):
            stored_experiment(folder)
        raise RunError("interrupted")

    monkeypatch.setattr(making, "_prepare_all", look)
    with pytest.raises(RunError, match="interrupted"):
        reproduce([experiments[0]], tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(RunError, match=said):
        Run.open(experiments[0], tmp_path / "out")
    assert reproduce([experiments[0]], tmp_path / "out")["subjects"] == ["a"]


def test_the_same_command_computes_nothing_again(experiments, finished):
    folder, found = finished
    (folder / "a" / "shared-features" / "pool.json").write_bytes(b"")  # is not looked at
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/*/*.json"))}
    assert reproduce(experiments, folder, (), SPLITS) == found
    records = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/*/scores.json"))}
    assert records.items() <= before.items()


def test_analyses_that_a_run_got_since_stay_on_its_page(experiments, copy):
    place = copy / "a" / NAMES[0]
    Run.open(stored_experiment(place).with_analysis("fakes:Names", {"name": "later"}), place).run_all()
    reproduce(experiments, copy, (), SPLITS)
    assert "later" in [analysis.label for analysis in stored_experiment(place).analyses]
    assert ">Names (later)<" in (place / "report" / PAGE).read_text()


@pytest.mark.parametrize("lost", [False, True])
def test_no_run_is_written_into_the_folder_of_all(lost, experiments, copy):
    if lost:
        (copy / "manifest.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    result = CliRunner().invoke(app, ["analyse", "decoder_accuracy", "--out", str(copy)])
    assert (result.exit_code, "holds a reproduction: name one of its runs" in " ".join(result.output.split())) == (
        1,
        True,
    )
    with pytest.raises(RunError, match="holds a reproduction: name one of its runs, or another folder"):
        Run.open(experiments[0], copy, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_dataset_that_loses_entries_of_what_it_made_is_refused(experiment, tmp_path):
    from braindiffuser.planned_runs.making import _check_entries

    dataset = experiment.dataset
    _check_entries(dataset, dataset)
    for name, value in {"roi_aliases": {"early": ("V1",)}, "voxel_maps": {"ecc": tmp_path / "ecc.nii"}}.items():
        with pytest.raises(
            RunError, match=rf"made_at of fakes:Told returns a dataset whose {name} is \{{\}}, but it was"
        ):
            _check_entries(dataset.model_copy(update={name: value}), dataset)


def test_an_analysis_that_is_not_planned_any_more_leaves_the_run(experiments, copy):
    place = copy / "a" / NAMES[0]
    planned = next(each for each in plan(experiments, (), SPLITS) if each.folder == f"a/{NAMES[0]}")
    labels = [analysis.label for analysis in planned.experiment.analyses]
    assert Store(place).manifest["planned"] == labels
    fewer = replace(planned, experiment=planned.experiment.without_analysis(labels[-1]))
    assert making._with_further_analyses(fewer, copy) == fewer
    store = Store(place)
    with_one = stored_experiment(place).with_analysis("fakes:Names", {"name": "later"})
    store.update_manifest(experiment=with_one.model_dump(mode="json"))
    kept = making._with_further_analyses(fewer, copy)
    assert kept.further == ("later",)
    assert [analysis.label for analysis in kept.experiment.analyses] == [*labels[:-1], "later"]
    store.update_manifest(planned=[])  # as of an earlier version: nothing tells the two apart
    assert making._with_further_analyses(fewer, copy).further == (labels[-1], "later")


def test_where_an_analysis_that_a_run_got_since_fails_it_is_said_how_to_take_it_away(experiments, copy, monkeypatch):
    place, said = copy / "a" / NAMES[0], []
    Run.open(stored_experiment(place).with_analysis("fakes:Names", {"name": "later"}), place)

    def fail(analysis, data):
        raise RunError("it cannot be done")

    monkeypatch.setattr(type(stored_experiment(place).analysis("later")), "run", fail)
    words = re.escape(f"`braindiffuser analyse later --remove --with fakes --out {place}`")
    with pytest.raises(RunError, match=f"^it cannot be done; or take this analysis, .*: {words}$"):
        reproduce(experiments, copy, (), SPLITS, progress=lambda label, done, total: said.append(label))
    assert f"a/{NAMES[0]}: analyses that `braindiffuser analyse` added are kept: later" in said


def test_a_file_in_the_place_of_the_folder_is_named_itself(experiments, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"/file is a file: name a folder for all runs"):
        reproduce(experiments, tmp_path / "file")


@pytest.mark.parametrize("name", ["manifest.json", PAGE])
def test_a_folder_of_something_else_is_refused(name, experiment, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="name another folder"):
        reproduce([experiment], tmp_path, SUBJECTS)
    assert (tmp_path / name).read_text() == "mine"


def test_splits_of_a_dataset_are_taken_by_their_names_and_averaged_with_their_kind(tmp_path):
    folder = tmp_path / "splits" / "sub-01"
    folder.mkdir(parents=True)
    for name in (*(f"random_{k}" for k in range(5)), *(f"cluster_k5_{k}" for k in range(5)), "ood", "tau"):
        (folder / f"{name}.json").touch()
    laion = fake_experiment(
        tmp_path, dataset={"kind": "laion_fmri", "root": str(tmp_path), "subject": "sub-01"}, split={"kind": "layout"}
    )
    found = named_splits(laion, ["random_0", "cluster_k5", "ood"])
    assert [split.name for split in found] == ["random_0", *(f"cluster_k5_{k}" for k in range(5)), "ood"]
    assert {split.averaged_as for split in found} == {"random_0", "cluster_k5", "ood"}
    assert found[1].changes["dataset"] == {"split": "cluster_k5_0"}
    planned = plan([laion], ["sub-01", "sub-03"], ["tau"])
    assert [(each.folder, each.experiment.dataset.subject) for each in planned] == [
        ("sub-01/tau", "sub-01"),
        ("sub-03/tau", "sub-03"),
    ]


@pytest.mark.parametrize(
    ("subjects", "splits", "message"),
    [
        (("a", "a"), (), "two subjects are called a: name each subject once"),
        (("a",), ("random_0",), "there is no split random_0; known kinds: .*layout"),
        (("a",), ("layout", "layout"), "the split layout is named twice"),
        (("a",), ("folds:n_folds",), "'n_folds' is no entry: write entry=value"),
    ],
)
def test_what_cannot_be_planned_is_said(subjects, splits, message, experiment):
    with pytest.raises(RunError, match=message):
        plan([experiment], subjects, splits)


def test_several_files_are_one_subject_each(experiment):
    other = experiment.changed({"dataset": {"subject": "z"}})
    assert [each.subject for each in plan([experiment, other])] == ["subj01", "z"]
    with pytest.raises(RunError, match="leave the subjects out"):
        plan([experiment, other], ("a",))


def test_the_makefile_makes_four_simulated_subjects_with_two_splits():
    root = Path(__file__).parents[2]
    command = re.search(r"reproduce (.*?--out runs/study)", (root / "Makefile").read_text(), re.DOTALL)[1].replace(
        "\\", ""
    )
    words = shlex.split(command)
    options = {}
    for word in words:
        if word.startswith("--"):
            options[last := word] = []
        else:
            options[last].append(word)
    study = Experiment.load(root / options["--config"][0])
    planned = plan([study], options["--subjects"], options["--splits"], int(options["--ablated"][0]))
    assert len(planned) == 8
    assert len({each.folder for each in planned}) == 8
    assert {each.experiment.pictures.n_ablated for each in planned} == {20}
    assert {each.experiment.dataset.subject for each in planned} == {1, 2, 3, 4}


# What does not belong together


def test_one_subject_under_two_names_is_refused_before_any_run(experiment, tmp_path):
    with pytest.raises(RunError, match="a and b would be read from the same betas, and means count each subject once"):
        reproduce([experiment], tmp_path / "out", SUBJECTS)
    assert not (tmp_path / "out").exists()


def test_people_whose_betas_are_in_the_same_files_are_not_refused(experiment, tmp_path):
    of_several = experiment.changed({"dataset": {"kind": "fakes:OfSeveral", "root": str(experiment.dataset.root)}})
    check_before_runs(plan([of_several], SUBJECTS), tmp_path / "out", REPRODUCTION, False, silent)


def test_one_person_read_with_another_mask_is_refused_before_any_run(experiments, tmp_path):
    root = Path(shutil.copytree(experiments[0].dataset.root, tmp_path / "told"))
    for path in (root / "sessions").iterdir():
        path.unlink()
        path.symlink_to(experiments[0].dataset.root / "sessions" / path.name)
    mask = np.load(root / "mask.npy")
    mask[1, 1, 1] = False
    np.save(root / "mask.npy", mask)
    other = experiments[1].changed({"dataset": {"root": str(root), "subject": "c"}})
    with pytest.raises(RunError, match="a and c would be read from the same betas"):
        check_before_runs(plan([experiments[0], other]), tmp_path / "out", REPRODUCTION, False, silent)


def test_one_person_read_with_fewer_sessions_is_refused_before_any_run(experiments, tmp_path):
    root = Path(shutil.copytree(experiments[0].dataset.root, tmp_path / "told"))
    for number in (1, 2):
        (root / "sessions" / f"{number}.npy").unlink()
        (root / "sessions" / f"{number}.npy").symlink_to(experiments[0].dataset.root / "sessions" / f"{number}.npy")
    (root / "sessions" / "3.npy").unlink()
    other = experiments[1].changed({"dataset": {"root": str(root), "subject": "c"}})
    with pytest.raises(RunError, match="a and c would be read from the same betas"):
        check_before_runs(plan([experiments[0], other]), tmp_path / "out", REPRODUCTION, False, silent)


def test_copies_of_one_persons_recording_are_refused_before_features_are_extracted_of_any(experiments, tmp_path):
    root = Path(shutil.copytree(experiments[0].dataset.root, tmp_path / "copy"))
    (root / "sessions" / "3.npy").unlink()
    other = experiments[1].changed({"dataset": {"root": str(root), "subject": "c"}})
    out, said = tmp_path / "out", f"{tmp_path}/out/a/layout and {tmp_path}/out/c/layout have the same betas"
    for _ in range(2):
        with pytest.raises(RunError, match=said):
            reproduce([experiments[0], other], out, (), SPLITS)
    assert sorted(path.name for path in out.glob("*/*")) == ["layout", "layout"]
    assert {step.partition(".")[0] for name in "ac" for step in Store(out / name / "layout").steps()} == {"prepare"}


def test_copies_of_one_recording_are_refused_by_their_content(experiments, copy):
    for name in NAMES:
        shutil.copy(copy / "a" / name / "sums.npz", copy / "b" / name)
    with pytest.raises(RunError, match="have the same betas, and a study counts each subject once"):
        joining.mixed_settings(plan(experiments, (), SPLITS), copy)


@pytest.mark.parametrize("spoil", ["file", "foreign", "version"])
def test_what_is_wrong_with_the_features_that_a_later_subject_shares_is_said_before_any_run(
    experiments, tmp_path, spoil
):
    pool = tmp_path / "b" / "shared-features"
    pool.parent.mkdir()
    if spoil == "file":
        pool.write_text("mine")
    else:
        pool.mkdir()
        (pool / "mine.txt").write_text("mine") if spoil == "foreign" else write_checked(
            pool / "pool.json", {"format": 2}
        )
    with pytest.raises(RunError, match=r"shared-features (is a file|holds)"):
        reproduce(experiments, tmp_path, (), SPLITS)
    assert not (tmp_path / "a").exists()


def test_other_metrics_of_a_subject_are_refused_before_any_run(experiments, tmp_path):
    other = experiments[1].changed({"evaluation": {"metrics": {"own": None}}})
    with pytest.raises(RunError, match=r"a/layout and b/layout would be scored by other metrics \(own\)"):
        reproduce([experiments[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_subjects_of_other_settings_are_said_first(experiments, copy, monkeypatch):
    monkeypatch.setattr(joining, "differences", lambda first, other: ["generator.strength: 0.5 and 0.9"])
    found = reproduce(experiments, copy, (), SPLITS)
    said = "b was run with other settings than a, and means over subjects mix them: generator.strength: 0.5 and 0.9."
    assert found["unexpected"] == [said]
    page = html.unescape((copy / PAGE).read_text())
    assert page.index(said) < page.index('id="finding-1"')


def test_what_differs_between_subjects_and_may_is_said_once(experiments, finished, monkeypatch):
    opened = joining.open_member

    def other_seed(folder, name):
        member = opened(folder, name)
        return replace(member, experiment=member.experiment.changed({"seed": 8})) if name == "b" else member

    monkeypatch.setattr(joining, "open_member", other_seed)
    assert joining.mixed_settings(plan(experiments, (), SPLITS), finished[0]) == ["Runs differ in seed: 7 (a), 8 (b)."]


@pytest.mark.parametrize("name", ["studies/layout/subject-average/reconstructions", "tables"])
def test_links_in_what_is_written_last_are_said_before_any_run(name, experiments, copy, tmp_path):
    (copy / name).rename(tmp_path / "theirs")
    (copy / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(RunError, match=f"{Path(name).name} is a link, and only"):
        check_before_runs(plan(experiments, (), SPLITS), copy, REPRODUCTION, False, silent)


def test_what_is_no_study_in_the_place_of_one_is_said_before_any_run(experiments, tmp_path):
    (tmp_path / "studies" / "layout").mkdir(parents=True)
    (tmp_path / "studies" / "layout" / "index.html").write_text("mine")
    with pytest.raises(RunError, match=r"studies/layout holds index\.html, but no study"):
        check_before_runs(plan(experiments, (), SPLITS), tmp_path, REPRODUCTION, False, silent)


def test_a_run_that_is_made_anew_while_findings_are_put_together_is_not_mixed_in(experiments, copy, monkeypatch):
    before = (copy / FINDINGS).read_bytes()

    def late(planned, folder, progress):
        Store(copy / "b" / "layout").update_record("evaluate", uid="another")
        return {}, None

    monkeypatch.setattr("braindiffuser.reproduction.reproduce.join_settings", late)
    with pytest.raises(RunError, match=r"evaluate of \S+layout was made anew while .*: run the same command again"):
        reproduce(experiments, copy, (), SPLITS)
    assert (copy / FINDINGS).read_bytes() == before


# Studies in it


def test_another_order_of_subjects_renews_studies_and_findings_without_consent(experiments, copy):
    scores = copy / "a" / "layout" / "scores.json"
    before = scores.stat().st_mtime_ns
    found = reproduce(experiments[::-1], copy, (), SPLITS)
    assert found["subjects"] == ["b", "a"]
    assert json.loads((copy / FINDINGS).read_text())["subjects"] == ["b", "a"]
    joint = json.loads((copy / "studies" / "layout" / "scores.json").read_text())
    assert [own["name"] for own in joint["subjects"]] == ["b", "a"]
    assert scores.stat().st_mtime_ns == before


def test_findings_are_written_where_a_study_fails(experiments, copy, monkeypatch):
    def fail(*arguments, **options):
        raise RunError("the study fails")

    monkeypatch.setattr(joining, "run_study", fail)
    with pytest.raises(RunError, match="the study fails"):
        reproduce(experiments, copy, (), SPLITS)
    assert json.loads((copy / FINDINGS).read_text())["studies"]["layout"] == {"why_not": "the study fails"}


# What can be known at once


def _no_regions(root):
    (root / "mask.npy").unlink()


@pytest.mark.parametrize("spoil", [_no_regions, shutil.rmtree])
def test_a_recording_that_cannot_be_read_is_said_before_the_first_run(spoil, experiments, tmp_path):
    root = write_recording(tmp_path / "spoilt", seed=5)
    other = experiments[1].changed({"dataset": {"root": str(root), "subject": "c"}})
    spoil(root)
    with pytest.raises((BrainDiffuserError, OSError)):
        reproduce([experiments[0], other], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/*/*.json"))


def test_an_unknown_region_or_a_stale_run_of_the_last_is_said_before_the_first_run(experiments, copy):
    shutil.rmtree(copy / "a")
    region = experiments[1].changed({"responses": {"rois": ["V9"]}})
    with pytest.raises(RunError, match="of a run with other settings or inputs"):
        reproduce([experiments[0], region], copy, (), SPLITS)
    shutil.rmtree(copy / "b")
    with pytest.raises(BrainDiffuserError, match="V9"):
        reproduce([experiments[0], region], copy, (), SPLITS)
    assert not (copy / "a").exists()


@pytest.mark.parametrize("name", ["studies", "unfinished", "written.json", "steps"])
def test_names_of_what_is_written_beside_the_runs_are_no_subjects(name, experiment, tmp_path):
    with pytest.raises(RunError, match=f"{name} is the name of a folder or file that is written beside the runs"):
        reproduce([experiment], tmp_path / "out", (name,))


@pytest.mark.parametrize(
    "name", ["a", "a/layout", "a/shared-features", "studies", "studies/layout", "unfinished", "tables", "written.json"]
)
def test_nothing_is_written_through_a_link(name, experiments, tmp_path):
    (tmp_path / "theirs").mkdir()
    place = tmp_path / "out" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "theirs")
    with pytest.raises(RunError, match="is a link, and only"):
        reproduce(experiments, tmp_path / "out", (), SPLITS)
    assert not list((tmp_path / "theirs").iterdir())
    assert place.is_symlink()
