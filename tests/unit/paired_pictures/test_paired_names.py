import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.folder_scores.scoring import evaluate_folders
from braindiffuser.paired_pictures import paired_names
from braindiffuser.paired_pictures.paired_names import find_shift, list_pictures, match_names

from ..picture_folders import N, write


def matched(seen, made):
    return match_names(list_pictures(seen), list_pictures(made))


def test_pairs_are_made_by_name_and_the_rest_is_told(folders):
    seen, made = folders
    (made / "0002.png").unlink()
    (made / "notes.txt").write_text("not a picture")
    (made / "0001.png").rename(made / "extra.png")
    pairs, unmatched = matched(seen, made)
    assert list(pairs) == ["0000", "0003", "0004", "0005"]
    assert pairs["0003"] == {seen: seen / "0003.png", made: made / "0003.png"}
    assert unmatched == {str(seen): ["0001", "0002"], str(made): ["extra"]}


def test_folders_that_share_no_names_are_refused(folders, tmp_path):
    seen, _ = folders
    other = write(tmp_path / "other", compose_scenes(2, seed=1)[0], ["a", "b"])
    with pytest.raises(RunError, match="of which 0 share a name") as caught:
        matched(seen, other)
    assert "seen holds 6 pictures (without a partner: '0000', '0001', '0002')" in str(caught.value)
    assert "other holds 2 pictures (without a partner: 'a', 'b')" in str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["1", "2", "10"], ["0001", "0002", "0010"]),
        (["img-1 b02", "img-2 b02"], ["img-01 b2", "img-02 b2"]),
        (["frame.1", "frame.2"], ["frame.001", "frame.002"]),
        (["caf\u00e9", "\u00e5"], ["cafe\u0301", "a\u030a"]),
        (["A", "b"], ["a", "B"]),
        (["a", "b"], ["a ", " b"]),
        (["noise 0.05", "noise 0.5"], ["noise 0.05", "noise 0.5"]),
        (["s0,05", "s0,5"], ["s0,05", "s0,5"]),
    ],
)
def test_names_that_nearly_match_are_pairs(ours, theirs, tmp_path):
    raw = compose_scenes(len(ours), seed=1)[0]
    seen, made = write(tmp_path / "seen", raw, ours), write(tmp_path / "made", raw, theirs)
    pairs, unmatched = matched(seen, made)
    partners = dict(zip(ours, theirs, strict=True))
    assert list(pairs) == sorted(ours)
    for name, files in pairs.items():
        assert files == {seen: seen / f"{name}.png", made: made / f"{partners[name]}.png"}
    assert unmatched == {str(seen): [], str(made): []}


@pytest.mark.parametrize("names", [["1", "01"], ["caf\u00e9", "cafe\u0301"], ["A", "a"], ["a", "a "]])
def test_names_that_nearly_match_within_a_folder_are_refused(names, folders, tmp_path):
    other = write(tmp_path / "other", compose_scenes(2, seed=1)[0], names)
    for pair in ((folders[0], other), (other, folders[0])):
        with pytest.raises(RunError, match=r"other holds .*\.png and .*\.png, whose names .*: rename one"):
            matched(*pair)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.integers(0, 99), st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=6))
def test_zeros_before_numbers_never_change_the_pairs(tmp_path_factory, widths):
    folder = tmp_path_factory.mktemp("names")
    for number, sides in widths.items():
        for name, width in zip(("seen", "made"), sides, strict=True):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{number:0{width}d}.png").touch()
    pairs, _ = matched(folder / "seen", folder / "made")
    assert len(pairs) == len(widths)
    for name, files in pairs.items():
        assert {int(path.stem) for path in files.values()} == {int(name)}


@pytest.mark.parametrize(("n_shared", "is_enough"), [(2, False), (3, True)])
def test_half_of_the_smaller_folder_must_have_partners(n_shared, is_enough, tmp_path):
    names = {"seen": [f"s{k}" for k in range(20)], "made": [f"{'s' if k < n_shared else 'm'}{k}" for k in range(6)]}
    for folder, own in names.items():
        (tmp_path / folder).mkdir()
        for name in own:
            (tmp_path / folder / f"{name}.png").touch()
    if is_enough:
        assert len(matched(tmp_path / "seen", tmp_path / "made")[0]) == n_shared
    else:
        with pytest.raises(
            RunError, match=r"without a partner: 's10', 's11', 's12'.*without a partner: 'm2', 'm3', 'm4'"
        ):
            matched(tmp_path / "seen", tmp_path / "made")


def test_hidden_files_are_no_pictures(folders):
    seen, made = folders
    (made / "._0000.png").write_bytes(b"of a Mac")
    (made / ".0001.png").write_bytes(b"hidden")
    assert matched(seen, made)[1] == {str(seen): [], str(made): []}


def test_a_missing_folder_is_named(folders, tmp_path):
    with pytest.raises(RunError, match="nowhere is not a folder of pictures"):
        matched(folders[0], tmp_path / "nowhere")


def test_two_pictures_of_one_name_are_refused(folders):
    seen, made = folders
    Image.open(made / "0000.png").save(made / "0000.jpg")
    with pytest.raises(RunError, match=r"holds 0000\.jpg and 0000\.png, whose names are too much alike: rename one"):
        matched(seen, made)


def test_a_folder_without_pictures_says_which_endings_count(tmp_path):
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "0000.npy", np.zeros(3))
    with pytest.raises(RunError, match=r"arrays itself holds no picture, which is known by its ending \(.*\.png"):
        list_pictures(tmp_path / "arrays")


# Numbers that count from elsewhere


def noise(rng, n, side=16):
    """Smooth patches of colour, which resemble each other by chance alone."""
    coarse = rng.integers(0, 256, (n, 6, 6, 3), np.uint8)
    return np.array([np.asarray(Image.fromarray(one).resize((side, side))) for one in coarse])


def shifted(tmp_path, seen, made, share=0.5, seed=0):
    """Look for a shift among pictures: `seen` and `made` map a picture's number to its name in either folder.

    Args:
        share: of the picture that was seen in its reconstruction; the rest is another picture.
    """
    rng = np.random.default_rng(seed)
    shown = dict(zip(sorted({*seen, *made}), noise(rng, len({*seen, *made})), strict=True))
    drawn = {n: np.rint(share * shown[n] + (1 - share) * noise(rng, 1)[0]).astype(np.uint8) for n in made}
    folders = (tmp_path / "seen", tmp_path / "made")
    for folder, names, pictures in zip(folders, (seen, made), (shown, drawn), strict=True):
        write(folder, [pictures[n] for n in names], names.values())
    return find_shift(*map(list_pictures, folders))


def names(numbers, form="{:03d}", offset=0):
    return {n: form.format(n + offset) for n in numbers}


WORDS = r"numbers in names of .*made are {} from those of .*seen \(.*\.png, .*\.png\): paired so, pictures correlate by 0\.\d\d"


@pytest.mark.parametrize(
    ("form", "first", "extra"),
    [
        ("{}", 1, ""),
        ("picture_{:03d}", 2, ""),
        ("sub01_{}", 3, ""),
        ("2026-11-26_{}_seed7", -1, ""),
        ("{:03d}", 1, "grid"),
        ("{:03d}", 1, "mean.png.2"),
        ("{:03d}", 2, "x²"),
        ("{}", 1, "9" * 200),
    ],
)
def test_numbers_that_begin_elsewhere_are_refused(tmp_path, form, first, extra):
    """As where one program counts from 0 and the other from 1; names of another pattern change nothing."""
    made = names(range(20, 40), form, first) | ({99: extra} if extra else {})
    with pytest.raises(
        RunError, match=WORDS.format(rf"\{first:+d}") + ".*rename the files so that partners share a name"
    ):
        shifted(tmp_path, names(range(20, 40), form), made)


def test_numbers_that_share_no_name_are_refused_by_their_names(folders, tmp_path):
    seen, made = folders
    far = write(tmp_path / "far", [np.asarray(Image.open(path)) for path in sorted(made.iterdir())], range(70, 70 + N))
    with pytest.raises(RunError, match="of which 0 share a name"):
        evaluate_folders(seen, far, "pixels")


@pytest.mark.parametrize("offset", [1, 2, 3, -4, 7])
@pytest.mark.parametrize("chosen", [range(10, 30), range(8, 36), [*range(8, 20), *range(24, 32)]])
def test_a_part_of_the_stimuli_that_is_shifted_is_refused(tmp_path, chosen, offset):
    """Though each reconstruction has a partner of equal name."""
    with pytest.raises(RunError, match=WORDS.format(rf"\{offset:+d}")):
        shifted(tmp_path, names(range(43)), names(chosen, offset=offset))


@pytest.mark.parametrize(
    ("seen", "made"),
    [
        (names(range(20)), names(range(19), offset=1)),
        (names(range(0, 40, 2)), names(range(0, 40, 2), offset=2)),
        ({n: f"{n + n // 3}" for n in range(20)}, {n: f"{n + n // 3 + 1}" for n in range(20)}),
        ({n: f"s{n // 4}_t{n % 4}" for n in range(20)}, {n: f"s{n // 4}_t{n % 4 + 1}" for n in range(20)}),
        ({n: f"s{n // 4}_t{n % 4}" for n in range(20)}, {n: f"s{n // 4 + 1}_t{n % 4}" for n in range(20)}),
        ({n: f"{'ab'[n % 2]}_{n}" for n in range(20)}, {n: f"{'ab'[n % 2]}_{n + 2}" for n in range(20)}),
        ({n: f"{'ab'[n // 15]}_{n}" for n in range(30)}, {n: f"{'ab'[n // 15]}_{n + n // 15}" for n in range(30)}),
    ],
)
def test_shifted_numbers_are_known_by_the_pictures(tmp_path, seen, made):
    """Whether a picture lacks, numbers have gaps, several stand in a name, or one of two patterns is shifted."""
    with pytest.raises(RunError, match="numbers in names of"):
        shifted(tmp_path, seen, made)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("made", [range(1, 30), range(5, 25), [*range(12), *range(14, 30)]])
def test_right_names_pass_however_weak_reconstructions_are(tmp_path, made, share):
    for seed in range(8):
        assert shifted(tmp_path / f"{seed}", names(range(30)), names(made), share, seed) == []


@pytest.mark.parametrize("n", [8, 30])
def test_the_pictures_decide_by_chance(tmp_path, n, monkeypatch):
    """Of pairs that are alike by chance, even a strict test finds some among all offsets: it is stricter where more are tried."""
    rng, refused = np.random.default_rng(1), 0
    pictures = {}
    monkeypatch.setattr(
        paired_names, "likeness_of_files", lambda known: lambda one, other: float(pictures[one] @ pictures[other])
    )
    (tmp_path / "seen").mkdir(parents=True)
    (tmp_path / "made").mkdir()
    for k in range(n):
        (tmp_path / "seen" / f"{k}.png").touch()
        (tmp_path / "made" / f"{k}.png").touch()
    (tmp_path / "made" / f"{n - 1}.png").unlink()
    folders = [list_pictures(tmp_path / name) for name in ("seen", "made")]
    for _ in range(100):
        for path in (path for folder in folders for path in folder.files.values()):
            values = rng.normal(size=25)
            pictures[path] = values / np.linalg.norm(values)
        try:
            find_shift(*folders)
        except RunError:
            refused += 1
    assert refused <= 1


def test_shifted_pictures_that_hardly_resemble_are_not_refused(tmp_path, monkeypatch):
    """However certain: correlations below LEAST_ALIKE may come of what all pictures share."""
    monkeypatch.setattr(
        paired_names, "likeness_of_files", lambda known: lambda one, other: 0.09 * (one.stem > other.stem)
    )
    assert shifted(tmp_path, names(range(30)), names(range(29), offset=1)) == []
    monkeypatch.setattr(
        paired_names, "likeness_of_files", lambda known: lambda one, other: 0.11 * (one.stem > other.stem)
    )
    with pytest.raises(RunError, match="numbers in names"):
        shifted(tmp_path, names(range(30)), names(range(29), offset=1))


def test_a_shift_that_pairs_more_but_is_not_clear_is_said(tmp_path):
    said = shifted(tmp_path, names(range(30)), names(range(30), offset=1), share=0.0)
    assert said == [
        f"names that differ by +1 would pair 30 pictures of {tmp_path / 'made'}, equal names pair 29: is one folder counted from "
        "another number?"
    ]


def test_folders_that_overlap_are_paired_by_their_names(tmp_path):
    """A shift would pair more, but pictures of equal names are alike."""
    assert shifted(tmp_path, names(range(29)), names(range(1, 30)), share=0.7) == []


def test_pictures_that_moved_among_equal_names_are_said_and_not_refused(tmp_path):
    """All names have partners, so that there is nothing to rename."""
    made = {n: f"{(n + 1) % 30:03d}" for n in range(30)}
    (said,) = shifted(tmp_path, names(range(30)), made)
    assert "are +1 from those of" in said
    assert said.endswith(": is each reconstruction named after its stimulus?")


def test_a_shift_that_pairs_fewer_pictures_than_equal_names_is_said_and_not_refused(tmp_path):
    """As where a reconstruction resembles the picture before: the folders cannot have been counted so."""
    rng = np.random.default_rng(0)
    shown = noise(rng, 30)
    drawn = [np.rint(0.2 * shown[n] + 0.8 * shown[n - 1]).astype(np.uint8) for n in range(27)]
    folders = [write(tmp_path / "seen", shown, range(30)), write(tmp_path / "made", drawn, range(27))]
    (said,) = find_shift(*map(list_pictures, folders))
    assert "are +1 from those of" in said
    assert said.endswith(": is each reconstruction named after its stimulus?")


def test_many_pictures_are_compared_in_part(tmp_path, monkeypatch):
    """However many pictures and offsets there are, MOST_COMPARED pairs by each of MOST_OFFSETS are compared, and twice."""
    (tmp_path / "seen").mkdir()
    (tmp_path / "made").mkdir()
    for n in range(600):
        (tmp_path / "seen" / f"{n}.png").touch()
        (tmp_path / "made" / f"{n + 3}.png").touch()
    compared = []

    def likeness(one, other):
        compared.append((one, other))
        return 0.9 - 0.01 * (int(one.stem) % 2) if int(one.stem) == int(other.stem) + 3 else 0.1

    monkeypatch.setattr(paired_names, "likeness_of_files", lambda known: likeness)
    with pytest.raises(RunError, match=r"are \+3 from those"):
        find_shift(*(list_pictures(tmp_path / name) for name in ("seen", "made")))
    assert len(compared) <= 2 * 100 * 64
    assert len({path for pair in compared for path in pair}) < 400
