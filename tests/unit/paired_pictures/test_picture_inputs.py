"""Laws of partners: names pair folders, order pairs stacks, and nothing is paired where that is not clear."""

import numpy as np
import pytest

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.images import from_uint8, load_png
from braindiffuser.paired_pictures.picture_inputs import PictureInput, distinct_names, find_partners

from ..picture_folders import write

N = 4
NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def raw():
    return compose_scenes(3 * N, seed=1)[0].reshape(3, N, 64, 64, 3)


@pytest.fixture
def partners(tmp_path, monkeypatch):
    """Find partners of inputs in the working folder."""
    monkeypatch.chdir(tmp_path)

    def found(seen, *methods):
        return find_partners(PictureInput.open(seen), [PictureInput.open(method) for method in methods])

    return found


def test_pictures_that_all_have_are_partners_and_the_rest_is_told(raw, partners, tmp_path):
    write(tmp_path / "seen", raw[0], NAMES)
    write(tmp_path / "one", raw[1][:3], ["a", "b", "c"])
    write(tmp_path / "two", raw[2], ["b", "c", "d", "e"])
    found = partners("seen", "one", "two")
    assert found.names == ["b", "c"]
    assert found.unmatched == {"seen": ["a", "d"], "one": ["a"], "two": ["d", "e"]}
    assert np.array_equal(found.pictures[:], from_uint8(raw[0][1:3]))
    assert np.array_equal(found.made["one"][:], from_uint8(raw[1][1:3]))
    assert np.array_equal(found.made["two"][:], from_uint8(raw[2][:2]))
    assert found.remarks == []


def test_a_stack_is_paired_by_order_beside_folders_that_are_paired_by_name(raw, partners, tmp_path):
    write(tmp_path / "seen", raw[0], NAMES)
    write(tmp_path / "one", raw[1][[3, 1]], ["d", "b"])
    np.save(tmp_path / "two.npy", raw[2])
    found = partners("seen", "one", "two.npy")
    assert found.names == ["b", "d"]
    assert np.array_equal(found.made["one"][:], from_uint8(raw[1][[1, 3]]))
    assert np.array_equal(found.made["two"][:], from_uint8(raw[2][[1, 3]]))
    assert found.unmatched == {"seen": ["a", "c"], "one": [], "two.npy": ["0", "2"]}
    assert found.remarks == [
        "pictures of two.npy have no names, and are taken in the order of the names of seen: the first for a, the last for d"
    ]


def test_stimuli_may_be_a_stack(raw, partners, tmp_path):
    np.save(tmp_path / "seen.npy", raw[0])
    np.save(tmp_path / "one.npy", raw[1])
    write(tmp_path / "two", raw[2], NAMES)
    found = partners("seen.npy", "one.npy", "two")
    assert found.names == ["0", "1", "2", "3"]
    assert np.array_equal(found.made["one"][:], from_uint8(raw[1]))
    assert np.array_equal(found.made["two"][:], load_png([tmp_path / "two" / f"{name}.png" for name in NAMES]))
    assert [text.partition(":")[0] for text in found.remarks] == [
        "pictures of seen.npy have no names, and are taken in the order of the names of two"
    ]


def test_a_stack_of_another_length_is_refused(raw, partners, tmp_path):
    write(tmp_path / "seen", raw[0], NAMES)
    np.save(tmp_path / "one.npy", raw[1][:3])
    with pytest.raises(RunError, match=r"seen holds 4 pictures, and one\.npy 3: a stack has no names"):
        partners("seen", "one.npy")
    np.save(tmp_path / "seen.npy", raw[0])
    with pytest.raises(RunError, match=r"seen\.npy holds 4 pictures, and one\.npy 3"):
        partners("seen.npy", "one.npy")


@pytest.mark.parametrize(
    ("names", "is_clear"),
    [(["1", "2", "10", "3"], False), (["01", "02", "10", "03"], True), (["x9", "x8", "x7", "x6"], True)],
)
def test_the_order_of_a_folder_must_be_clear(names, is_clear, raw, partners, tmp_path):
    write(tmp_path / "seen", raw[0], names)
    np.save(tmp_path / "one.npy", raw[1])
    if is_clear:
        found = partners("seen", "one.npy")
        assert found.names == sorted(names)
    else:
        with pytest.raises(
            RunError, match="as words, 10 comes before 2, and as numbers after it: give numbers the same"
        ):
            partners("seen", "one.npy")


def test_an_input_that_is_given_twice_is_refused(raw, partners, tmp_path):
    write(tmp_path / "seen", raw[0], NAMES)
    (tmp_path / "again").symlink_to("seen")
    with pytest.raises(RunError, match="again and seen are the same pictures: name each method once"):
        partners("seen", "seen", "again")
    np.savez(tmp_path / "made.npz", one=raw[1], two=raw[2])
    assert list(partners("seen", "made.npz:one", "made.npz:two").made) == ["made:one", "made:two"]
    with pytest.raises(RunError, match="are the same pictures"):
        partners("seen", "made.npz:one", "made.npz:one")


def test_methods_without_a_common_picture_are_refused(raw, partners, tmp_path):
    write(tmp_path / "seen", raw[0], NAMES)
    write(tmp_path / "one", raw[1][:2], ["a", "b"])
    write(tmp_path / "two", raw[1][:2], ["c", "d"])
    with pytest.raises(
        RunError, match=r"of 4 pictures of seen, 0 are in all methods.*one has 2 of them; two has 2 of them"
    ):
        partners("seen", "one", "two")


def test_what_is_no_input_is_said(partners, tmp_path):
    (tmp_path / "made.zip").touch()
    with pytest.raises(RunError, match=r"made\.zip is a file, expected a folder of pictures, or a stack in a file"):
        partners("made.zip")
    with pytest.raises(RunError, match="nowhere is not a folder of pictures"):
        partners("nowhere")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(RunError, match=r"folder\.h5:a is not a folder|names an array in a folder of pictures"):
        partners("folder.h5:a")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["ours", "theirs.npy", "lab/third.h5:made"], ["ours", "theirs", "third"]),
        (["a/x", "b/x"], ["a/x", "b/x"]),
        (["a/x", "a/x.npy"], ["a/x", "a/x.npy"]),
        (["/r/1/a/x", "/r/2/a/x"], ["1/a/x", "2/a/x"]),
        (["."], ["."]),
    ],
)
def test_methods_have_the_shortest_names_that_tell_them_apart(labels, names):
    assert distinct_names(labels) == names
