"""Laws of a step's draft: what its journal notes is whole and not made again, and nothing else is believed."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from braindiffuser import images
from braindiffuser.errors import RunError
from braindiffuser.store.draft import BLOCK, JOURNAL, Draft, check_pictures
from braindiffuser.store.results import Results

SHAPE = (3 * BLOCK + 5, 2)
BLOCKS = [slice(0, BLOCK), slice(BLOCK, 2 * BLOCK), slice(2 * BLOCK, 3 * BLOCK), slice(3 * BLOCK, SHAPE[0])]

SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from braindiffuser.store.draft import Draft

folder, log, stuck_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def make(rows):
    with log.open("a") as file:
        file.write(f"{rows.start}\\n")
    time.sleep(600 if rows.start == stuck_at else 0)
    return np.random.default_rng(rows.start).random((rows.stop - rows.start, 3), np.float32)

Draft(folder, "key").fill("slow", (6 * 128 + 5, 3), make)
"""


class Killed(BaseException):
    """Stands for whatever ends a process; not an Exception, so nothing may swallow it."""


@pytest.fixture
def draft(tmp_path):
    return Draft(tmp_path / "draft", "key")


@pytest.fixture
def values():
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def again(draft, key="key"):
    return Draft(draft.folder, key)


def read(draft):
    return Results(draft.folder)


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def recorder(values, kill_at=None):
    """A `make` that returns rows of `values`, remembers what it was asked, and may be killed at one block."""
    asked = []

    def make(rows):
        asked.append(rows)
        if rows == kill_at:
            raise Killed
        return values[rows]

    return make, asked


# Arrays


@settings(deadline=None, max_examples=15)
@given(
    n=st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK]),
    rest=st.lists(st.integers(1, 3), max_size=3),
    dtype=st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
)
def test_arrays_are_read_as_they_were_written(tmp_path_factory, n, rest, dtype):
    draft = Draft(tmp_path_factory.mktemp("run"), "key")
    values = np.random.default_rng(n).integers(0, 2, (n, *rest)).astype(dtype)
    draft.write_array("a/b", values)
    found = read(draft).read_array("a/b")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_blocks_cover_every_row_once(draft, values):
    make, asked = recorder(values)
    draft.fill("x", SHAPE, make)
    assert asked == BLOCKS
    np.testing.assert_array_equal(read(draft).read_array("x"), values)


@pytest.mark.parametrize("killed", range(4))
def test_blocks_that_exist_are_not_made_again(draft, values, killed):
    make, _ = recorder(values, kill_at=BLOCKS[killed])
    with pytest.raises(Killed):
        draft.fill("x", SHAPE, make)
    resumed, asked = recorder(values)
    again(draft).fill("x", SHAPE, resumed)
    assert asked == BLOCKS[killed:]
    np.testing.assert_array_equal(read(draft).read_array("x"), values)
    unneeded, never = recorder(values)
    again(draft).fill("x", SHAPE, unneeded)
    assert never == []


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_block_that_a_power_cut_took_is_made_again(draft, values, damage):
    draft.fill("x", SHAPE, recorder(values)[0])
    damage(draft.folder / "arrays" / "x" / "c" / "1" / "0")
    make, asked = recorder(values)
    again(draft).fill("x", SHAPE, make)
    assert asked == [BLOCKS[1]]
    np.testing.assert_array_equal(read(draft).read_array("x"), values)


def test_a_block_that_the_journal_does_not_note_is_made_again(draft, values):
    draft.fill("x", SHAPE, recorder(values)[0])
    lines = (draft.folder / JOURNAL).read_text().splitlines(keepends=True)
    (draft.folder / JOURNAL).write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])  # cut short
    make, asked = recorder(values)
    again(draft).fill("x", SHAPE, make)
    assert asked == [BLOCKS[3]]
    assert all(json.loads(line) for line in (draft.folder / JOURNAL).read_text().splitlines())


def test_blocks_of_zeros_are_written_too(draft):
    draft.write_array("zeros", np.zeros(SHAPE, np.float32))
    make, asked = recorder(np.zeros(SHAPE, np.float32))
    draft.fill("zeros", SHAPE, make)
    assert asked == []
    assert not read(draft).read_array("zeros").any()


def test_progress_counts_rows_and_goes_on_where_it_was(draft, values):
    told = []
    make, _ = recorder(values, kill_at=BLOCKS[2])
    with pytest.raises(Killed):
        draft.fill("x", SHAPE, make, lambda *said: told.append(said))
    draft.fill("x", SHAPE, recorder(values)[0], lambda *said: told.append(said), "filling")
    assert told == [("x" if rows in BLOCKS[:2] else "filling", rows.stop, SHAPE[0]) for rows in BLOCKS]


@pytest.mark.parametrize(
    ("value", "dtype"), [(np.nan, "float32"), (np.inf, "float32"), (1e30, "float16"), (70_000.0, "float16")]
)
def test_what_is_not_finite_as_it_is_stored_is_refused_by_row(draft, value, dtype):
    values = np.zeros((BLOCK + 3, 2), np.float32)
    values[BLOCK + 1, 0] = value
    with pytest.raises(RunError, match=rf"x has values that are not finite as {dtype}, first in row {BLOCK + 1}"):
        draft.fill("x", values.shape, lambda rows: values[rows], dtype=dtype)
    if not np.isfinite(value):
        draft.write_array("y", values, may_be_nan=True)


NOISE = np.random.default_rng(3).normal(size=(BLOCK + 3, 5))


@pytest.mark.parametrize("features", [NOISE * 1e-8, 3000 + 0.1 * NOISE, 1 + 1e-3 * NOISE])
def test_precision_that_rounds_differences_between_rows_away_is_refused(draft, features):
    """Features that are small, or nearly constant, are stored in float32 without loss."""
    with pytest.raises(RunError, match=r'float16 rounds x by .*% of the standard .* set stored_as = "float32"'):
        draft.fill("x", features.shape, lambda rows: features[rows].astype(np.float32), dtype="float16")
    draft.fill("y", features.shape, lambda rows: features[rows])
    np.testing.assert_allclose(read(draft).read_array("y"), features, rtol=1e-6)


def test_whole_numbers_that_float32_cannot_tell_apart_are_refused(draft):
    features = 40_000_001 + np.arange(12).reshape(6, 2)
    with pytest.raises(RunError, match=r"float32 rounds x by .* rows 0 to 5, expected 3% or less: scale the values"):
        draft.fill("x", features.shape, lambda rows: features[rows])


@pytest.mark.parametrize("features", [NOISE, 30 + NOISE, NOISE * 1e3, 0 * NOISE + 3.3, np.arange(8.0).reshape(4, 2)])
def test_usual_rounding_passes(draft, features):
    """Constant columns hold no difference to lose."""
    draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")


@pytest.mark.parametrize(("n_eps", "is_noise"), [(20, True), (200, False)])
def test_columns_that_differ_by_the_noise_of_their_computation_count_as_constant(draft, n_eps, is_noise):
    features = (7.7 * (1 + n_eps * np.finfo(np.float32).eps * NOISE)).astype(np.float32)
    if is_noise:
        draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")
    else:
        with pytest.raises(RunError, match="float16 rounds x by"):
            draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")


def test_differences_are_those_from_the_mean_and_not_from_the_first_row(draft):
    """A first row that lies apart makes the standard deviation 90 and no more; float16 has steps of 16 here."""
    features = (30_005 + NOISE[:BLOCK]).astype(np.float32)
    features[0] = 28_992
    with pytest.raises(RunError, match=r"float16 rounds x by [56]\.\d%"):
        draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")


@pytest.mark.parametrize("n", [3, 4])
def test_too_few_rows_are_not_judged(draft, n):
    features = (3000 + 0.1 * NOISE[:n]).astype(np.float32)
    if n < 4:
        draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")
    else:
        with pytest.raises(RunError, match="float16 rounds x by"):
            draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")


@pytest.mark.parametrize(("n_columns", "allowed"), [(99, 0), (100, 1), (199, 1), (200, 2), (700, 7)])
@pytest.mark.parametrize("beyond", [0, 1])
def test_one_column_in_a_hundred_may_be_rounded(draft, n_columns, allowed, beyond):
    features = np.random.default_rng(4).normal(size=(BLOCK, n_columns)).astype(np.float32)
    features[:, : allowed + beyond] += 3000
    if not beyond:
        draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")
    else:
        with pytest.raises(RunError, match="float16 rounds x by"):
            draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")


@pytest.mark.parametrize(("n", "last"), [(BLOCK, 0), (2 * BLOCK, BLOCK), (2 * BLOCK, 3), (BLOCK, 1), (0, 7)])
@pytest.mark.parametrize("wide", [False, True])
def test_rounding_is_judged_in_every_block_and_no_wide_column_hides_others(draft, n, last, wide):
    features = np.random.default_rng(n).normal(size=(n + last, 5)).astype(np.float32)
    features[n if last else 0 :, 1:] += 3000
    if wide:
        features[:, 0] *= 1e4
    with pytest.raises(RunError, match=r"float16 rounds x by .* of a column, in rows .*, expected 3% or less"):
        draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")


@settings(deadline=None, max_examples=30)
@given(
    n=st.sampled_from([1, 2, 3, 12, BLOCK, BLOCK + 1, BLOCK + 2, BLOCK + 40]),
    mean=st.floats(-10, 10),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_what_float16_holds_is_never_refused(tmp_path_factory, n, mean, scale, seed):
    """Among columns of any width there are constant ones, and ones that differ by the noise of float32 alone."""
    rng = np.random.default_rng(seed)
    features = scale * (mean + rng.normal(size=(n, 6)) * 10.0 ** rng.integers(0, 2, 6))
    features[:, 0], features[:, 1] = 3.3, 7.7 * (1 + 1e-7 * rng.normal(size=n))
    features = features.astype(np.float32)
    draft = Draft(tmp_path_factory.mktemp("run"), "key")
    draft.fill("x", features.shape, lambda rows: features[rows], dtype="float16")
    np.testing.assert_array_equal(read(draft).read_array("x"), features.astype(np.float16))


@pytest.mark.parametrize(
    "values", [np.ones(3, complex), np.array(["a", "b", "c"]), np.array([None, 1, 2]), np.ones(3, bool)]
)
def test_values_that_are_no_real_numbers_are_refused(draft, values):
    with pytest.raises(RunError, match=rf"x came as {values.dtype} of shape \(3,\), expected real numbers"):
        draft.fill("x", (3,), lambda rows: values[rows])
    if values.dtype != bool:
        with pytest.raises(RunError, match=rf"y came as {values.dtype} of shape .*, expected real numbers"):
            draft.write_array("y", values)
        assert draft.shape_of("y") is None


def test_an_array_of_another_shape_is_told_with_what_to_delete(draft):
    draft.write_array("x", np.ones((3, 2), np.float32))
    with pytest.raises(
        RunError, match=rf"expected float32 of \(3, 4\): delete {draft.folder}, then run the same command"
    ):
        again(draft).fill("x", (3, 4), lambda rows: np.ones((3, 4)))


def test_features_that_overflow_where_they_are_stored_are_told_from_those_that_overflowed_before(draft):
    for value, words in ((70_000.0, 'set stored_as = "float32"'), (np.inf, "their computation overflowed")):
        features = np.full((3, 2), value, np.float32)
        with pytest.raises(RunError, match=rf"not finite as float16, first in row 0: {words}"):
            draft.fill("x", features.shape, lambda rows, own=features: own[rows], dtype="float16")


@pytest.mark.parametrize("last", [1, 2])
def test_rounding_is_judged_alike_after_a_kill(draft, last):
    """The last block is alike in all rows, which says nothing of the group."""
    features = np.concatenate([NOISE[:BLOCK], np.full((last, 5), 7.7) + 1e-6 * NOISE[:last]])
    make, _ = recorder(features, kill_at=slice(BLOCK, BLOCK + last))
    with pytest.raises(Killed):
        draft.fill("x", features.shape, make, dtype="float16")
    again(draft).fill("x", features.shape, recorder(features)[0], dtype="float16")
    np.testing.assert_array_equal(read(draft).read_array("x"), features.astype(np.float16))


def test_a_killed_process_loses_no_finished_block(tmp_path):
    """A real SIGKILL in the middle of the third block; another process finishes."""
    folder, log, stuck_at = tmp_path / "draft", tmp_path / "log", 2 * BLOCK
    command = [sys.executable, "-c", SLOW, str(folder), str(log)]
    with subprocess.Popen([*command, str(stuck_at)]) as process:
        deadline = time.monotonic() + 120
        while not log.exists() or f"{stuck_at}\n" not in log.read_text():
            assert process.poll() is None, "the first process ended by itself"
            assert time.monotonic() < deadline, "the first process makes no blocks"
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    log.unlink()
    subprocess.run([*command, "-1"], check=True, timeout=120)
    starts = range(0, 6 * BLOCK + 5, BLOCK)
    assert [int(line) for line in log.read_text().splitlines()] == list(starts[2:])
    lengths = [BLOCK] * 6 + [5]
    expected = [
        np.random.default_rng(start).random((n, 3), np.float32) for start, n in zip(starts, lengths, strict=True)
    ]
    np.testing.assert_array_equal(Results(folder).read_array("slow"), np.concatenate(expected))


# Pictures


def test_pictures_come_back_in_eight_bits_under_their_numbers(draft):
    pictures = np.random.default_rng(1).random((3, 3, 7, 9), dtype=np.float32)
    draft.write_pictures("final", [2, 0, 1], pictures)
    found = read(draft).read_pictures("final", 3)[[2, 0, 1]]
    np.testing.assert_array_equal(images.to_uint8(found), images.to_uint8(pictures))


def test_missing_pictures_are_numbered(draft):
    picture = np.zeros((1, 3, 2, 2), np.float32)
    assert draft.missing_pictures("final", 3) == [0, 1, 2]
    draft.write_pictures("final", [0], picture)
    draft.write_pictures("low_level", [1], picture)
    (draft.folder / "reconstructions" / "final" / "0002.png").write_bytes(b"left by a power cut")
    assert again(draft).missing_pictures("final", 3) == [1, 2]


def test_pictures_of_a_kind_have_one_size_also_after_a_kill(draft):
    def pictures(*size):
        return np.zeros((1, 3, *size), np.float32)

    draft.write_pictures("final", [0], pictures(4, 4))
    draft.write_pictures("low_level", [0], pictures(2, 2))
    for opened in (draft, again(draft)):
        with pytest.raises(
            RunError, match=r"pictures final came as \(4, 5\) \(height, width\), after others of \(4, 4\)"
        ):
            opened.write_pictures("final", [1], pictures(4, 5))
        assert opened.missing_pictures("final", 2) == [1]
    draft.clear()
    draft.write_pictures("final", [1], pictures(4, 5))


def test_a_picture_that_is_not_finite_is_refused_by_name(draft):
    pictures = np.zeros((2, 3, 2, 2), np.float32)
    pictures[1, 0, 0, 0] = np.nan
    with pytest.raises(RunError, match=r"picture reconstructions/final/0008\.png has values that are not finite"):
        draft.write_pictures("final", [7, 8], pictures)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 255.0), (-0.02, 1.0), (0.0, 1.02), (-0.009, 1.009)])
def test_pictures_may_leave_their_range_by_rounding_alone(low, high):
    pictures = np.linspace(low, high, 12, dtype=np.float32).reshape(1, 3, 2, 2)
    if low > -0.01 and high < 1.01:
        check_pictures(["0007"], pictures)
    else:
        with pytest.raises(RunError, match=r"picture 0007 has values from .* to .*, expected 0 to 1: scale or clip it"):
            check_pictures(["0007"], pictures)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("dtype", [complex, bool, np.uint8, "U1", object])
def test_pictures_of_other_numbers_are_refused(draft, dtype):
    expected = "floating-point" if dtype == np.uint8 else "real numbers"
    with pytest.raises(RunError, match=rf"pictures reconstructions/final/0007\.png … came as .*, expected {expected}"):
        draft.write_pictures("final", [7], np.ones((1, 3, 2, 2)).astype(dtype))


@settings(deadline=None, max_examples=30)
@given(levels=st.lists(st.integers(0, 2), min_size=1, max_size=6), n_textured=st.integers(0, 4))
def test_pictures_of_flat_colours_are_refused_and_drawn_anew(tmp_path_factory, levels, n_textured):
    draft, n = Draft(tmp_path_factory.mktemp("run"), "key"), len(levels)
    pictures = np.stack([np.full((3, 2, 2), level / 255, np.float32) for level in levels])
    pictures[:n_textured, 0, 0, 0] = 1.0
    draft.write_pictures("final", range(n), pictures)
    n_flat = max(0, n - n_textured)
    if n > 1 and 2 * n_flat > n:
        with pytest.raises(RunError, match=rf"{n_flat} of {n} pictures final are of one flat colour each"):
            draft.refuse_blank("final", n)
        assert again(draft).missing_pictures("final", n) == list(range(n))
    else:
        draft.refuse_blank("final", n)
        assert not again(draft).missing_pictures("final", n)


# Other files


@pytest.mark.parametrize(
    ("write", "good", "bad", "error", "words"),
    [
        (Draft.write_text, "whole", "begins well \ud800", UnicodeEncodeError, "surrogates not allowed"),
        (Draft.write_json, {"a": 1}, {"a": 2, "b": float("nan")}, RunError, "deep/name cannot be written as JSON: "),
        (Draft.write_json, {"a": 1}, {"a": 2, "b": {1, 2}}, RunError, "deep/name cannot be written as JSON: "),
        (
            Draft.write_bundle,
            {"a": np.ones(3)},
            {"a": np.zeros(3), "b": np.array([None])},
            ValueError,
            "Object arrays cannot be saved when allow_pickle=False",
        ),
        (
            Draft.write_image,
            Image.new("RGB", (2, 3)),
            Image.new("LAB", (2, 3)),
            OSError,
            "cannot write mode LAB as PNG",
        ),
    ],
    ids=["text", "not a number", "not JSON", "not numbers", "no picture"],
)
def test_a_write_that_fails_leaves_the_old_file(draft, write, good, bad, error, words):
    write(draft, "deep/name", good)
    before = (draft.folder / "deep/name").read_bytes()
    with pytest.raises(error, match=words):
        write(draft, "deep/name", bad)
    assert (draft.folder / "deep/name").read_bytes() == before
    assert files_of(draft.folder) == ["deep/name", JOURNAL]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, np.float32(1), np.ones(2)])
def test_what_json_cannot_hold_is_told_with_its_file(draft, value):
    with pytest.raises(RunError, match=r"scores\.json cannot be written as JSON: "):
        draft.write_json("scores.json", {"metrics": {"pixcorr": [value]}})
    assert not draft.holds("scores.json")


def test_json_tables_and_bundles_are_read_as_they_were_written(draft):
    content = {"value": 0.1, "interval": [0.0, None], "text": "μ"}
    draft.write_json("scores.json", content)
    assert read(draft).read_json("scores.json") == content
    table = pd.DataFrame({"number": [0, 1], "pixcorr": [0.1 + 0.2, -1 / 3], "label": ["a,b", "c"]})
    draft.write_table("per_image.csv", table)
    pd.testing.assert_frame_equal(read(draft).read_table("per_image.csv"), table, check_exact=True)
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "mask": np.array([True, False])}
    draft.write_bundle("rois.npz", arrays)
    for name, values in read(draft).read_bundle("rois.npz").items():
        np.testing.assert_array_equal(values, arrays[name])


# Keys


def test_a_draft_of_other_settings_is_begun_anew_and_notes_of_a_user_stay(draft):
    draft.write_text("ours", "of the old settings")
    theirs = ["notes", "notes.partial", ".unfinished-notes"]
    for name in theirs:
        (draft.folder / name).write_text("the user's")
    (draft.folder / ".unfinished-folder").mkdir()
    for name in (".unfinished-0123abcd-12-half", f"0.{'0123456789abcdef' * 2}.partial"):
        (draft.folder / name).write_text("left by a kill")
    other = again(draft, "other")
    assert other.files == {}
    assert files_of(draft.folder) == sorted([JOURNAL, *theirs])


def test_whole_files_of_a_damaged_step_are_taken_over(draft, tmp_path):
    draft.write_text("a", "whole")
    draft.write_text("b", "damaged")
    (draft.folder / "b").write_text("dAmaged")
    repaired = Draft(tmp_path / "repaired", "key")
    repaired.adopt(draft.folder, draft.files)
    assert files_of(repaired.folder) == ["a", JOURNAL]
    assert repaired.holds("a")
    assert not repaired.holds("b")


def test_notes_in_the_folder_of_an_array_stay(tmp_path):
    notes = tmp_path / "draft" / "arrays" / "x" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("precious")
    (notes.parent / "zarr.json").write_text("left by a kill")
    draft = Draft(tmp_path / "draft", "key")
    draft.write_array("x", np.ones((3, 2), np.float32))
    assert notes.read_text() == "precious"
    assert draft.shape_of("x") == (3, 2)
    assert draft.shape_of("y") is None


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_nothing_is_written_outside_the_draft(tmp_path, name):
    draft = Draft(tmp_path / "draft", "key")
    with pytest.raises(RunError, match="lies outside its folder"):
        draft.write_text(name, "text")
    with pytest.raises(RunError, match="lies outside its folder"):
        draft.write_array(f"../{name}", np.ones(3))
    with pytest.raises(RunError, match="lies outside its folder"):
        draft.write_pictures(f"../{name}", [0], np.zeros((1, 3, 4, 4), np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["draft"]


def test_rows_of_another_shape_are_told(tmp_path):
    draft = Draft(tmp_path / "draft", "key")
    with pytest.raises(RunError, match=r"rows 0 to 3 of x came as float32 of shape \(1, 2\), expected .* \(4, 2\)"):
        draft.fill("x", (4, 2), lambda rows: np.ones((1, 2), np.float32))


def test_a_draft_tells_that_some_of_its_files_were_lost(tmp_path):
    draft = Draft(tmp_path / "draft", "key")
    draft.write_text("a", "whole")
    draft.write_text("b", "whole")
    assert not Draft(tmp_path / "draft", "key").lost
    (tmp_path / "draft" / "b").write_text("damaged")
    again = Draft(tmp_path / "draft", "key")
    assert again.lost
    assert again.holds("a")
    assert not (tmp_path / "draft" / "b").exists()


WRITES = {
    "an array": lambda draft: draft.write_array("x", np.ones((3, 2))),
    "pictures": lambda draft: draft.write_pictures("final", [0, 1], np.full((2, 3, 4, 4), 0.5, np.float32)),
    "a table": lambda draft: draft.write_table("a.csv", pd.DataFrame({"a": [1]})),
    "a bundle": lambda draft: draft.write_bundle("a.npz", {"a": np.ones(2)}),
}


@pytest.mark.parametrize("what", WRITES)
def test_nothing_counts_that_is_written_after_what_a_step_reads_was_changed(what, tmp_path):
    read = ["as it was"]
    draft = Draft(tmp_path, "key", lambda: read == ["as it was"], "it was changed")
    draft.write_text("before", "whole")
    read[0] = "another"
    with pytest.raises(RunError, match=r"^it was changed$"):
        WRITES[what](draft)
    read[0] = "as it was"
    assert files_of(tmp_path) == [JOURNAL]
    assert not Draft(tmp_path, "key").files


def test_an_array_ends_with_the_block_that_was_made_of_another_file(tmp_path, values):
    made = []

    def make(rows):
        made.append(rows.start)
        return values[rows]

    draft = Draft(tmp_path, "key", lambda: len(made) < 3, "it was changed")
    with pytest.raises(RunError, match="it was changed"):
        draft.fill("x", SHAPE, make)
    assert made == [0, BLOCK, 2 * BLOCK]
    assert files_of(tmp_path) == [JOURNAL]


def test_published_files_are_adopted_after_one_look_at_what_a_step_reads(tmp_path):
    names, looks = [f"{number}.txt" for number in range(5)], []
    before = Draft(tmp_path / "before", "key")
    for name in names:
        before.write_text(name, name)
    draft = Draft(tmp_path / "draft", "key", lambda: looks.append(1) is None, "it was changed")
    draft.adopt(before.folder, before.files)
    assert list(draft.files) == names
    assert len(looks) == 1
