import contextlib
import json
import unicodedata
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.recording_facts import notes_on
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.splits import Cluster, Folds, Layout, Listed, MostRepeated, Shared
from braindiffuser.splits.split import check_sides


def recording(counts, split=""):
    """Stimuli a, b, c …, shown so often."""
    ids = np.repeat(np.arange(len(counts)), counts)
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": np.arange(len(ids)), "stimulus_id": ids})
    trials["repeat"], trials["split"] = number_repeats(ids), split
    names = pd.DataFrame({"name": [f"{chr(97 + n)}.png" for n in range(len(counts))]})
    return Recording(
        "me", trials, Voxels(3), {}, lambda session: np.zeros((len(ids), 3), np.float32), "z", stimuli=names
    )


def sides(divided):
    first = divided.trials.drop_duplicates("stimulus_id")
    return dict(zip(first["stimulus_id"], first["split"], strict=True))


def test_the_layouts_own_split_is_kept():
    own = recording([2, 2, 2], ["train", "train", "test", "test", "out", "out"])
    assert Layout().divide(own) is own


def test_stimuli_that_stand_out_by_their_repeats_test_and_it_is_said():
    divided = Layout().divide(recording([2, 2, 1, 2, 2, 5, 4, 2]))
    assert sides(divided) == {n: "test" if n in (5, 6) else "train" for n in range(8)}
    assert divided.split_remark == (
        "The recording does not say which stimuli test: the 2 that were shown 4 times or more are taken; the others were shown 2 "
        "times or less. A column split (train, test) of the trials would say it."
    )


@pytest.mark.parametrize("counts", [[2, 2, 2, 2], [1, 1, 1, 3], [1, 1, 1, 4, 4, 4]])
def test_a_split_is_never_made_up(counts):
    with pytest.raises(
        RecordingError, match=r"does not say which stimuli test, and none stand out .* add a column split"
    ):
        Layout().divide(recording(counts))


def test_the_most_repeated_test():
    assert sides(MostRepeated(n_repeats=3).divide(recording([1, 3, 4, 2]))) == {
        0: "train",
        1: "test",
        2: "test",
        3: "train",
    }
    for n, words in ((9, "0 of 4 stimuli test and 4 train"), (1, "4 of 4 stimuli test and 0 train")):
        with pytest.raises(
            RecordingError,
            match=rf"split.n_repeats {n} \(stimuli were shown 1 to 4 times\) lets {words}, .* use another",
        ):
            MostRepeated(n_repeats=n).divide(recording([1, 3, 4, 2]))


def test_a_list_names_those_that_test(tmp_path):
    (tmp_path / "test.txt").write_text("b.png\n\nd.png \nnever.png\n")
    split = Listed(test=tmp_path / "test.txt")
    divided = split.divide(recording([1, 1, 1, 1]))
    assert sides(divided) == {0: "train", 1: "test", 2: "train", 3: "test"}
    assert (
        divided.split_remark
        == "Split: 2 test stimuli as listed in test.txt (1 others on the list were not shown: never.png)."
    )
    assert split.files() == {"test.txt": tmp_path / "test.txt"}


@pytest.mark.parametrize("variants", [True, False])
def test_a_list_may_name_both_sides(tmp_path, variants):
    sides_of = {"train_ids": ["a.png", "e.png"], "test_ids": ["b.png", "d.png"]}
    other = {"train_ids": ["b.png"], "test_ids": ["a.png", "c.png"]}
    (tmp_path / "s.json").write_text(json.dumps({"variants": [other, sides_of]} if variants else sides_of))
    divided = Listed(test=tmp_path / "s.json", variant=int(variants)).divide(recording([1] * 5))
    assert sides(divided) == {0: "train", 1: "test", 2: "out", 3: "test", 4: "train"}
    assert divided.split_remark.endswith("1 stimuli are on neither side.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing; expected the names of test stimuli"),
        ("x\ny\n", r"lists 2 test stimuli \(x, y …\), of which none was shown; names are such as 'a.png'"),
        ('{"train_ids": ["a.png"], "test_ids": ["a.png", "b.png"]}', "lists 'a.png' as train and as test"),
        ('{"test_ids": ["a.png"]}', "is no split: expected"),
        ("{", "is no split: expected"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path, content, words):
    path = tmp_path / ("s.json" if content and content[0] == "{" else "s.txt")
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecordingError, match=words):
        Listed(test=path).divide(recording([1, 1, 1, 1]))


@pytest.mark.parametrize("name", ["B", "B.png", "b.jpg"])
def test_names_that_nearly_match_are_no_training_stimuli(tmp_path, name):
    (tmp_path / "t.txt").write_text(f"a.png\nc.png\n{name}\n")
    with pytest.raises(RecordingError, match=rf"lists '{name}', which was not shown, though 'b\.png' was"):
        Listed(test=tmp_path / "t.txt").divide(recording([1, 1, 1, 1]))


@pytest.mark.parametrize("name", ["1443530.099999", "other/b.png", "x"])
def test_names_that_differ_in_more_than_case_and_suffix_are_no_near_ones(tmp_path, name):
    own = recording([1, 1, 1, 1])
    own = replace(own, stimuli=pd.DataFrame({"name": ["1443530.022568", "in/b.png", "c.png", "d.png"]}))
    (tmp_path / "t.txt").write_text(f"c.png\nd.png\n{name}\n")
    assert "were not shown" in Listed(test=tmp_path / "t.txt").divide(own).split_remark


def named(*names):
    own = recording([1] * len(names))
    return replace(own, stimuli=pd.DataFrame({"name": names}))


SCENES = ("images/img_001.png", "images/img_002.png", "images/img_003.png", "images/img_004.png")


@pytest.mark.parametrize(
    "listed",
    [
        ("img_001", "img_003"),
        ("img_001.png", "img_003.png"),
        ("images/img_001", "/data/images/img_003.png"),
        (r"C:\stim\images\img_001.png", "img_003"),
        ("stim_file", "img_001", "img_003"),
        ("img_001", "images/img_001.png", "img_003"),
    ],
)
def test_folders_and_suffixes_may_be_left_out(tmp_path, listed):
    (tmp_path / "t.txt").write_text("\n".join(listed))
    (tmp_path / "t.json").write_text(json.dumps(listed))
    for name in ("t.txt", "t.json"):
        divided = Listed(test=tmp_path / name).divide(named(*SCENES))
        assert sides(divided) == {0: "test", 1: "train", 2: "test", 3: "train"}
        assert "not shown" not in divided.split_remark
        assert ("with a suffix or without one (" in divided.split_remark) == any(
            not line.endswith(".png") for line in listed if line != "stim_file"
        )


def test_names_may_have_a_suffix_that_those_of_the_recording_lack(tmp_path):
    (tmp_path / "t.txt").write_text("a.png\nb.jpg\n")
    assert sides(Listed(test=tmp_path / "t.txt").divide(named("a", "b", "c", "d")))[1] == "test"


def test_all_doubtful_names_are_in_one_message_and_the_very_name_is_none(tmp_path):
    own = named("x/a.png", "y/a.png", "b.png", "c.jpg", "c.png", "d.png")
    (tmp_path / "t.txt").write_text("a\nB.png\nc\nd\nnever\n")
    with pytest.raises(RecordingError) as caught:
        Listed(test=tmp_path / "t.txt").divide(own)
    assert str(caught.value).removeprefix(f"{tmp_path / 't.txt'} lists ") == (
        "'a', which may be 'x/a.png' or 'y/a.png', and 'c', which may be 'c.jpg' or 'c.png', and 'B.png', which was not shown, "
        "though 'b.png' was: write names as the recording does"
    )
    (tmp_path / "t.txt").write_text("x/a\nb.png\nc.jpg\n")
    assert [n for n, side in sides(Listed(test=tmp_path / "t.txt").divide(own)).items() if side == "test"] == [0, 2, 3]


def test_one_stimulus_under_two_names_is_on_one_side(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"train_ids": ["a.png", "c.png"], "test_ids": ["a", "b", "d"]}))
    with pytest.raises(RecordingError, match=r"lists 'a\.png' as train and as test"):
        Listed(test=tmp_path / "s.json").divide(recording([1] * 5))


def with_sets(counts, *ids):
    own = recording(counts)
    return replace(own, further_test_sets={"imagery": np.array(ids)})


def test_further_test_sets_do_not_count_where_stimuli_stand_out_by_their_repeats():
    divided = Layout().divide(with_sets([2, 2, 2, 2, 2, 2, 5, 5, 9, 9], 8, 9))
    assert {name: ids.tolist() for name, ids in divided.test_sets.items()} == {"test": [6, 7], "imagery": [8, 9]}
    with pytest.raises(
        RecordingError, match="does not say which stimuli test beside those of imagery, and none stand out"
    ):
        Layout().divide(with_sets([2, 2, 2, 2, 9, 9], 4, 5))
    with pytest.raises(RecordingError, match=r"all stimuli belong to further test sets \(imagery\), so none are left"):
        Layout().divide(with_sets([2, 2], 0, 1))


def test_the_most_repeated_are_counted_without_further_test_sets():
    divided = MostRepeated(n_repeats=3).divide(with_sets([1, 3, 4, 2, 9, 9], 4, 5))
    assert "the 2 stimuli that were shown 3 times or more" in divided.split_remark
    assert {name: ids.tolist() for name, ids in divided.test_sets.items()} == {"test": [1, 2], "imagery": [4, 5]}
    with pytest.raises(RecordingError, match=r"lets 0 of 4 stimuli test beside those of imagery and 4 train"):
        MostRepeated(n_repeats=5).divide(with_sets([1, 3, 4, 2, 9, 9], 4, 5))


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("abab", "2 test stimuli as listed in t.txt."),
        ("abe", "2 test stimuli as listed in t.txt (1 others belong to further test sets, which test in any split)."),
        (
            "abeefx",
            "(1 others on the list were not shown: x.png; 2 others belong to further test sets, which test in any split).",
        ),
    ],
)
def test_names_on_a_list_are_counted_once_and_by_what_they_are(tmp_path, listed, words):
    (tmp_path / "t.txt").write_text("".join(f"{name}.png\n" for name in listed))
    divided = Listed(test=tmp_path / "t.txt").divide(with_sets([1] * 6, 4, 5))
    assert divided.split_remark.endswith(words)
    assert {name: ids.tolist() for name, ids in divided.test_sets.items()} == {"test": [0, 1], "imagery": [4, 5]}


@pytest.mark.parametrize(
    ("listed", "words"),
    [("ef", "lets 0 of 4 stimuli test"), ("abcdef", "lets 4 of 4 .* and 0 train"), ("aa", "lets 1 of 4 stimuli test")],
)
def test_lists_that_leave_too_few_on_a_side_are_refused_with_what_to_do(tmp_path, listed, words):
    (tmp_path / "t.txt").write_text("".join(f"{name}.png\n" for name in listed))
    with pytest.raises(
        RecordingError, match=rf"t\.txt .*{words}.*: list more of those that should test, and leave others"
    ):
        Listed(test=tmp_path / "t.txt").divide(with_sets([1] * 6, 4, 5))


@pytest.mark.parametrize("first", ["", "Split: tau."])
def test_a_new_split_replaces_what_was_said_of_the_old_one(first):
    own = replace(recording([3, 3, 1, 1, 1]), split_remark=first, remarks=("Other.",))
    divided = MostRepeated(n_repeats=3).divide(own)
    assert divided.remarks == ("Other.",)
    assert divided.split_remark == "Split: the 2 stimuli that were shown 3 times or more test."
    again = MostRepeated(n_repeats=2).divide(divided)
    assert [said for said in notes_on(again) if "plit" in said] == [again.split_remark]


@pytest.mark.parametrize(("of_list", "of_recording"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_the_same_however_they_are_stored(tmp_path, of_list, of_recording):
    names = ["\u00e9.png", "\u00fc.png", "c.png", "d.png"]
    own = recording([1, 1, 1, 1])
    own = replace(own, stimuli=pd.DataFrame({"name": [unicodedata.normalize(of_recording, name) for name in names]}))
    listed = "\n".join(unicodedata.normalize(of_list, name) for name in names[:2])
    (tmp_path / "t.txt").write_text(listed, encoding="utf-8")
    assert sides(Listed(test=tmp_path / "t.txt").divide(own)) == {0: "test", 1: "test", 2: "train", 3: "train"}


@pytest.mark.parametrize(
    ("split", "further", "words"),
    [
        (["train"] * 4, {}, "^no stimulus tests, but scores compare two or more"),
        (["train", "train", "train", "test"], {}, "^the test set test has one stimulus, but"),
        (["train", "test", "test", "test"], {}, "^1 stimuli train, but scores .* learn from two or more"),
        (
            ["train", "train", "test", "test"],
            {"apart": [2]},
            "^the test set apart has one stimulus, .* no split changes it",
        ),
        (
            ["train", "train", "test", "test"],
            {"apart": [2, 3]},
            "^all test stimuli belong to further test sets .apart., none",
        ),
        (["train", "train", "test", "test"], {}, None),
    ],
)
def test_two_stimuli_are_needed_to_train_and_in_every_test_set(split, further, words):
    own = replace(
        recording([1] * 4, split), further_test_sets={name: np.array(numbers) for name, numbers in further.items()}
    )
    refused = contextlib.nullcontext() if words is None else pytest.raises(RecordingError, match=words)
    with refused:
        check_sides(own)


@pytest.mark.parametrize("split", [Folds(n_folds=2), Shared(), Listed, Cluster(n_clusters=2)], ids=str)
def test_stimuli_on_neither_side_stay_there_and_it_is_said(tmp_path, split):
    own = recording([1] * 8, ["out", "out", *["train"] * 5, "test"])
    names = own.stimuli.assign(shared=[1, 0, 1, 1, 0, 0, 0, 0])
    pictures = np.random.default_rng(0).uniform(size=(8, 3, 16, 16)).astype(np.float32)
    pictures[:5] *= 0.1
    own = replace(own, stimuli=names, pictures=lambda ids: pictures[ids])
    if split is Listed:
        (tmp_path / "test.txt").write_text("c.png\nd.png\n")
        split = Listed(test=tmp_path / "test.txt")
    divided = split.divide(own)
    assert [number for number, side in sides(divided).items() if side == "out"] == [0, 1]
    assert set(sides(divided).values()) == {"train", "test", "out"}
    assert divided.split_remark.endswith(" 2 stimuli stay on neither side, as the recording says (split: out).")


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (["A", "c.png"], "lists 'A', which was not shown, though 'a.png' was"),
        (["x", "y"], r"lists 2 training stimuli \(x, y …\), of which none was shown; names are such as 'a.png'"),
        ([], "lists 0 training stimuli"),
        ("abc", "is no split: expected"),
        ({"a.png": 1, "c.png": 2}, "is no split: expected"),
        ([["a.png"], "c.png"], "is no split: expected"),
    ],
)
def test_names_of_training_stimuli_are_compared_as_those_that_test(tmp_path, train, words):
    (tmp_path / "s.json").write_text(json.dumps({"train_ids": train, "test_ids": ["b.png", "d.png"]}))
    with pytest.raises(RecordingError, match=words):
        Listed(test=tmp_path / "s.json").divide(recording([1] * 5))


def test_training_stimuli_that_were_not_shown_are_said(tmp_path):
    content = {"train_ids": ["a.png", "c.png", "x.png"], "test_ids": ["b.png", "d.png"]}
    (tmp_path / "s.json").write_text(json.dumps(content))
    divided = Listed(test=tmp_path / "s.json").divide(recording([1] * 4))
    assert "1 training stimuli on the list were not shown: x.png." in divided.split_remark
