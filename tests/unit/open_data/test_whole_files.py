"""Laws of files that came from a server: what can be compared is, and nothing else passes for the file that was listed."""

import gzip
import hashlib
import zipfile

import h5py
import nibabel as nib
import numpy as np
import pytest
from scipy.io import savemat

from braindiffuser.open_data.servers import RemoteFile
from braindiffuser.open_data.whole_files import MIB, fault_of, is_whole, note_hash, part_sizes

RANDOM = np.random.default_rng(0)
CONTENT = RANDOM.bytes(21 * MIB + 12_345)


def etag_of(content, part):
    parts = [content[start : start + part] for start in range(0, len(content), part)]
    digest = hashlib.md5(b"".join(hashlib.md5(each).digest() for each in parts)).hexdigest()  # noqa: S324
    return f"{digest}-{len(parts)}"


def listed(content, name="betas.bin", etag="", md5=""):
    return RemoteFile(name, len(content), md5, name, etag)


@pytest.mark.parametrize("mib", [5, 6, 7, 8, 11, 16, 32])
def test_an_upload_in_parts_is_compared_whatever_whole_size_they_have(tmp_path, mib):
    path, file = tmp_path / "betas.bin", listed(CONTENT, etag=etag_of(CONTENT, mib * MIB))
    n_parts = int(file.etag.partition("-")[2])
    assert n_parts == 1 or mib * MIB in part_sizes(len(CONTENT), n_parts)
    path.write_bytes(CONTENT)
    assert is_whole(path, file)
    changed = bytearray(CONTENT)
    changed[7_000_000] ^= 1
    path.write_bytes(bytes(changed))
    assert not is_whole(path, file)


@pytest.mark.parametrize("part", [5 * MIB + 1, 6_000_000])
def test_parts_of_an_unusual_size_lead_to_a_note_and_to_no_second_download(tmp_path, part):
    path, file = tmp_path / "betas.bin", listed(CONTENT, etag=etag_of(CONTENT, part))
    path.write_bytes(CONTENT)
    assert not is_whole(path, file)  # copied by hand, perhaps of another release
    assert is_whole(path, file, came_now=True)
    note_hash(path, file, path)
    assert is_whole(path, file)
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert not is_whole(path, file)


def write_all(folder):
    """Write a file of each kind that has a form of its own; name → path."""
    values = RANDOM.normal(size=(12, 10, 8, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), folder / "b.nii.gz")
    nib.save(nib.Nifti1Image(values, np.eye(4)), folder / "b.nii")
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(3, 10, 8, 16), compression="gzip")
    np.savez_compressed(folder / "b.npz", x=values)
    with zipfile.ZipFile(folder / "b.zip", "w") as file:
        file.writestr("x", values.tobytes())
    savemat(folder / "b.mat", {"x": values}, do_compression=True)
    (folder / "b.csv").write_text("a,b\n1,ü\n" * 100, encoding="utf-8")
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 100))
    return {path.name: path for path in sorted(folder.iterdir())}


def test_whole_files_are_no_fault_and_those_that_lack_their_end_are(tmp_path):
    for name, path in write_all(tmp_path).items():
        assert fault_of(path) == "", name
        whole = path.read_bytes()
        if path.suffix != ".csv":
            path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
            if path.suffix != ".nii":  # whose data may be zeros
                assert fault_of(path), name
            path.write_bytes(whole[: len(whole) // 2])
            assert fault_of(path), name
        path.write_bytes(bytes(len(whole)))
        assert fault_of(path), name
        path.write_bytes(b"\n<!DOCTYPE html><title>Log in</title>".ljust(len(whole)))
        assert fault_of(path) == "it is a web page", name


@pytest.mark.parametrize("name", ["b.nii.gz", "b.h5", "b.npz", "b.zip", "b.mat", "b.csv.gz"])
def test_a_changed_byte_under_a_checksum_is_noticed(tmp_path, name):
    path = write_all(tmp_path)[name]
    whole = path.read_bytes()
    noticed = 0
    for place in np.linspace(0.3, 0.9, 20):
        changed = bytearray(whole)
        changed[int(place * len(whole))] ^= 4
        path.write_bytes(bytes(changed))
        noticed += bool(fault_of(path))
    assert noticed >= 18


def test_an_md5_decides_alone(tmp_path):
    path = tmp_path / "b.csv"
    path.write_bytes(b"<html>")
    md5 = hashlib.md5(b"<html>").hexdigest()  # noqa: S324
    assert is_whole(path, listed(b"<html>", "b.csv", md5=md5))
    path.write_bytes(b"<htmL>")
    assert not is_whole(path, listed(b"<html>", "b.csv", md5=md5))
