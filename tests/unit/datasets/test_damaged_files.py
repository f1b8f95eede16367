"""Damaged files: every example ends in the right values or in a RecordingError, never in other values."""

import gzip

import h5py
import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.beta_files import inspect_betas, read_betas
from braindiffuser.datasets.volumes import read_labels, read_mask
from braindiffuser.errors import RecordingError

SHAPE, N_TRIALS = (5, 4, 3), 20
AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])
STORED = np.random.default_rng(0).integers(-900, 900, (*SHAPE, N_TRIALS), dtype=np.int16)
LABELS = np.random.default_rng(1).integers(-1, 8, SHAPE).astype(np.float64)
MASK = LABELS > 3
RIGHT = STORED[MASK].T / np.float32(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    nib.save(nib.Nifti1Image(STORED, AFFINE), place / "betas.nii.gz")
    nib.save(nib.Nifti1Image(STORED, AFFINE), place / "plain.nii")
    nib.save(nib.Nifti1Image(LABELS, AFFINE), place / "labels.nii.gz")
    with h5py.File(place / "betas.hdf5", "w", libver="latest") as file:  # with checksums of headers and chunks
        file.create_dataset("betas", data=STORED.T, chunks=(N_TRIALS, 1, 1, 1), fletcher32=True)
    return place


damage = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True), st.just(0)),
    st.tuples(st.just("zeros"), st.floats(0, 1, exclude_max=True), st.integers(1, 64)),
    st.tuples(st.just("other"), st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
    st.tuples(st.just("longer"), st.just(0.0), st.integers(1, 20)),
    st.tuples(st.just("twice"), st.floats(0, 1, exclude_max=True), st.integers(1, 200)),
)


def damaged(content, kind, share, value):
    where, changed = int(share * len(content)), bytearray(content)
    if kind == "flip":
        changed[where] ^= 1 << value
    elif kind == "cut":
        del changed[where:]
    elif kind == "zeros":
        changed[where : where + value] = bytes(len(changed[where : where + value]))
    elif kind == "other":
        changed[where] = value
    elif kind == "longer":
        changed += b"x" * value
    else:
        changed[where:where] = changed[where : where + value]
    return bytes(changed)


@pytest.mark.parametrize("name", ["betas.nii.gz", "betas.hdf5"])
@given(damage)
@settings(deadline=None, max_examples=120)
def test_damaged_betas_are_right_or_refused(folder, name, harm):
    assume(not (name == "betas.hdf5" and harm[0] == "twice"))  # a chunk in another's place has a checksum that is right
    path = folder / f"damaged_{name}"
    path.write_bytes(damaged((folder / name).read_bytes(), *harm))
    try:
        shape = inspect_betas(path)
        if (shape.grid, shape.n_trials) != (SHAPE, N_TRIALS):
            return  # a header is compared with the mask and the design
        betas = read_betas(path, MASK)
    except RecordingError as error:
        assert path.name in str(error)  # noqa: PT017 - most damage is refused, but not all damages anything
    else:
        np.testing.assert_array_equal(betas, RIGHT)


@given(damage)
@settings(deadline=None, max_examples=120)
def test_damaged_labels_are_right_or_refused(folder, harm):
    path = folder / "damaged_labels.nii.gz"
    path.write_bytes(damaged((folder / "labels.nii.gz").read_bytes(), *harm))
    try:
        labels, affine = read_labels(path)
    except RecordingError as error:
        assert path.name in str(error)  # noqa: PT017 - most damage is refused, but not all damages anything
    else:
        np.testing.assert_array_equal(labels, LABELS)
        np.testing.assert_allclose(affine, AFFINE, atol=1e-6)


def test_a_compressed_file_without_its_checksum_is_refused(folder, tmp_path):
    for name, read in {"betas.nii.gz": lambda path: read_betas(path, MASK), "labels.nii.gz": read_labels}.items():
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:-8])
        with pytest.raises(RecordingError, match="is damaged, cut short"):
            read(tmp_path / name)


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_longer_than_its_header_tells_is_refused(tmp_path, packed):
    path = tmp_path / ("betas.nii.gz" if packed else "betas.nii")
    nib.save(nib.Nifti1Image(STORED, AFFINE), tmp_path / "whole.nii")
    header = bytearray((tmp_path / "whole.nii").read_bytes())
    header[48:50] = np.int16(N_TRIALS - 1).tobytes()  # dim[4]
    path.write_bytes(gzip.compress(header) if packed else header)
    with pytest.raises(RecordingError, match=r"120 bytes more than its header tells of"):
        read_betas(path, MASK)


@pytest.mark.parametrize("packed", [True, False])
def test_a_header_that_tells_of_more_than_the_file_can_hold_is_refused_without_memory(tmp_path, packed):
    path = tmp_path / ("labels.nii.gz" if packed else "labels.nii")
    nib.save(nib.Nifti1Image(LABELS, AFFINE), tmp_path / "whole.nii")
    header = bytearray((tmp_path / "whole.nii").read_bytes())
    header[42:48] = np.array([30_000] * 3, np.int16).tobytes()
    path.write_bytes(gzip.compress(header) if packed else header)
    with pytest.raises(RecordingError, match="more than it can hold"):
        read_labels(path)


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_numbers_that_are_not_real_are_refused(tmp_path, dtype):
    nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 2), dtype), AFFINE), tmp_path / "betas.nii.gz")
    with pytest.raises(RecordingError, match="expected real numbers"):
        inspect_betas(tmp_path / "betas.nii.gz")


def test_unsigned_nifti_betas_are_refused_unless_the_header_scales_them(tmp_path):
    path = tmp_path / "betas.nii"
    nib.save(nib.Nifti1Image(STORED.astype(np.uint16), AFFINE), path)
    with pytest.raises(RecordingError, match=r"holds betas as uint16, .*expected real numbers with a sign"):
        inspect_betas(path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -20], np.float32).tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    assert inspect_betas(path).n_trials == N_TRIALS
    np.testing.assert_allclose(read_betas(path, MASK), STORED.astype(np.uint16)[MASK].T * 0.5 - 20)


@pytest.mark.parametrize("dtype", [np.uint16, np.complex64, bool, "S3"])
def test_hdf5_of_other_types_is_refused(tmp_path, dtype):
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["betas"] = np.zeros((2, 3, 3, 3), dtype)
    with pytest.raises(RecordingError, match="expected real numbers with a sign"):
        inspect_betas(tmp_path / "betas.hdf5")


def test_hdf5_without_betas_says_what_it_has(tmp_path):
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["responses"] = np.zeros(3)
        file.create_group("more")
    with pytest.raises(RecordingError, match="no dataset betas, but more, responses"):
        inspect_betas(tmp_path / "betas.hdf5")


def test_a_beta_beyond_float32_is_refused_by_name(tmp_path):
    values = STORED.T.astype(np.float64)
    values[3] = 1e300
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["betas"] = values
    with pytest.raises(RecordingError, match=r"betas\.hdf5 has NaN or infinite betas"):
        read_betas(tmp_path / "betas.hdf5", MASK)


# Masks and labels


@pytest.mark.parametrize("value", [0.4, 0.5, 2.01, np.inf, -np.inf, 1e30])
def test_masks_of_fractions_are_refused(tmp_path, value):
    labels = LABELS.copy()
    labels[1, 2, 1] = value
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "mask.nii.gz")
    with pytest.raises(RecordingError, match=r"no labels in 1 voxels.*nearest neighbours"):
        read_mask(tmp_path / "mask.nii.gz")


def test_a_probability_that_is_stored_with_a_slope_is_a_fraction_too(tmp_path):
    nib.save(nib.Nifti1Image(np.full(SHAPE, 102, np.uint8), AFFINE), tmp_path / "mask.nii")
    content = bytearray((tmp_path / "mask.nii").read_bytes())
    content[112:120] = np.array([1 / 255, 0], np.float32).tobytes()  # scl_slope, scl_inter
    (tmp_path / "mask.nii").write_bytes(content)
    with pytest.raises(RecordingError, match="no labels in 60 voxels"):
        read_mask(tmp_path / "mask.nii")


@pytest.mark.parametrize("noise", [0.0, 1e-6, -1e-6])
def test_labels_that_are_whole_numbers_but_for_rounding_pass(tmp_path, noise):
    labels = LABELS + noise
    labels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "labels.nii.gz")
    found, _ = read_labels(tmp_path / "labels.nii.gz")
    expected = LABELS.copy()
    expected[0, 0, 0] = -1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("padding", "refused"), [(b"\0", False), (bytes(512), False), (bytes(5000), True), (b"\0" * 9 + b"x", True)]
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_few_zeros_may_follow_the_data(folder, tmp_path, packed, padding, refused):
    content = (folder / "plain.nii").read_bytes() + padding
    path = tmp_path / ("betas.nii.gz" if packed else "betas.nii")
    path.write_bytes(gzip.compress(content) if packed else content)
    if refused:
        with pytest.raises(RecordingError, match="bytes more than its header tells of"):
            read_betas(path, MASK)
    else:
        np.testing.assert_array_equal(read_betas(path, MASK), RIGHT)


@pytest.mark.parametrize("axes", [(1,), (1, 1), ()])
def test_axes_of_length_one_are_left_out(tmp_path, axes):
    values = STORED.reshape(*SHAPE, *axes, N_TRIALS)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "betas.nii.gz")
    assert inspect_betas(tmp_path / "betas.nii.gz").n_trials == N_TRIALS
    np.testing.assert_array_equal(read_betas(tmp_path / "betas.nii.gz", MASK), RIGHT)
    nib.save(nib.Nifti1Image(LABELS.reshape(*SHAPE, *axes), AFFINE), tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz")[0], LABELS)
