"""Laws of a run's folder: files are whole or absent, finished work is never done again, stages know whose they are."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from braindiffuser import images
from braindiffuser.errors import RunError
from braindiffuser.store import BLOCK, Store

SHAPE = (3 * BLOCK + 5, 2)
BLOCKS = [slice(0, BLOCK), slice(BLOCK, 2 * BLOCK), slice(2 * BLOCK, 3 * BLOCK), slice(3 * BLOCK, SHAPE[0])]

SLOW_RUN = """
import sys, time
from pathlib import Path
import numpy as np
from braindiffuser.store import Store

folder, log, stuck_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def make(rows):
    with log.open("a") as file:
        file.write(f"{rows.start}\\n")
    time.sleep(600 if rows.start == stuck_at else 0)
    return np.random.default_rng(rows.start).random((rows.stop - rows.start, 3), np.float32)

Store(folder).fill("slow", (6 * 128 + 5, 3), make)
"""


class Killed(BaseException):
    """Stands for whatever ends a process; not an Exception, so nothing may swallow it."""


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "run")


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def files_of(folder: Path) -> list[str]:
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


@settings(deadline=None, max_examples=20)
@given(
    n=st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK]),
    rest=st.lists(st.integers(1, 3), max_size=3),
    dtype=st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
)
def test_arrays_are_read_as_they_were_written(tmp_path_factory, n, rest, dtype):
    store = Store(tmp_path_factory.mktemp("run"))
    values = np.random.default_rng(n).integers(0, 2, (n, *rest)).astype(dtype)
    store.write_array("a/b", values)
    read = store.read_array("a/b")
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_blocks_cover_every_row_once(store, values):
    make, asked = recorder(values)
    store.fill("x", SHAPE, make)
    assert asked == BLOCKS
    np.testing.assert_array_equal(store.read_array("x"), values)


@pytest.mark.parametrize("killed", range(4))
def test_blocks_that_exist_are_not_made_again(store, values, killed):
    make, _ = recorder(values, kill_at=BLOCKS[killed])
    with pytest.raises(Killed):
        store.fill("x", SHAPE, make)
    resumed, asked = recorder(values)
    Store(store.folder).fill("x", SHAPE, resumed)
    assert asked == BLOCKS[killed:]
    np.testing.assert_array_equal(store.read_array("x"), values)
    unneeded, never = recorder(values)
    store.fill("x", SHAPE, unneeded)
    assert never == []


def test_blocks_of_zeros_are_written_too(store):
    store.write_array("zeros", np.zeros(SHAPE, np.float32))
    make, asked = recorder(np.zeros(SHAPE, np.float32))
    store.fill("zeros", SHAPE, make)
    assert asked == []
    assert not store.read_array("zeros").any()


def test_progress_counts_rows_and_goes_on_where_it_was(store, values):
    told = []
    make, _ = recorder(values, kill_at=BLOCKS[2])
    with pytest.raises(Killed):
        store.fill("x", SHAPE, make, lambda done, total: told.append((done, total)))
    store.fill("x", SHAPE, recorder(values)[0], lambda done, total: told.append((done, total)))
    assert told == [(rows.stop, SHAPE[0]) for rows in BLOCKS]


def test_an_array_written_in_part_is_not_read(store, values):
    with pytest.raises(Killed):
        store.fill("x", SHAPE, recorder(values, kill_at=BLOCKS[3])[0])
    with pytest.raises(RunError, match="only in part: run the stage that makes it again"):
        store.read_array("x")


def test_an_array_that_was_never_begun_is_not_read(store):
    with pytest.raises(RunError, match="no array targets/text: run the earlier stages first"):
        store.read_array("targets/text")


@pytest.mark.parametrize(("shape", "dtype"), [((4, 3), "float32"), ((5, 2), "float32"), ((4, 2), "float64")])
def test_arrays_of_another_run_are_not_continued(store, shape, dtype):
    store.write_array("x", np.zeros((4, 2), np.float32))
    with pytest.raises(RunError, match=r"holds float32 of shape \(4, 2\).* choose another folder"):
        store.write_array("x", np.zeros(shape, dtype))


def test_a_killed_process_loses_no_finished_block(tmp_path):
    """A real SIGKILL in the middle of the third block; another process finishes."""
    folder, log, stuck_at = tmp_path / "run", tmp_path / "log", 2 * BLOCK
    command = [sys.executable, "-c", SLOW_RUN, str(folder), str(log)]
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
    np.testing.assert_array_equal(Store(folder).read_array("slow"), np.concatenate(expected))


# Pictures


def test_pictures_come_back_in_eight_bits(store):
    pictures = np.random.default_rng(1).random((3, 3, 7, 9), dtype=np.float32)
    for number in (2, 0, 1):
        store.write_picture("final", number, pictures[number : number + 1])
    read = store.read_pictures("final", 3)
    assert np.abs(read - pictures).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(images.to_uint8(read), images.to_uint8(pictures))
    assert files_of(store.folder) == [f"reconstructions/final/{number:04d}.png" for number in range(3)]


def test_missing_pictures_are_numbered(store):
    picture = np.zeros((1, 3, 2, 2), np.float32)
    assert store.missing_pictures("final", 3) == [0, 1, 2]
    store.write_picture("final", 0, picture)
    store.write_picture("low_level", 1, picture)
    assert store.missing_pictures("final", 3) == [1, 2]
    with pytest.raises(RunError, match=r"lacks 2 of 3 final pictures, first 0001\.png: run the stage reconstruct"):
        store.read_pictures("final", 3)


def test_opened_pictures_are_read_when_taken(store):
    pictures = np.random.default_rng(1).random((4, 3, 5, 5), dtype=np.float32)
    for number in range(4):
        store.write_picture("final", number, pictures[number : number + 1])
    opened = store.open_pictures("final", 4)
    store.picture_path("final", 0).unlink()
    np.testing.assert_array_equal(images.to_uint8(opened[2:4]), images.to_uint8(pictures[2:4]))
    with pytest.raises(RunError, match="lacks 1 of 4 final pictures"):
        store.open_pictures("final", 4)


# Whole or absent


def half_a_picture(picture, path):
    path.write_bytes(b"\x89PNG, and then the disk was full")
    raise OSError("no space left on device")


@pytest.mark.parametrize("earlier", [True, False])
def test_a_picture_that_fails_leaves_the_old_one(store, monkeypatch, earlier):
    old = np.full((1, 3, 2, 2), 0.2, np.float32)
    if earlier:
        store.write_picture("final", 0, old)
    before = files_of(store.folder)
    monkeypatch.setattr(images, "save_png", half_a_picture)
    with pytest.raises(OSError, match="no space left"):
        store.write_picture("final", 0, np.ones((1, 3, 2, 2), np.float32))
    assert files_of(store.folder) == before
    if earlier:
        np.testing.assert_allclose(store.read_pictures("final", 1), old)
    else:
        assert store.missing_pictures("final", 1) == [0]


@pytest.mark.parametrize(
    ("write", "good", "bad"),
    [
        (Store.write_text, "whole", "begins well \ud800"),
        (Store.write_json, {"a": 1}, {"a": 2, "b": float("nan")}),
        (Store.write_json, {"a": 1}, {"a": 2, "b": {1, 2}}),
        (Store.write_bundle, {"a": np.ones(3)}, {"a": np.zeros(3), "b": np.array([None])}),
    ],
    ids=["text", "not a number", "not JSON", "tensors"],
)
def test_a_write_that_fails_leaves_the_old_file(store, write, good, bad):
    write(store, "deep/name", good)
    before = (store.folder / "deep/name").read_bytes()
    with pytest.raises(Exception, match=r".+"):
        write(store, "deep/name", bad)
    assert (store.folder / "deep/name").read_bytes() == before
    assert files_of(store.folder) == ["deep/name"]


def test_a_file_written_again_is_replaced(store):
    for text in ("first", "second, with μ"):
        assert store.write_text("page.html", text).read_text(encoding="utf-8") == text
    assert files_of(store.folder) == ["page.html"]


def test_json_tables_and_tensors_are_read_as_they_were_written(store):
    content = {"value": 0.1, "interval": [0.0, None], "text": "μ"}
    store.write_json("scores.json", content)
    assert store.read_json("scores.json") == content
    table = pd.DataFrame({"number": [0, 1], "pixcorr": [0.1 + 0.2, -1 / 3], "label": ["a,b", "c"]})
    store.write_table("per_image.csv", table)
    pd.testing.assert_frame_equal(store.read_table("per_image.csv"), table, check_exact=True)
    tensors = {"a": np.arange(6.0).reshape(2, 3).T, "mask": np.array([True, False])}
    store.write_bundle("rois.npz", tensors)
    read = store.read_bundle("rois.npz")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_what_was_never_written_is_asked_for_by_name(store):
    with pytest.raises(RunError, match=r"has no scores\.json: run the earlier stages first"):
        store.read_json("scores.json")


def test_an_image_that_fails_leaves_the_old_one(store):
    store.write_image("report/page.png", Image.new("RGB", (2, 3), (10, 20, 30)))
    with pytest.raises(OSError, match="cannot write mode"):
        store.write_image("report/page.png", Image.new("LAB", (2, 3)))
    with Image.open(store.folder / "report/page.png") as image:
        assert image.size == (2, 3)
        assert image.getpixel((0, 0)) == (10, 20, 30)
    assert files_of(store.folder) == ["report/page.png"]


def test_paths_have_their_folder(store):
    assert store.path("decoders/vision.safetensors").parent.is_dir()


# Stages


def test_a_stage_notes_its_identity_time_and_memory(store):
    assert store.manifest == {}
    assert not store.is_finished("fit")
    with store.stage("fit", "demo-1"):
        assert store.manifest["stages"]["fit"] == {"uid": "demo-1", "seconds": 0.0}
        assert not store.is_finished("fit")
        time.sleep(0.02)
    assert store.is_finished("fit")
    facts = store.manifest["stages"]["fit"]
    assert facts.keys() == {"uid", "seconds", "peak_memory_gb", "finished"}
    assert facts["uid"] == "demo-1"
    assert 0.02 <= facts["seconds"] < 60
    assert 0.01 < facts["peak_memory_gb"] < 1000
    assert facts["finished"].endswith("+00:00")


def test_seconds_add_up_over_failed_and_resumed_runs(store):
    totals = []
    for failure in (RuntimeError, Killed, None):
        try:
            with Store(store.folder).stage("fit", "demo-1"):
                time.sleep(0.05)
                if failure:
                    raise failure
        except (RuntimeError, Killed):
            assert not store.is_finished("fit")
        totals.append(store.manifest["stages"]["fit"]["seconds"])
    assert store.is_finished("fit")
    assert totals[0] >= 0.04
    assert totals[1] >= totals[0] + 0.04
    assert totals[2] >= totals[1] + 0.04


def test_memory_is_of_the_stage_not_of_the_process(store):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux can begin a new peak")
    with store.stage("large", "u"):
        np.ones(40_000_000)  # 0.3 GB
    with store.stage("small", "u"):
        np.ones(10)
    stages = store.manifest["stages"]
    assert stages["large"]["peak_memory_gb"] > stages["small"]["peak_memory_gb"] + 0.2


def test_a_stage_of_another_run_is_not_continued(store):
    with pytest.raises(Killed), store.stage("fit", "demo-1"):
        raise Killed
    before = store.manifest
    with (
        pytest.raises(RunError, match=r"the stage fit of another run \(demo-1, now demo-2\).*overwrite this one"),
        store.stage("fit", "demo-2"),
    ):
        raise AssertionError("the stage must not begin")
    assert store.manifest == before
    with store.stage("reconstruct", "demo-2"):
        pass
    assert store.is_finished("reconstruct")


def test_a_stage_that_runs_again_is_unfinished_until_it_ends(store):
    with store.stage("report", "u"):
        pass
    with pytest.raises(Killed), store.stage("report", "u"):
        raise Killed
    assert not store.is_finished("report")


def test_the_manifest_keeps_what_is_not_changed(store):
    store.update_manifest(uid="demo-1", seed=3)
    with store.stage("fit", "u"):
        store.update_manifest(seed=4)
    assert store.manifest["uid"] == "demo-1"
    assert store.manifest["seed"] == 4
    assert store.is_finished("fit")


def test_discarding_forgets_stages_and_deletes_their_outputs(store):
    for name in ("extract", "fit"):
        with store.stage(name, "demo-1"):
            store.write_array(f"{name}/x", np.ones((3, 2), np.float32))
            store.write_text(f"{name}.txt", name)
    store.discard({"fit": ["arrays/fit", "fit.txt", "never/made"], "report": ["report"]})
    assert store.is_finished("extract")
    np.testing.assert_array_equal(store.read_array("extract/x"), 1)
    assert not store.is_finished("fit")
    assert "fit" not in store.manifest["stages"]
    assert not any("fit" in path for path in files_of(store.folder))
    with store.stage("fit", "demo-2"):
        store.write_array("fit/x", np.zeros((5,), np.float32))
    assert store.manifest["stages"]["fit"]["uid"] == "demo-2"


def test_an_interrupted_discard_is_not_taken_for_done(store, monkeypatch):
    with store.stage("fit", "demo-1"):
        store.write_array("fit/x", np.ones((3, 2), np.float32))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            store.discard({"fit": ["arrays/fit"]})
    assert not store.is_finished("fit")
    assert store.manifest["stages"]["fit"]["uid"] == "demo-1"  # so other settings are still refused
    with pytest.raises(RunError, match="holds the stage fit of another run"), store.stage("fit", "demo-2"):
        pass


def test_discarding_nothing_writes_nothing(store):
    store.discard({})
    assert files_of(store.folder) == []


def test_a_block_of_zeros_counts_as_written_also_after_reopening(tmp_path):
    Store(tmp_path).blocks("zeros", (4, 2))
    Store(tmp_path).write_array("zeros", np.zeros((4, 2), np.float32))
    assert Store(tmp_path).blocks("zeros", (4, 2))[1] == []
    np.testing.assert_array_equal(Store(tmp_path).read_array("zeros"), 0)
