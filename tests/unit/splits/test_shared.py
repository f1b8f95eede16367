"""Laws of the split by stimuli that every subject saw."""

import unicodedata
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from braindiffuser.datasets import Arrays
from braindiffuser.datasets.shared_stimuli import shown_to_all
from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_hashes import recording_files
from braindiffuser.splits import Shared

from .test_folds import recording, stimuli_that_test


@given(st.lists(st.booleans(), min_size=6, max_size=20), st.integers(0, 3))
def test_the_column_shared_decides_and_further_test_sets_stay(chosen, n_apart):
    n = len(chosen)
    apart = np.arange(n)[:n_apart]
    own = recording([2] * n, {"imagined": apart} if n_apart else {}, shared=[int(word) for word in chosen])
    expected = [number for number in range(n_apart, n) if chosen[number]]
    if not 2 <= len(expected) <= n - n_apart - 2:
        with pytest.raises(
            RecordingError, match=rf"what every subject saw .* lets {len(expected)} of {n - n_apart} stimuli test"
        ):
            Shared().divide(own)
        return
    divided = Shared().divide(own)
    assert stimuli_that_test(divided) == expected
    assert set(divided.trials["split"]) == {"train", "test"}
    assert divided.test_sets.get("imagined", np.empty(0)).tolist() == apart.tolist()
    assert "by the column shared" in divided.split_remark


def test_what_the_layout_knows_comes_second_and_is_read_when_it_is_asked_for():
    asked = []

    def read():
        asked.append(1)
        return np.array([1, 4, 99]), "by their names"

    own = replace(recording([1] * 6), shared=read)
    assert not asked
    assert stimuli_that_test(Shared().divide(own)) == [1, 4]
    with_column = replace(recording([1] * 6, shared=[1, 1, 0, 0, 0, 0]), shared=read)
    assert stimuli_that_test(Shared().divide(with_column)) == [0, 1]


def test_a_recording_that_does_not_say_it_is_told_what_to_write():
    with pytest.raises(RecordingError, match=r"does not say which .* add a column shared .* split: \{kind: listed"):
        Shared().divide(recording([1] * 6))
    with pytest.raises(
        RecordingError, match=r"holds no table of trials of another subject.* put theirs beside it, or add"
    ):
        shown_to_all({0: "a"}, {}, "folder")


@given(st.dictionaries(st.sampled_from("bcd"), st.sets(st.sampled_from("stuvw")), min_size=1))
def test_shared_is_what_all_others_saw(shown):
    names = dict(enumerate("stuvw"))
    ids, how = shown_to_all(names, shown, "folder")
    assert {names[number] for number in ids.tolist()} == set("stuvw").intersection(*shown.values())
    assert all(subject in how for subject in shown)


SPELLINGS = {
    "without suffix": lambda name: name.removesuffix(".png"),
    "in folders": lambda name: f"stimuli/{name}",
    "in folders of Windows": lambda name: rf"C:\stimuli\{name}",
    "another format": lambda name: name.replace(".png", ".JPG"),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_names_are_compared_as_those_of_pictures_are(spelling):
    names = {3: "é1.png", 5: "é2.png", 8: "a/é3.png", 9: "é4.png"}
    shown = {"b": {spelling("é1.png"), "é2.png", "é7.png"}, "c": {"é1.png", spelling("é2.png"), spelling("é4.png")}}
    assert shown_to_all(names, shown, "t.csv")[0].tolist() == [3, 5]
    assert shown_to_all(names, {"b": {"b/é3.png", "é1.gif.old", "x1.png"}}, "t.csv")[0].tolist() == []


def test_the_very_name_comes_before_others_and_what_may_be_two_is_refused():
    names = {0: "a.png", 1: "a.jpg", 2: "x/b.png", 3: "y/b.png"}
    assert shown_to_all(names, {"b": {"a.jpg", "z/x/b.jpg"}}, "t.csv")[0].tolist() == [1, 2]
    assert shown_to_all(names, {"b": {"z/a.jpg"}}, "t.csv")[0].tolist() == [1]
    with pytest.raises(
        RecordingError, match=r"t\.csv: 'b', which other saw, may be 'x/b\.png' or 'y/b\.png'.*write their"
    ):
        shown_to_all(names, {"other": {"b"}}, "t.csv")


@pytest.fixture(params=["one array for all", "an array of the subject"])
def lab(request, tmp_path):
    """A table of three subjects: pictures 0 to 3 were seen by all, the others by one or two."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(14):
        raw = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(raw).save(tmp_path / "pictures" / f"{number:02}.png")
    seen = {"a": [*range(8), 12], "b": [*range(4), 8, 9, 12], "c": [*range(4), 10, 11, 4]}
    rows = [(subject, f"{number:02}.png") for subject, numbers in seen.items() for number in numbers for _ in range(2)]
    table = pd.DataFrame(rows, columns=["subject", "stim_file"]).sample(frac=1, random_state=1).reset_index(drop=True)
    betas = rng.normal(size=(len(table), 5)).astype(np.float32)
    own = table["subject"].to_numpy() == "a"
    np.save(tmp_path / "betas.npy", betas if request.param == "one array for all" else betas[own])
    table.to_csv(tmp_path / "trials.csv", index=False)
    part = {
        "kind": "arrays", "responses": str(tmp_path / "betas.npy"), "trials": str(tmp_path / "trials.csv"),
        "pictures": str(tmp_path / "pictures"), "unit": "z", "subject": "a",
    }  # fmt: skip
    return part, table[own]["stim_file"].tolist(), betas[own]


def test_a_table_of_several_subjects_says_what_all_saw(lab, tmp_path):
    part, names, betas = lab
    own = Arrays.model_validate(part).open(tmp_path)
    assert own.trials["stimulus_id"].map(own.names).tolist() == names
    np.testing.assert_array_equal(own.betas_of(1), betas)
    divided = Shared().divide(own)
    assert {divided.names[number] for number in stimuli_that_test(divided)} == {
        f"{number:02}.png" for number in range(4)
    }
    with pytest.raises(RecordingError, match=r"holds the subjects a, b, c, but dataset.subject is not given: name"):
        Arrays.model_validate({key: value for key, value in part.items() if key != "subject"}).open(tmp_path)


@pytest.mark.parametrize("own", [True, False])
def test_numbers_that_a_program_wrote_as_fractions_are_the_same_pictures(lab, tmp_path, own):
    part = lab[0]
    table = pd.read_csv(tmp_path / "trials.csv", dtype=str)
    for path in (tmp_path / "pictures").iterdir():
        path.rename(path.with_name(f"{int(path.stem)}.png"))
    whole = table["stim_file"].str.removesuffix(".png").astype(int).astype(str)
    table["stim_file"] = whole.where((table["subject"] == "a") != own, whole + ".0")
    table.to_csv(tmp_path / "trials.csv", index=False)
    divided = Shared().divide(Arrays.model_validate(part).open(tmp_path))
    assert {divided.names[number] for number in stimuli_that_test(divided)} == set("0123")


def test_a_trial_of_no_subject_is_refused_among_those_of_several(lab, tmp_path):
    table = pd.read_csv(tmp_path / "trials.csv", dtype=str)
    table.loc[3, "subject"] = "n/a"
    table.to_csv(tmp_path / "trials.csv", index=False)
    with pytest.raises(RecordingError, match="column subject is empty in row 3, counted from 0"):
        Arrays.model_validate(lab[0]).open(tmp_path)


def test_a_column_of_a_table_of_trials_says_it_and_must_agree(lab, tmp_path):
    part, _, _ = lab
    table = pd.read_csv(tmp_path / "trials.csv", dtype=str)
    table["Shared"] = np.where(table["stim_file"].isin(["05.png", "06.png"]), "yes", "no")
    table.to_csv(tmp_path / "trials.csv", index=False)
    divided = Shared().divide(Arrays.model_validate(part).open(tmp_path))
    assert {divided.names[number] for number in stimuli_that_test(divided)} == {"05.png", "06.png"}
    table.loc[table.index[table["subject"] == "a"][0], "Shared"] = "maybe"
    table.to_csv(tmp_path / "trials.csv", index=False)
    with pytest.raises(RecordingError, match="column shared differs between trials of one stimulus"):
        Arrays.model_validate(part).open(tmp_path)


def test_tables_of_others_are_a_part_of_the_recordings_identity_only_where_they_decide(lab, monkeypatch, tmp_path):
    part, _, _ = lab
    table = tmp_path / "other.csv"
    table.write_text("stimulus\n00.png\n")
    monkeypatch.setattr(Arrays, "files_of_others", lambda self: {"sub-02/other.csv": table})
    plain = Experiment.load("demo").changed({"dataset": part})
    assert "split/sub-02/other.csv" in recording_files(plain.changed({"split": {"kind": "shared"}}))["design"]
    assert not any("other.csv" in name for named in recording_files(plain).values() for name in named)
