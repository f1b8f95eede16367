"""Laws of several subjects as a study: runs are read and never changed, joined only if they belong together, and averaged."""

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import (
    FURTHER_IDS,
    N_TEST,
    PICTURE_ID,
    SOURCE,
    SOURCES,
    STIMULUS,
    TEST_IDS,
    N,
    fake_experiment,
    levels,
    write_recording,
)
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.files import state_of
from braindiffuser.images import load_png, to_uint8
from braindiffuser.report.study_sections import SUB_AVG
from braindiffuser.run import Run
from braindiffuser.run_folder import stored_experiment
from braindiffuser.store.results import Store
from braindiffuser.study import study
from braindiffuser.study.join import check_alike
from braindiffuser.study.members import TAKEN, open_member, open_members
from braindiffuser.study.study import join_members, run_study
from braindiffuser.study.subject_average import LABEL

NAMES = ("subj01", "subj02")
WRITTEN = ("scores.json", "per_image.csv", "index.html")


def finish(folder, root, name, **changes):
    dataset = {"subject": name, "root": str(root)}
    pictures = {"ceiling": False, "ablations": ["rough_only"]}
    Run.open(fake_experiment(root, dataset=dataset, pictures=pictures, analyses=[], **changes), folder).run_all()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs of two subjects who saw the same pictures; the recording of one is gone."""
    place = tmp_path_factory.mktemp("subjects")
    made = []
    for number, name in enumerate(NAMES):
        root = write_recording(place / f"recording-{name}", seed=number)
        if number == 1:
            (root / "remarks.txt").write_text("The scanner <was> warm.\n")
        made.append(finish(place / name, root, name))
    shutil.rmtree(place / "recording-subj01")
    return made


@pytest.fixture(scope="module")
def finished(runs):
    """The folder of the study, and what was returned."""
    folder = runs[0].parent / "study"
    return folder, run_study(runs, folder, n_permutations=20)


@pytest.fixture
def copies(runs, tmp_path):
    """Copies of two runs, to be spoilt."""
    return [Path(shutil.copytree(run, tmp_path / run.name)) for run in runs]


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def test_scores_are_means_over_subjects_of_what_the_runs_stored(runs, finished):
    folder, joint = finished
    assert json.loads((folder / "scores.json").read_text()) == joint
    for name, scores in {"test": joint, **joint["test_sets"]}.items():
        tables = [pd.read_csv(run / "per_image.csv") for run in runs]
        for key, entry in scores["metrics"].items():
            means = [table.loc[table["set"] == name, key].mean() for table in tables]
            assert list(entry["subjects"].values()) == pytest.approx(means)
            assert entry["value"] == pytest.approx(np.mean(means))
    assert list(joint["test_sets"]) == ["further"]
    assert [own["name"] for own in joint["subjects"]] == list(NAMES)
    table = pd.read_csv(folder / "per_image.csv")
    assert table.groupby("subject", sort=False).size().to_dict() == dict.fromkeys([*NAMES, "Sub Avg"], N)


def test_what_is_permuted_is_what_the_runs_scored(runs, finished):
    """All pairs of reconstruction and stimulus: those that belong together have the mean that the run has stored."""
    for number, run in enumerate(runs):
        permuted = Store(finished[0]).read_bundle(f"permutations/subject-{number}.npz")
        metrics = Store(run).read_json("scores.json")["metrics"]
        assert {name.partition(".")[0] for name in permuted} == set(metrics)
        for key, entry in metrics.items():
            assert permuted[f"{key}.observed"] == pytest.approx(entry["value"], rel=1e-5)


def test_features_are_averaged_picture_by_picture_and_no_truth_enters(runs, finished):
    average = Store(finished[0] / "subject-average")
    for group in "ab":
        own = [Store(run).read_array(f"predictions/{group}").astype(np.float64) for run in runs]
        np.testing.assert_array_equal(
            average.read_array(f"predictions/{group}"), np.mean(own, axis=0).astype(np.float32)
        )
    np.testing.assert_array_equal(average.read_array("stimuli/test_ids"), TEST_IDS)
    drawn = [levels(load_png([average.picture_path("final", number)])[0]) for number in range(N)]
    rows = [*range(100, 100 + N_TEST), *range(150, 150 + len(FURTHER_IDS))]
    for row, stimulus_id, said in zip(rows, TEST_IDS, drawn, strict=True):
        assert said[SOURCE] == SOURCES["predictions"]
        assert (said[STIMULUS], said[PICTURE_ID]) == (row, stimulus_id)
    assert not (average.folder / "arrays" / "truth").exists()
    assert not (average.folder / "reconstructions" / "from_true_features").exists()
    assert finished[1]["subject_average"]["spread"] == pytest.approx({"a": 1.0, "b": 1.0})


def test_pictures_of_averaged_features_are_scored_as_the_runs_are(finished):
    folder, joint = finished
    scored = json.loads((folder / "subject-average" / "scores.json").read_text())
    for key, entry in joint["metrics"].items():
        assert entry["subject_average"]["value"] == scored["metrics"][key]["value"]
    own = joint["metrics"]["own"]
    assert own["subject_average"]["value"] == own["value"] == 1.0
    assert own["prevalence"]["p_subjects"].keys() == set(NAMES)


def test_the_page_shows_every_subject_and_what_their_pages_say_first(runs, finished):
    folder, joint = finished
    page = (folder / "index.html").read_text()
    assert page.index("What 2 people saw") < page.index('id="scores"')
    assert "subj02: The scanner <was> warm." in html.unescape(page[: page.index('id="scores"')])
    for run in runs:
        assert f'href="../{run.name}/report/index.html"' in page
        assert (folder / ".." / run.name / "report" / "index.html").is_file()
    assert [own["page"] for own in joint["subjects"]] == [f"../{name}/report/index.html" for name in NAMES]
    order = [
        "Scores of each subject",
        "Features averaged",
        "The method without",
        "In how many people?",
        "The same pictures",
    ]
    places = [page.index(title) for title in order]
    assert places == sorted(places)
    for name in ("tables/scores.csv", "tables/prevalence.tex", "figures/scores-pixel-metrics.png"):
        assert (folder / name).stat().st_size
    assert (folder / "figures" / "scores-pixel-metrics.svg").read_text().startswith("<?xml")


def test_runs_are_not_changed_and_the_same_command_again_writes_the_same(runs, finished):
    folder, joint = finished
    before, own = [state(run) for run in runs], state(folder)
    assert run_study(runs, folder, n_permutations=20) == joint
    assert [state(run) for run in runs] == before
    changed = {path.name for path, known in state(folder).items() if own.get(path) != known}
    assert changed <= {"manifest.json"}


def test_a_study_that_was_stopped_goes_on_and_ends_with_the_same(runs, finished):
    folder, moments = finished[0].parent / "stopped", ["permuting test pictures", "Sub Avg: reconstructing: final"]

    def stop(label, done, total):
        if moments and label.startswith(moments[-1]) and done:
            moments.pop()
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_study(runs, folder, n_permutations=20, progress=stop)
        assert not (folder / "index.html").exists()
    assert not moments
    run_study(runs, folder, n_permutations=20)
    for name in WRITTEN:
        assert (folder / name).read_bytes() == (finished[0] / name).read_bytes()
    lost, damaged = folder / "subject-average/reconstructions/final/0001.png", folder / "permutations/subject-1.npz"
    before = lost.read_bytes(), damaged.read_bytes()
    lost.unlink()
    damaged.write_bytes(b"")
    run_study(runs, folder, n_permutations=20)
    assert (lost.read_bytes(), damaged.read_bytes()) == before


def test_a_study_of_other_runs_is_recomputed_only_if_asked_and_then_leaves_what_is_not_its_own(
    runs, finished, tmp_path
):
    folder = Path(shutil.copytree(finished[0], tmp_path / "study"))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        RunError, match=r"holds features\.a, made of other inputs \(other unconditional features\).*--overwrite"
    ):
        run_study(runs[::-1], folder, n_permutations=20)
    joint = run_study(runs[::-1], folder, n_permutations=20, overwrite=True)
    assert list(joint["metrics"]["own"]["subjects"]) == list(NAMES[::-1])
    assert (folder / "notes.txt").read_text() == "mine"
    without = run_study(runs[::-1], folder, average=False, n_permutations=0)
    assert without["subject_average"] is None
    assert "prevalence" not in without["metrics"]["own"]
    assert "Features averaged" not in (folder / "index.html").read_text()
    assert not (folder / "tables" / "prevalence.csv").exists()


# What belongs together


def test_runs_of_other_settings_are_refused_by_name(runs):
    first, other = open_members(runs)
    spoilt = dict(other.records) | {
        "extract.a": changed(other.records["extract.a"], "targets.a", shift=3),
        "reconstruct.final": changed(other.records["reconstruct.final"], "generator", strength=0.25),
    }
    words = r"subj02 cannot be joined with \S+subj01, .*targets\.a\.shift: 0 and 3, generator\.strength: 0\.5 and 0\.25: run"
    with pytest.raises(RunError, match=words):
        check_alike([first, replace(other, records=spoilt)])
    metrics = changed(other.records["evaluate"], "evaluation", profile="demo")
    with pytest.raises(RunError, match=r"differ in evaluation\.profile: pixels and demo: run one of them"):
        check_alike([first, replace(other, records={**other.records, "evaluate": metrics})])


def changed(record, entry, **values):
    settings = record["settings"]
    return {**record, "settings": {**settings, entry: {**settings[entry], **values}}}


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (
            [5, 6, 7, 8, 4],
            "1 of 5 test pictures of subj01 are also among the 5 of subj02, .* test picture 0: stimulus 16 in .*subj01",
        ),
        (
            [1, 0, 2, 3, 4],
            "tested the same pictures in different orders, .* test picture 0: stimulus 16 in .*stimulus 16 in",
        ),
        (
            [0, 1, 2, 3],
            "4 of 5 test pictures of subj01 are also among the 4 of subj02, .* picture 4: stimulus 20 in .*none in",
        ),
    ],
    ids=["others", "other order", "fewer"],
)
def test_runs_of_other_test_pictures_are_refused_with_counts_and_names(runs, copies, order, words):
    spoilt = replace(open_member(copies[1]), name="subj02")
    pictures = {number: load_png([spoilt.results.picture_path("seen", number)]) for number in range(N)}
    for place, number in enumerate(order):
        rewrite(spoilt, place, pictures[number] if number < N_TEST else 1 - pictures[number])
    if len(order) < N_TEST:
        (copies[1] / "test_sets.json").write_text(json.dumps({"test": [0, len(order)]}))
    members = [open_member(runs[0]), spoilt]
    with pytest.raises(RunError, match=words):
        check_alike(members)
    joined = check_alike(members, same_pictures=False)
    if len(order) == N_TEST:
        assert join_members(members, joined, shared=False)["metrics"]["own"]["value"] == 1.0


def rewrite(member, number, picture, **options):
    """Write another picture as seen, and note it in the record."""
    path = member.results.picture_path("seen", number)
    Image.fromarray(to_uint8(picture)[0]).save(path, **options)
    files = member.records["evaluate"]["files"]
    files[f"reconstructions/seen/{number:04d}.png"] = list(state_of(path))


def test_pictures_are_compared_by_pixels_where_files_differ(runs, copies):
    other = open_member(copies[1])
    rewrite(other, 0, load_png([other.results.picture_path("seen", 0)]), compress_level=1)
    first = open_member(runs[0])
    assert first.seen_hashes("test") != other.seen_hashes("test")
    assert check_alike([first, other]).test_sets == ("test", "further")


def test_what_may_differ_is_said(runs):
    first, other = open_members(runs)
    experiment = other.experiment.changed({"seed": 8, "responses": {"normalisation": "training"}})
    alike = check_alike([first, replace(other, experiment=experiment, subject="subj01")])
    remarks = " ".join(alike.remarks)
    assert "Runs differ in responses.normalisation: session (subj01), training (subj02)." in remarks
    assert "Runs differ in seed: 7 (subj01), 8 (subj02)." in remarks
    assert "Several runs say that their subject is subj01" in remarks
    assert check_alike([first, other]).remarks == ()


# Members


def test_a_run_that_is_not_whole_is_refused_with_what_to_run(copies):
    first = copies[0]
    (first / "decoders" / "a.safetensors").unlink()  # is not read
    open_member(first)
    (first / "reconstructions" / "final" / "0001.png").write_bytes(b"")
    with pytest.raises(RunError, match=r"final/0001\.png is empty: run `braindiffuser run --out \S+subj01` first"):
        open_member(first)
    (copies[1] / "steps" / "evaluate.json").unlink()
    with pytest.raises(RunError, match="subj02 is not finished, it lacks evaluate: run"):
        open_member(copies[1])


def test_a_run_whose_steps_do_not_belong_together_is_refused(copies):
    store = Store(copies[0])
    store.update_record("fit.a", uid="another")
    with pytest.raises(RunError, match=r"was computed from an earlier fit\.a: run `braindiffuser run"):
        open_member(copies[0])
    manifest = store.manifest
    manifest["experiment"]["generator"]["strength"] = 0.1
    store.update_manifest(experiment=manifest["experiment"])
    with pytest.raises(
        RunError, match=r"reconstruct\.\w+ of .* was made with other settings .*generator\.strength was 0\.5"
    ):
        open_member(copies[0])


def test_members_are_two_or_more_different_runs(runs, tmp_path):
    with pytest.raises(RunError, match="got 1 run, and a study puts two or more together"):
        open_members(runs[:1])
    with pytest.raises(RunError, match="are the same run: name each once"):
        open_members([runs[0], runs[0].parent / "." / runs[0].name])
    with pytest.raises(RunError, match="is not there: name the folder of a finished run"):
        open_members([runs[0], tmp_path / "none"])
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    with pytest.raises(RunError, match="have the same betas, and a study counts each subject once"):
        check_alike(open_members([runs[0], copy]))


def test_one_person_with_other_sessions_under_another_name_is_refused(runs, tmp_path):
    """The files of the sessions that are read are equal byte for byte; responses, averages of fewer trials, are not."""
    root = Path(shutil.copytree(open_member(runs[1]).experiment.dataset.root, tmp_path / "recording"))
    (root / "sessions" / "3.npy").unlink()
    fewer = finish(tmp_path / "fewer", root, "another")
    with pytest.raises(
        RunError, match=r"have the same betas, and a study counts each subject once: name one of the two$"
    ):
        check_alike(open_members([runs[1], fewer]))


@pytest.mark.parametrize("left_out", [[(1, 1, 1)], [(0, 0, 1), (1, 1, 1)]], ids=["as many voxels", "fewer"])
def test_one_person_read_with_another_mask_under_another_name_is_refused(runs, tmp_path, left_out):
    root = Path(shutil.copytree(open_member(runs[1]).experiment.dataset.root, tmp_path / "recording"))
    mask = np.load(root / "mask.npy") if len(left_out) > 1 else np.ones((2, 2, 2), bool)
    mask[tuple(np.transpose(left_out))] = False
    np.save(root / "mask.npy", mask)
    with pytest.raises(RunError, match="have the same betas, and a study counts each subject once"):
        check_alike(open_members([runs[1], finish(tmp_path / "masked", root, "another")]))


def test_people_whose_betas_are_in_the_same_files_are_joined(copies):
    contents = Store(copies[0]).record("prepare.responses")["contents"]
    Store(copies[1]).update_record("prepare.responses", contents=contents)
    assert not [sentence for sentence in check_alike(open_members(copies)).remarks if "files" in sentence]
    said = f"{NAMES[0]} and {NAMES[1]} were read from the same files of betas, and nothing says whether they are one person"
    voxels = copies[0] / "voxels.json"
    voxels.write_text(json.dumps(json.loads(voxels.read_text()) | {"places": "elsewhere"}))
    rewritten(copies[0], "prepare.responses", "voxels.json")
    assert [sentence for sentence in check_alike(open_members(copies)).remarks if sentence.startswith(said)]
    shutil.copy(copies[1] / "voxels.json", voxels)
    rewritten(copies[0], "prepare.responses", "voxels.json")
    assert not [sentence for sentence in check_alike(open_members(copies)).remarks if sentence.startswith(said)]
    for copy in copies:
        (copy / "sums.npz").unlink()
    assert [sentence for sentence in check_alike(open_members(copies)).remarks if sentence.startswith(said)]


def rewritten(folder, step, name):
    """Note in a step's record that one of its files was written anew."""
    files = Store(folder).record(step)["files"]
    Store(folder).update_record(step, files=files | {name: list(state_of(folder / name))})


# The folder


def test_a_member_that_has_the_name_of_something_else_is_named_by_its_folder_too(runs, monkeypatch):
    assert {SUB_AVG, LABEL} <= set(TAKEN)
    monkeypatch.setattr("braindiffuser.study.members.given_name", lambda name: "Sub Avg" if name == NAMES[0] else name)
    first, second = open_members(runs)
    assert (first.name, second.name) == (f"Sub Avg ({runs[0].as_posix()})", NAMES[1])


def test_what_is_there_is_never_replaced(runs, finished, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "scores.json").write_text("{}")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "tables").symlink_to(tmp_path / "foreign")
    for folder, words in {
        tmp_path / "file": "is a file: name a folder for the study",
        tmp_path / "foreign": "holds scores.json, but no study: name another folder, or move",
        tmp_path / "linked": "tables is a link",
        runs[0]: "lies in the run",
        runs[0] / "below": "lies in the run",
    }.items():
        with pytest.raises(RunError, match=words):
            run_study(runs, folder)
    folder = Path(shutil.copytree(finished[0], tmp_path / "edited"))
    (folder / "index.html").write_text("mine")
    (folder / "steps" / "page.json").unlink()
    with pytest.raises(RunError, match=r"index\.html was not written by page, which would replace it"):
        run_study(runs, folder, n_permutations=20)


@pytest.mark.parametrize("below", [".", "subject-average"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_run_is_not_written_into_a_study(finished, runs, tmp_path, lost, below):
    study = Path(shutil.copytree(finished[0], tmp_path / "study"))
    if lost:
        (study / "manifest.json").unlink()
    experiment, before = stored_experiment(runs[0]), state(study)
    writers = (
        lambda folder: Run.open(experiment, folder, overwrite=True),
        lambda folder: Run.open(None, folder),
        open_member,
    )
    for write in writers:
        with pytest.raises(RunError, match=r"holds a study.*: name one of its runs, or another folder"):
            write(study / below)
    assert state(study) == before


@pytest.mark.parametrize("below", [".", "sessions", "new"])
@pytest.mark.parametrize("number", [0, 1], ids=["recording is gone", "recording is there"])
def test_a_study_is_not_written_into_a_recording(runs, number, below):
    recording = open_member(runs[number]).experiment.dataset.folder
    before = state(recording)
    with pytest.raises(RunError, match=r"overlaps the recording .*: choose a folder outside it"):
        run_study(runs, recording / below, n_permutations=0)
    assert state(recording) == before


@pytest.mark.parametrize(
    "name", ["subject-average/reconstructions", "subject-average/arrays/predictions", "unfinished"]
)
def test_a_study_writes_through_no_link_inside_it(runs, finished, tmp_path, name):
    folder = Path(shutil.copytree(finished[0], tmp_path / "study"))
    (folder / name).mkdir(exist_ok=True)
    theirs = (folder / name).rename(tmp_path / "theirs")
    (folder / name).symlink_to(theirs)
    before = state(theirs)
    with pytest.raises(RunError, match=f"{Path(name).name} is a link, and"):
        run_study(runs, folder, n_permutations=20)
    assert state(theirs) == before


@pytest.mark.parametrize("step", ["fit.a", "evaluate"])
def test_a_run_that_is_made_anew_while_a_study_works_is_not_mixed_in(copies, tmp_path, monkeypatch, step):
    monkeypatch.setattr(study, "check_alike", _made_anew(Store(copies[1]), step))
    with pytest.raises(RunError, match=rf"{step} of \S+subj02 was made anew while .*: run the same command again"):
        run_study(copies, tmp_path / "study", n_permutations=0)
    assert not list((tmp_path / "study").rglob("*.zarr")) + list((tmp_path / "study").rglob("scores.json"))
    with pytest.raises(RunError, match="was made anew"):
        run_study(copies, tmp_path / "study", average=False, n_permutations=0)
    assert not (tmp_path / "study" / "scores.json").exists()


def _made_anew(store, step):
    def late(members, **options):
        store.update_record(step, uid=f"{store.record(step)['uid']} again")
        needing = {"fit.a": ("compare", "reconstruct.final", "reconstruct.rough", "evaluate"), "evaluate": ()}[step]
        for name in needing:
            store.update_record(name, needs={**store.record(name)["needs"], step: store.record(step)["uid"]})
        return check_alike(members, **options)

    return late
