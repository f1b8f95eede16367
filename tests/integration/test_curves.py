"""Curves and the audit of a run of fakes, whose every path is known; what is kept is not computed again."""

import json
import shutil
from html import unescape

import fakes
import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.run import Run

CURVES = [
    {"kind": "curve", "over": "repeats", "points": [1, 3]},
    {"kind": "curve", "over": "training", "points": [8, 10]},
    {"kind": "curve", "over": "sessions", "points": [1, 2]},
]


def experiment(root, *analyses):
    return fakes.fake_experiment(root, analyses=list(analyses))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = fakes.write_recording(tmp_path_factory.mktemp("told") / "recording")
    run = Run.open(experiment(root, {"kind": "split_audit"}, *CURVES), root.parent / "run")
    run.run_all()
    return run, root


def test_curves_and_audit_of_a_run_are_on_its_page(finished):
    run, _ = finished
    page = (run.results.folder / "report/index.html").read_text()
    for words in (
        "How long must one scan?",
        "Score over repeats",
        "Score over the number of",
        "Do test pictures resemble",
    ):
        assert words in page
    training = run.results.read_json("analyses/curve_training.json")
    assert [point["at"] for point in training["points"]] == [8, 10, fakes.N_TRAIN]
    sessions = run.results.read_json("analyses/curve_sessions.json")
    trials = run.results.read_table("trials.csv")
    train = trials[trials["split"] == "train"]
    assert [point["n_trials"] for point in sessions["points"]] == [
        int((train["session"] <= count).sum()) for count in (1, 2, 3)
    ]
    repeats = run.results.read_json("analyses/curve_repeats.json")
    assert repeats["n"] == fakes.N_TEST
    audit = run.results.read_json("analyses/split_audit.json")
    assert audit["sets"].keys() == {"test", "further"}
    assert len(run.results.read_table("analyses/split_audit/nearest.csv")) == fakes.N


def test_the_verdict_that_a_program_gets_is_that_of_the_page(finished):
    run, _ = finished
    page = unescape((run.results.folder / "report/index.html").read_text()).replace("\xa0", " ")
    found = run.verdict()
    assert "not_audited" not in {each.name for each in found}
    assert all(each.sentence in page for each in found if "`" not in each.sentence)
    assert {each.kind for each in found} > {"limited"}


def test_other_points_compute_only_what_is_new(finished, tmp_path):
    run, root = finished
    shutil.copytree(run.results.folder, tmp_path / "run")
    kept = tmp_path / "run/analyses/curve_training/kept"
    (place,) = kept.glob("training-10-of-*.json")
    before = json.loads(place.read_text())
    more = experiment(root, {"kind": "curve", "over": "training", "points": [9, 10]})
    again = Run.open(more, tmp_path / "run", overwrite=True)
    again.do("analyse")
    assert json.loads(place.read_text()) == before
    names = sorted(path.name.partition("-of-")[0] for path in kept.iterdir())
    assert names == ["training-10", "training-12", "training-9"]
    place.unlink()
    place.mkdir()
    with pytest.raises(RunError, match=f"{place.name} cannot be read or written: it is a folder"):
        Run.open(experiment(root, CURVES[1]), tmp_path / "run", overwrite=True).do("analyse")


def test_single_trials_average_to_responses_and_parts_are_kept(finished, tmp_path):
    run, root = finished
    shutil.copytree(run.results.folder, tmp_path / "run")
    computed = []
    for entries in ({}, {"word": "other"}, {"number": 1}):
        fakes.COMPUTED.clear()
        asked = experiment(root, {"kind": "fakes:Averages", **entries})
        again = Run.open(asked, tmp_path / "run", overwrite=True)
        again.do("analyse")
        computed.append(list(fakes.COMPUTED))
    assert computed == [["train", "test"], [], ["train", "test"]]
    facts = again.results.read_json("analyses/averages.json")
    for side in facts["sides"].values():
        assert side["distance"] < 1e-5
        assert side["sessions"] == [1, 2, 3]
    ids = again.results.read_array("stimuli/test_ids").tolist()
    assert facts["sides"]["test"]["counts"] == [fakes.repeats_of(number) for number in ids]
    assert (facts["chain"], facts["own"]) == (["rough", "full"], 0.5)
    assert facts["blue"] == pytest.approx(0.25)
    assert facts["start"] == 7, "what is begun is started from"
    assert np.isfinite(facts["blue"])
