import json

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.splits import Layout, Listed, MostRepeated


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
    divided = Layout().divide(recording([2, 2, 2, 2, 5, 4, 2]))
    assert sides(divided) == {0: "train", 1: "train", 2: "train", 3: "train", 4: "test", 5: "test", 6: "train"}
    assert divided.remarks == (
        "The recording does not say which stimuli test: the 2 that were shown 4 times or more are taken; the others were shown 2 "
        "times or less.",
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
    for n, words in ((9, "no stimulus was shown so often"), (1, "all stimuli were shown so often")):
        with pytest.raises(RecordingError, match=rf"split.n_repeats is {n}, but {words} \(1 to 4 times\)"):
            MostRepeated(n_repeats=n).divide(recording([1, 3, 4, 2]))


def test_a_list_names_those_that_test(tmp_path):
    (tmp_path / "test.txt").write_text("b.png\n\nd.png \nnever.png\n")
    split = Listed(test=tmp_path / "test.txt")
    divided = split.divide(recording([1, 1, 1, 1]))
    assert sides(divided) == {0: "train", 1: "test", 2: "train", 3: "test"}
    assert divided.remarks == ("Split: 2 test stimuli as listed in test.txt (1 others on the list were not shown).",)
    assert split.files() == {"test.txt": tmp_path / "test.txt"}


@pytest.mark.parametrize("variants", [True, False])
def test_a_list_may_name_both_sides(tmp_path, variants):
    sides_of = {"train_ids": ["a.png"], "test_ids": ["b.png", "d.png"]}
    other = {"train_ids": ["b.png"], "test_ids": ["a.png", "c.png"]}
    (tmp_path / "s.json").write_text(json.dumps({"variants": [other, sides_of]} if variants else sides_of))
    divided = Listed(test=tmp_path / "s.json", variant=int(variants)).divide(recording([1, 1, 1, 1]))
    assert sides(divided) == {0: "train", 1: "test", 2: "out", 3: "test"}
    assert divided.remarks[0].endswith("1 stimuli are on neither side.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing; expected the names of test stimuli"),
        ("x\ny\n", r"lists 2 test stimuli \(x, y …\), of which 0 were shown; names are such as 'a.png'"),
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


@pytest.mark.parametrize("name", ["b", "B.png", "b.jpg"])
def test_names_that_nearly_match_are_no_training_stimuli(tmp_path, name):
    (tmp_path / "t.txt").write_text(f"a.png\nc.png\n{name}\n")
    with pytest.raises(RecordingError, match=rf"lists '{name}', which was not shown, though 'b\.png' was"):
        Listed(test=tmp_path / "t.txt").divide(recording([1, 1, 1, 1]))
