"""Laws of stacks: the same pictures come out whatever file, layout and scale they are in, and what is not clear is refused."""

import errno
import io
import json
import pickle
import tempfile
import zipfile

import h5py
import numcodecs
import numpy as np
import pytest
import torch
import zarr

from braindiffuser.errors import RunError
from braindiffuser.images import from_uint8
from braindiffuser.picture_stacks import is_stack, open_stack
from braindiffuser.picture_stacks.stored import FORMATS, in_order

N, HEIGHT, WIDTH = 5, 12, 14


@pytest.fixture
def raw():
    """8-bit pictures (n, height, width, 3)."""
    return np.random.default_rng(0).integers(0, 256, (N, HEIGHT, WIDTH, 3), np.uint8)


def write_npy(path, array):
    np.save(path, array)
    return str(path)


def write_npz(path, array):
    np.savez_compressed(path, made=array)
    return str(path)


def write_npz_in_columns(path, array):
    np.savez(path, made=np.asfortranarray(array))
    return str(path)


def write_torch(path, array):
    torch.save(torch.from_numpy(array), path)
    return str(path)


def write_torch_by_name(path, array):
    torch.save({"made": torch.from_numpy(array), "epoch": 3}, path)
    return str(path)


def write_old_torch(path, array):
    torch.save([torch.from_numpy(array)], path, _use_new_zipfile_serialization=False)
    return str(path)


def write_zarr(path, array):
    zarr.create_array(store=str(path), data=array, chunks=(2, *array.shape[1:]))
    return str(path)


def write_zarr_group(path, array):
    zarr.open_group(str(path), mode="w").create_array("a/made", data=array)
    return f"{path}:a/made"


def write_hdf5(path, array):
    with h5py.File(path, "w") as file:
        file["a/made"] = array
        file["other"] = array[:, :1]
    return f"{path}:a/made"


WRITERS = {
    "made.npy": write_npy,
    "made.npz": write_npz,
    "columns.npz": write_npz_in_columns,
    "made.pt": write_torch,
    "named.pth": write_torch_by_name,
    "old.pt": write_old_torch,
    "made.zarr": write_zarr,
    "group.zarr": write_zarr_group,
    "made.h5": write_hdf5,
}


def test_every_format_is_tried():
    assert {name[name.index(".") :] for name in WRITERS} | {".hdf5", ".hdf"} == set(FORMATS)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_pictures_come_out_of_every_format_in_any_order(name, raw, tmp_path):
    stack = open_stack(WRITERS[name](tmp_path / name, raw))
    assert np.array_equal(stack.pictures[:], from_uint8(raw))
    order = np.array([4, 0, 0, 3])
    assert np.array_equal(stack.pictures.take(order)[:], from_uint8(raw[order]))
    assert np.array_equal(stack.pictures[1:3], from_uint8(raw[1:3]))
    assert stack.remarks == ()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels_first", [True, False])
def test_layouts_and_types_are_the_same_pictures(dtype, channels_first, raw, tmp_path):
    shares = (raw / 255).astype(dtype)
    array = shares.transpose(0, 3, 1, 2) if channels_first else shares
    stack = open_stack(write_npy(tmp_path / "made.npy", np.ascontiguousarray(array)))
    assert stack.pictures[:].dtype == np.float32
    assert np.allclose(stack.pictures[:], from_uint8(raw), atol=1e-3)
    assert stack.remarks == ()


def test_torchs_short_floats_are_read(raw, tmp_path):
    torch.save(torch.from_numpy(raw / 255).to(torch.bfloat16), tmp_path / "made.pt")
    assert np.allclose(open_stack(str(tmp_path / "made.pt")).pictures[:], from_uint8(raw), atol=1e-2)


@pytest.mark.parametrize("shape", [(N, 1, HEIGHT, WIDTH), (N, HEIGHT, WIDTH, 1), (N, HEIGHT, WIDTH)])
def test_grey_is_repeated_and_said(shape, raw, tmp_path):
    grey = raw[..., 0]
    stack = open_stack(write_npy(tmp_path / "made.npy", grey.reshape(shape)))
    assert np.array_equal(stack.pictures[:], from_uint8(np.repeat(grey[..., None], 3, axis=3)))
    assert stack.remarks == (f"pictures of {tmp_path / 'made.npy'} are grey, and shown in three equal channels",)


# Scales


def of_range(path, low, high):
    return write_npy(path, np.linspace(low, high, N * 3 * 16 * 16).reshape(N, 3, 16, 16))


@pytest.mark.parametrize(
    ("low", "high", "remark"),
    [
        (0, 1, None),
        (0.2, 0.4, None),
        (-0.0005, 1.0005, None),
        (-0.1, 1.2, "they are read on the scale from 0 to 1, and clipped to it"),
        (0, 255, "they are read on the scale from 0 to 255"),
        (10, 200, "they are read on the scale from 0 to 255"),
    ],
)
def test_scales_that_are_clear_are_read_and_said_where_unusual(low, high, remark, tmp_path):
    stack = open_stack(of_range(tmp_path / "made.npy", low, high))
    scale = 255 if high > 2 else 1
    expected = np.clip([low / scale, high / scale], 0, 1)
    pictures = stack.pictures[:]
    assert [pictures.min(), pictures.max()] == pytest.approx(expected.tolist())
    assert [text.partition(": ")[2] for text in stack.remarks] == ([remark] if remark else [])


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-1, 1, r"holds numbers from -1 to 1, and pictures are expected from 0 to 1: write \(pictures \+ 1\) / 2 if"),
        (-0.6, 0.9, r"if their scale begins at −1"),
        (-2.1, 2.6, "on no scale that is known: undo what they were standardised by"),
        (0, 3, "on no scale that is known"),
        (0, 300, "on no scale that is known"),
        (-40, 200, "on no scale that is known"),
    ],
)
def test_scales_that_are_not_clear_are_refused(low, high, said, tmp_path):
    with pytest.raises(RunError, match=said):
        open_stack(of_range(tmp_path / "made.npy", low, high))


def test_numbers_that_no_picture_has_are_refused(raw, tmp_path):
    shares = raw / 255
    shares[3, 0, 0, 0] = np.nan
    with pytest.raises(RunError, match="not finite, first in picture 3, counted from 0"):
        open_stack(write_npy(tmp_path / "made.npy", shares))
    with pytest.raises(RunError, match="type int64, whose scale is not known: write 8-bit numbers"):
        open_stack(write_npy(tmp_path / "made.npy", raw.astype(np.int64)))
    with pytest.raises(RunError, match="in 8 bits, so all pictures would be black: multiply by 255"):
        open_stack(write_npy(tmp_path / "made.npy", (raw > 100).astype(np.uint8)))


# Shapes and names


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 16, 16), "looks like one picture"),
        ((16, 16, 3), "looks like one picture"),
        ((5, 16), "no stack of pictures: write one array of the shape"),
        ((0, 3, 16, 16), "no stack of pictures"),
        ((5, 4, 16, 16), "pictures of four channels"),
        ((5, 16, 16, 4), "pictures of four channels"),
        ((5, 3, 16, 3), "not clear where channels are"),
        ((5, 16, 16, 16), "not clear where channels are"),
    ],
)
def test_shapes_that_are_not_clear_are_refused(shape, said, tmp_path):
    with pytest.raises(RunError, match=said):
        open_stack(write_npy(tmp_path / "made.npy", np.ones(shape, np.uint8)))


def test_one_of_several_arrays_must_be_named(raw, tmp_path):
    np.savez(tmp_path / "made.npz", ours=raw, theirs=raw[::-1], labels=np.arange(N))
    path = tmp_path / "made.npz"
    with pytest.raises(RunError, match=r"holds ours \(5, 12, 14, 3\), theirs .*: say which .*, as made\.npz:ours"):
        open_stack(str(path))
    with pytest.raises(RunError, match=r"made\.npz holds no array mine; it holds ours"):
        open_stack(f"{path}:mine")
    assert np.array_equal(open_stack(f"{path}:theirs").pictures[:], from_uint8(raw[::-1]))


def test_an_array_of_pictures_beside_others_need_not_be_named(raw, tmp_path):
    np.savez(tmp_path / "made.npz", pictures=raw, labels=np.arange(N), masks=raw[..., 0])
    assert open_stack(str(tmp_path / "made.npz")).key == "pictures"


# Safety


class Harmful:
    def __reduce__(self):
        return (print, ("never",))


@pytest.mark.parametrize("name", ["made.pt", "old.pt", "made.npy", "made.npz"])
def test_nothing_in_a_file_is_run(name, tmp_path, capsys):
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save({"made": Harmful()}, path, _use_new_zipfile_serialization=name == "made.pt")
    elif path.suffix == ".npy":
        np.save(path, np.array([Harmful()], object), allow_pickle=True)
    else:
        np.savez(path, made=np.array([Harmful()], object))
    with pytest.raises(RunError, match=r"more than tensors|in a pickle, which is never read"):
        open_stack(str(path))
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(RunError):
        open_stack(str(path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith(".zarr")])
def test_damaged_files_are_named(name, raw, tmp_path):
    entry = WRITERS[name](tmp_path / name, raw)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        open_stack(entry)
    path.write_bytes(b"")
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        open_stack(entry)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_zarr_folder_that_lacks_chunks_is_refused(sharded, raw, tmp_path):
    """A copy that was cut short would be read as black parts of pictures."""
    chunks = {"chunks": (1, 4, 7, 3), "shards": (2, 8, 14, 3) if sharded else None}
    path = tmp_path / "made.zarr"
    zarr.create_array(store=str(path), data=raw, **chunks)
    assert np.array_equal(open_stack(str(path)).pictures[:], from_uint8(raw))
    files = sorted(file for file in (path / "c").rglob("*") if file.is_file())
    files[1].unlink()
    with pytest.raises(
        RunError, match=r"made\.zarr: \d+ of 30 chunks .* are not there, .*: write or copy it again, with config"
    ):
        open_stack(str(path))


def test_a_zarr_folder_with_black_chunks_is_read_if_they_were_written(raw, tmp_path):
    raw[2] = 0
    zarr.create_array(store=str(tmp_path / "some.zarr"), data=raw, chunks=(1, *raw.shape[1:]))
    with pytest.raises(RunError, match="1 of 5 chunks of the array are not there, such as in rows 2 to 2, "):
        open_stack(str(tmp_path / "some.zarr"))
    whole, config = str(tmp_path / "whole.zarr"), {"write_empty_chunks": True}
    zarr.create_array(store=whole, data=raw, chunks=(1, *raw.shape[1:]), config=config)
    assert np.array_equal(open_stack(whole).pictures[:], from_uint8(raw))


def test_an_array_that_lacks_chunks_is_not_in_the_way_of_another(raw, tmp_path):
    group = zarr.open_group(str(tmp_path / "made.zarr"), mode="w")
    group.create_array("made", data=raw)
    group.create_array("labels", shape=(N,), dtype="f4")
    assert open_stack(str(tmp_path / "made.zarr")).key == "made"


@pytest.mark.parametrize(
    ("chunks", "said"),
    [((1, HEIGHT, WIDTH, 3), "2 of 5 chunks of the array are not there"), (None, "/made was never written")],
)
def test_parts_of_an_hdf5_array_that_were_never_written_are_no_black_pictures(chunks, said, raw, tmp_path):
    with h5py.File(tmp_path / "made.h5", "w") as file:
        made = file.create_dataset("made", raw.shape, raw.dtype, chunks=chunks)
        if chunks:
            made[:3] = raw[:3]
    with pytest.raises(RunError, match=rf"made\.h5: {said}.* would read as .*: write "):
        open_stack(str(tmp_path / "made.h5"))


def test_no_more_of_an_archive_is_unpacked_than_its_header_says(raw, tmp_path, monkeypatch):
    content = io.BytesIO()
    np.save(content, raw)
    with zipfile.ZipFile(tmp_path / "made.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("made.npy", content.getvalue() + bytes(10_000_000))
    unpacked = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(
        zipfile.ZipExtFile, "read", lambda self, n=-1: unpacked.append(len(found := read(self, n))) or found
    )
    with pytest.raises(RunError, match=f"holds {raw.nbytes + 1:,} bytes of numbers or more, expected {raw.nbytes:,}"):
        open_stack(str(tmp_path / "made.npz"))
    assert sum(unpacked) < 2 * raw.nbytes


@pytest.mark.parametrize(
    "changed",
    [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}, {"filters": [{"id": "pickle"}], "dtype": "|O"}],
)
def test_no_pickle_in_a_zarr_folder_is_run(changed, raw, tmp_path, capsys):
    path = tmp_path / "made.zarr"
    zarr.create_array(store=str(path), data=raw, chunks=raw.shape, zarr_format=2, compressors=None)
    facts = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps(facts | changed))
    (path / ".".join("0000")).write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(RunError):
        open_stack(str(path))
    with pytest.raises(numcodecs.errors.UnsafeDecodeError):  # of 0.16.6 and later
        numcodecs.Pickle().decode(pickle.dumps(Harmful()))
    assert capsys.readouterr().out == ""


def test_an_archive_whose_numbers_were_changed_is_refused_by_its_checksum(raw, tmp_path):
    np.savez(tmp_path / "made.npz", made=raw)
    content = bytearray((tmp_path / "made.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "made.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"made\.npz is damaged, cut short or no array \(\.npz; Bad CRC-32"):
        open_stack(str(tmp_path / "made.npz"))


def test_missing_files_and_pointers_are_said(tmp_path):
    with pytest.raises(RunError, match=r"made\.npy is missing; expected a stack"):
        open_stack(str(tmp_path / "made.npy"))
    (tmp_path / "made.npy").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(RunError, match="pointer of git-lfs"):
        open_stack(str(tmp_path / "made.npy"))


def test_values_in_other_files_are_refused(raw, tmp_path):
    write_hdf5(tmp_path / "far.h5", raw)
    layout = h5py.VirtualLayout(raw.shape, raw.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "far.h5"), "a/made", raw.shape)
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file.create_virtual_dataset("made", layout)
    with pytest.raises(RunError, match="the values of made may lie in other files"):
        open_stack(str(tmp_path / "made.h5"))


@pytest.mark.parametrize("place", ["made", "deep/made"])
@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("far.h5", "a/made"), h5py.SoftLink("/nowhere")], ids=["far", "soft"]
)
def test_links_are_named_where_they_are_all_there_is(place, link, raw, tmp_path):
    write_hdf5(tmp_path / "far.h5", raw)
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file[place] = link
    with pytest.raises(RunError, match=f"made.h5: {place} is a link, and links are not followed: copy"):
        open_stack(str(tmp_path / "made.h5"))


def test_a_folder_of_pictures_may_be_named_like_a_stack(tmp_path):
    (tmp_path / "made.h5").mkdir()
    assert not is_stack(str(tmp_path / "made.h5"))
    assert is_stack(str(tmp_path / "other.h5"))


@pytest.mark.parametrize("numbers", [[2, 3, 4], [4, 2, 2], [0]])
def test_readers_of_ascending_rows_are_asked_for_no_more_than_these(numbers):
    asked = []

    def read(rows):
        asked.append(rows)
        return np.arange(10)[rows]

    assert in_order(np.array(numbers), read).tolist() == numbers
    (rows,) = asked
    assert isinstance(rows, slice) == (sorted(set(numbers)) == list(range(min(numbers), max(numbers) + 1)))


@pytest.mark.parametrize("failing", ["write", "flush"])
def test_a_full_disk_of_temporary_files_is_named(failing, raw, tmp_path, monkeypatch):
    """An archive is unpacked there, not where it lies."""

    class Full(io.BytesIO):
        pass

    def refuse(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    setattr(Full, failing, refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "here"))
    np.savez_compressed(tmp_path / "made.npz", raw)
    with pytest.raises(RunError, match=r"here cannot be read or written: the disk is full"):
        open_stack(str(tmp_path / "made.npz")).pictures[:]
