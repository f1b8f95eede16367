"""Laws of label volumes and maps: regions by volume and label, read only when they are named."""

import nibabel as nib
import numpy as np
import pytest

from braindiffuser.datasets.known_regions import Further, KnownRegions
from braindiffuser.datasets.label_volumes import LabelVolume, LabelVolumes, read_names, table_beside
from braindiffuser.datasets.own_volumes import list_volumes
from braindiffuser.datasets.region_expressions import doubts, evaluate, read_expressions
from braindiffuser.datasets.voxel_maps import VoxelMaps, read_map
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

GRID = (4, 5, 3)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
RNG = np.random.default_rng(3)
MASK = RNG.random(GRID) < 0.7
LABELS = RNG.integers(-1, 5, GRID)
VOXELS = Voxels.in_volume(MASK, AFFINE)
INSIDE = LABELS[MASK]


def write(path, values, affine=AFFINE):
    nib.save(nib.Nifti1Image(values.astype(np.float64), affine), path)
    return path


@pytest.fixture
def known(tmp_path):
    (tmp_path / "kastner.ctab").write_text("0 Unknown\n1 V1v 10 20 30 0\n2\tV1d\n3 FEF\n4 V1v\n")
    (tmp_path / "mine.tsv").write_text("index\tname\n1\tV1v\n2\tfield one\n3\tfield 1\n4\tfield 2\n")
    paths = {name: write(tmp_path / f"{name}.nii.gz", LABELS) for name in ("kastner", "mine", "plain", "lh.kastner")}
    volumes = {name: LabelVolume(path, VOXELS, "mask.nii", table_beside(path)) for name, path in paths.items()}
    volumes["gone"] = LabelVolume(tmp_path / "gone.nii.gz", VOXELS, "mask.nii")
    labels = LabelVolumes(volumes, ("mine",))
    return KnownRegions({"V1": INSIDE == 3}, lambda: Further(labels))


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("kastner:V1d", [2]),
        ("Kastner : v1-d", [2]),
        ("kastner:V1v", [1, 4]),  # two numbers of one name, as of two hemispheres
        ("kastner:2", [2]),
        ("plain:4", [4]),
        ("kastner", [1, 2, 3, 4]),
        ("plain", [1, 2, 3, 4]),
        ("FEF", [3]),
        ("V1v", [1]),  # of `mine`, which comes first
        ("field-one", [2]),
        ("V1", [3]),  # the recording's own
        ("lh.kastner:1", [1]),
        ("FEF | field one", [2, 3]),
        ("plain & !plain:1", [2, 3, 4]),
        ("plain:2-4", [2, 3, 4]),
        ("plain:2 - Plain:3", [2, 3]),
        ("mine:field 1-field 2", [3, 4]),
    ],
)
def test_labels_are_regions(known, written, numbers):
    np.testing.assert_array_equal(evaluate(written, known), np.isin(INSIDE, numbers))


@pytest.mark.parametrize("written", ["plain:9", "kastner:9", "kastner:zzz", "zzz:1", "4", "V9"])
def test_labels_that_are_not_there_are_refused(known, written):
    with pytest.raises(
        RecordingError, match=r"there is no region .*; this recording has V1, and labels of gone, kastner, mine"
    ):
        evaluate(written, known)


def test_a_label_of_several_volumes_is_ambiguous(tmp_path):
    paths = [write(tmp_path / f"{name}.nii.gz", LABELS) for name in "ab"]
    labels = LabelVolumes({path.name[0]: LabelVolume(path, VOXELS, "mask", None, {1: "V1v"}) for path in paths})
    with pytest.raises(RecordingError, match="spelled like a:V1v and b:V1v: write one of them"):
        evaluate("V1v", KnownRegions({}, lambda: Further(labels)))


def test_a_file_is_read_only_if_it_is_named_and_then_the_error_names_it(known):
    assert evaluate("V1 | kastner:V1d", known).any()
    with pytest.raises(RecordingError, match=r"gone\.nii\.gz is missing"):
        evaluate("V1 | gone", known)


@pytest.mark.parametrize(
    ("values", "affine", "said"),
    [
        (LABELS + 0.5, AFFINE, "numbers that are no labels"),
        (LABELS[:3], AFFINE, "has the grid"),
        (LABELS, AFFINE * 2, "axes"),
    ],
)
def test_a_volume_that_does_not_fit_is_refused(tmp_path, values, affine, said):
    volume = LabelVolume(write(tmp_path / "odd.nii.gz", values, affine), VOXELS, "mask.nii")
    with pytest.raises(RecordingError, match=rf"odd\.nii\.gz .*{said}"):
        evaluate("odd", KnownRegions({}, lambda: Further(LabelVolumes({"odd": volume}))))


def test_masks_of_some_voxels_are_those_of_all_at_these(known):
    chosen = RNG.random(VOXELS.n) < 0.5
    within = known.further.labels.within(chosen)
    np.testing.assert_array_equal(within.mask("kastner:V1d"), known.further.labels.mask("kastner:V1d")[chosen])


def test_a_table_that_is_wrong_is_refused(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("index\tname\n1\ta\n1\tb\n")
    with pytest.raises(RecordingError, match=r"x\.tsv has two rows with the index 1"):
        read_names(path)
    path.write_text("index\tname\n\ta\n")
    assert read_names(path) == {}  # of no number


def test_volumes_and_their_tables_are_files_of_the_recording(tmp_path):
    volume, table = write(tmp_path / "k.nii", LABELS), tmp_path / "k.tsv"
    table.write_text("index\tname\n1\ta\n")
    listed = list_volumes({"kastner": volume, "gone": tmp_path / "gone.nii"}, {"ecc": volume})
    assert listed == {
        "labels/kastner/k.nii": volume,
        "labels/kastner/k.tsv": table,
        "maps/ecc/k.nii": volume,
    }


def test_labels_that_a_table_does_not_name_are_said(known, tmp_path):
    assert known.doubts(["kastner:V1d", "plain:1"]) == []
    path = write(tmp_path / "percent.nii.gz", np.where(LABELS > 3, 80, LABELS))
    labels = LabelVolumes({"percent": LabelVolume(path, VOXELS, "mask.nii", None, {1: "a", 2: "b", 3: "c"})})
    (said,) = KnownRegions({}, lambda: Further(labels)).doubts(["percent:a", "percent"])
    assert said.startswith("percent.nii.gz holds the value 80, though its labels are 1 to 3")


def test_a_damaged_table_does_no_harm_unless_its_volume_is_named(known, tmp_path):
    (tmp_path / "kastner.ctab").write_bytes(b"1 V1v\xff\xfe\n")
    assert evaluate("V1v", known).any()  # of `mine`
    with pytest.raises(RecordingError, match=r"kastner\.ctab"):
        evaluate("kastner:FEF", known)


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("J:Area hOc1 (V1, 17)", [1]),
        ("area hOc1 (V1, 17)", [1]),
        ("lh.J : Area hOc1 (V1, 17)", [1]),
        ("V1 | Area hOc1 (V1, 17) & !b|c", [1, 3]),
        ("b|c | V1", [2, 3]),
        ("J & !(J:b|c | J:Area hOc1 (V1, 17))", [3, 4]),
    ],
)
def test_a_label_that_exists_comes_before_every_operator(written, numbers, tmp_path):
    (tmp_path / "J.tsv").write_text("index\tname\n1\tArea hOc1 (V1, 17)\n2\tb|c\n")
    path = write(tmp_path / "J.nii.gz", LABELS)
    volumes = {name: LabelVolume(path, VOXELS, "mask.nii", tmp_path / "J.tsv") for name in ("J", "lh.J")}
    known = KnownRegions({"V1": INSIDE == 3}, lambda: Further(LabelVolumes(volumes)))
    np.testing.assert_array_equal(evaluate(written, known), np.isin(INSIDE, numbers))


def test_a_number_that_no_volume_holds_is_no_label(known, tmp_path):
    with pytest.raises(RecordingError, match="there is no region 'plain:9999"):
        evaluate(f"plain:{'9' * 5000}", known)
    for name, number in (
        ("a.tsv", "9999999999"),
        ("b.tsv", "9" * 20),
        ("c.ctab", "9999999999"),
        ("d.ctab", "9" * 5000),
    ):
        text = f"1\tV1\n{number}\tV2\n"
        (tmp_path / name).write_text(("index\tname\n" if name.endswith("tsv") else "") + text)
        with pytest.raises(RecordingError, match=rf"{name}.* 9999"):
            read_names(tmp_path / name)


def test_a_map_holds_no_infinity(tmp_path):
    path = write(tmp_path / "ecc.nii.gz", np.where(LABELS > 2, np.inf, LABELS))
    with pytest.raises(RecordingError, match=r"ecc\.nii\.gz is infinite in \d+ of \d+ voxels: write NaN"):
        read_map(path, VOXELS, "mask.nii")
    known = read_map(path, VOXELS, "mask.nii", (np.inf, 0.0))
    np.testing.assert_array_equal(np.isnan(known), (INSIDE > 2) | (INSIDE == 0))
    with pytest.raises(RecordingError, match="the map column is infinite in 1 of 2 voxels"):
        VoxelMaps.of({"column": np.array([1.0, -np.inf])})["column"]


def test_a_map_that_tells_nothing_is_said():
    def said(written, values):
        known = KnownRegions({}, lambda: Further(maps=VoxelMaps.of({"ecc": np.array(values)})))
        return doubts(read_expressions({"x": [written]}, known)["x"], known)

    assert said("ecc<1", [0.0, 0.0, 0.5, 2.0, np.nan]) == [
        "2 of 4 voxels of the map ecc are exactly 0, and a region takes them: if 0 stands for voxels without a value, write NaN "
        "there."
    ]
    assert said("ecc>=1 | 0.1<ecc<0.4", [0.0, 0.0, 0.5, 2.0]) == []
    assert said("ecc<1", [0.1, 0.5, 2.0]) == []
    assert said("ecc<1", [0.0, 0.0]) == ["The map ecc has one number, 0, in all of 2 voxels: it tells none apart."]
    assert said("ecc<1 | ecc>2", [np.nan, np.nan]) == ["The map ecc has a number in none of 2 voxels."]
