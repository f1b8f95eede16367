import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.metrics.folders import evaluate_folders
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.picture_files import read_picture

from .picture_folders import N, write


@pytest.fixture(autouse=True)
def no_cached_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_scores_are_those_of_the_arrays(folders, tmp_path):
    seen, made = folders
    scores = evaluate_folders(seen, made, "brain-diffuser-2023", tmp_path, n_resamples=50)
    assert set(scores["metrics"]) == {"pixcorr", "ssim_column_mean", "ssim"}
    assert set(scores["missing"]) == {"alexnet", "inception_v3", "clip_vit_l14", "efficientnet_b1", "swav"}
    names = scores["names"]
    arrays = [load_png([folder / f"{name}.png" for name in names]) for folder in folders]
    demo = Profile.load("demo")
    expected = Scorer(arrays[0], demo.without(demo.layers), {}).score(arrays[1])
    assert scores["per_image"]["pixcorr"] == expected["pixcorr"].tolist()
    assert scores["per_image"]["ssim"] == expected["ssim"].tolist()
    assert scores["metrics"]["pixcorr"]["value"] == pytest.approx(expected["pixcorr"].mean())
    assert scores["metrics"]["pixcorr"]["ceiling"] is None


def test_demo_networks_come_along_and_shuffled_pictures_score_less(folders, tmp_path):
    scores = evaluate_folders(*folders, "demo", tmp_path, n_resamples=50)
    assert scores["missing"] == {}
    assert set(scores["metrics"]) == set(Profile.load("demo").metrics)
    entry = scores["metrics"]["efficientnet_lite0_last"]
    assert entry["value"] > entry["baselines"]["shuffled_pictures"]


def test_the_same_pictures_are_perfect_whatever_their_format(folders, tmp_path):
    seen, _ = folders
    raw = [np.asarray(Image.open(path)) for path in sorted(seen.iterdir())]
    other = write(tmp_path / "again", raw, [path.stem for path in sorted(seen.iterdir())], ".bmp")
    scores = evaluate_folders(seen, other, "brain-diffuser-2023", tmp_path, n_resamples=50)
    assert all(entry["value"] == pytest.approx(1) for entry in scores["metrics"].values())


def test_pictures_of_a_format_that_is_not_read_are_not_overlooked(folders, tmp_path):
    (folders[1] / "0002.png").rename(folders[1] / "0002.HEIC")
    (folders[1] / "0002.HEIC").write_bytes(b"ftypheic")
    with pytest.raises(RunError, match=r"0002\.HEIC is damaged, or no picture of the formats"):
        evaluate_folders(*folders, "pixels", tmp_path)


def test_pictures_of_several_sizes_in_one_folder_are_named(folders, tmp_path):
    seen, made = folders
    Image.open(made / "0004.png").resize((32, 32)).save(made / "0004.png")
    with pytest.raises(RunError, match=r"0004\.png is \(32, 32\), but .*0000\.png is \(64, 64\)"):
        evaluate_folders(seen, made, "demo", tmp_path)


def test_unknown_profiles_are_answered_with_those_there_are(folders, tmp_path):
    with pytest.raises(RunError, match="there is no profile mine, choose one of brain-diffuser-2023, demo"):
        evaluate_folders(*folders, "mine", tmp_path)


@pytest.mark.parametrize("folder", [0, 1])
def test_a_picture_that_is_cut_short_is_named_before_networks_are_loaded(folder, folders, tmp_path, monkeypatch):
    monkeypatch.setattr("braindiffuser.metrics.folders.load_networks", None)
    path = folders[folder] / "0003.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"0003\.png is damaged or cut short"):
        evaluate_folders(*folders, "demo", tmp_path)


@pytest.mark.parametrize(("room", "profile", "most"), [(2**30, "demo", 1), (0, "pixels", 5)])
def test_pictures_that_fit_in_memory_are_read_once(room, profile, most, folders, tmp_path, monkeypatch):
    """The rest is read before anything is computed, for sizes and differences, and twice for scores; scores are the same."""
    expected, reads = evaluate_folders(*folders, profile, tmp_path, n_resamples=50), Counter()

    def read(path):
        reads[path] += 1
        return read_picture(path)

    monkeypatch.setattr("braindiffuser.metrics.folders.ROOM", room)
    monkeypatch.setattr("braindiffuser.images.read_picture", read)
    assert evaluate_folders(*folders, profile, tmp_path, n_resamples=50) == expected
    assert len(reads) == 2 * N
    assert max(reads.values()) == most


def of_sizes(tmp_path, **sizes):
    for folder, (height, width) in sizes.items():
        write(tmp_path / folder, np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8), "abc")
    return tmp_path / "seen", tmp_path / "made"


@pytest.mark.parametrize(
    ("seen", "made", "profile", "refused"),
    [
        ((16, 16), (16, 24), "pixels", "made are 16 × 24"),
        ((16, 24), (16, 16), "pixels", "seen are 16 × 24"),
        ((16, 24), (32, 48), "pixels", "seen are 16 × 24"),
        ((16, 24), (16, 24), "demo", "seen are 16 × 24"),
        ((10, 10), (16, 16), "pixels", "seen are 10 × 10: SSIM needs 11 pixels"),
        ((16, 24), (16, 24), "pixels", None),
        ((16, 16), (8, 8), "pixels", None),
    ],
)
def test_nothing_is_squashed(seen, made, profile, refused, tmp_path, monkeypatch):
    folders = of_sizes(tmp_path, seen=seen, made=made)
    if refused is None:
        assert evaluate_folders(*folders, profile, tmp_path, n_resamples=50)["n_images"] == 3
    else:
        monkeypatch.setattr("braindiffuser.metrics.folders.load_networks", None)
        with pytest.raises(RunError, match=refused):
            evaluate_folders(*folders, profile, tmp_path)


def test_formats_of_one_picture_score_alike(folders, tmp_path):
    """What a picture is stored as changes no score."""
    made = [np.asarray(Image.open(path).convert("L")) for path in sorted(folders[1].iterdir())]
    forms = {
        "grey": made,
        "deep": [levels.astype(np.uint16) * 257 for levels in made],
        "opaque": [np.dstack([levels] * 3 + [np.full_like(levels, 255)]) for levels in made],
    }
    names = [f"{number:04d}" for number in range(N)]
    scores = [
        evaluate_folders(folders[0], write(tmp_path / form, raw, names), "pixels", n_resamples=50)["per_image"]
        for form, raw in forms.items()
    ]
    assert scores[0] == scores[1] == scores[2]


def test_networks_that_do_not_fit_in_memory_are_said_with_the_device(folders, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    monkeypatch.setattr("braindiffuser.metrics.folders.load_networks", fail)
    with pytest.raises(RunError, match=r"evaluate ran out of main memory \(CUDA error: CUBLAS_STATUS_ALLOC_FAILED"):
        evaluate_folders(*folders, "demo", tmp_path, n_resamples=50)


def test_reconstructions_of_one_flat_colour_are_refused(folders, tmp_path):
    seen, made = folders
    for path in made.iterdir():
        Image.new("RGB", (64, 64), (7, 7, 7)).save(path)
    with pytest.raises(RunError, match=rf"{N} of {N} pictures of .*made are of one flat colour each"):
        evaluate_folders(seen, made, "pixels", n_resamples=20)


def test_reconstructions_that_are_one_picture_or_the_stimuli_are_said(folders):
    seen, made = folders
    assert evaluate_folders(seen, made, "pixels", n_resamples=20)["remarks"] == []
    assert evaluate_folders(seen, seen, "pixels", n_resamples=20)["remarks"] == [
        f"{seen} and {seen} are the same folder"
    ]
    copied = Path(shutil.copytree(seen, seen.parent / "copied"))
    said = f"all pictures of {copied} are equal to those of {seen}: is one a copy of the other?"
    assert evaluate_folders(seen, copied, "pixels", n_resamples=20)["remarks"] == [said]
    first, *others = sorted(made.iterdir())
    (copied / first.name).write_bytes(first.read_bytes())
    assert evaluate_folders(seen, copied, "pixels", n_resamples=20)["remarks"] == []
    for path in others:
        path.write_bytes(first.read_bytes())
    scores = evaluate_folders(seen, made, "pixels", n_resamples=20)
    assert scores["remarks"] == [f"all pictures of {made} are the same picture"]


def test_resizing_is_said(folders):
    seen, made = folders
    for path in made.iterdir():
        with Image.open(path) as picture:
            picture.resize((32, 32)).save(path)
    (remark,) = evaluate_folders(seen, made, "pixels", n_resamples=20)["remarks"]
    assert remark == f"pictures of {made} are resized from 32 to 64 pixels"


@pytest.mark.parametrize("folder", [0, 1])
def test_flat_and_equal_pictures_are_told_of_either_folder(folders, folder):
    paths = sorted(folders[folder].iterdir())
    for number, path in enumerate(paths):
        Image.new("RGB", (64, 64), (number, 7, 7)).save(path)
    with pytest.raises(RunError, match=f"{N} of {N} pictures of .*{folders[folder].name} are of one flat colour each"):
        evaluate_folders(*folders, "pixels", n_resamples=20)
    for path in paths:
        path.write_bytes(sorted(folders[1 - folder].iterdir())[0].read_bytes())
    said = evaluate_folders(*folders, "pixels", n_resamples=20)["remarks"]
    assert f"all pictures of {folders[folder]} are the same picture" in said


def test_shifted_numbers_are_refused_before_anything_is_scored(folders, monkeypatch):
    seen, made = folders
    for path in made.iterdir():
        path.write_bytes((seen / path.name).read_bytes())
        path.rename(made / f"_{int(path.stem) + 1}.png")
    for path in seen.iterdir():
        path.rename(seen / f"_{path.name}")
    monkeypatch.setattr("braindiffuser.metrics.folders.load_networks", None)
    with pytest.raises(RunError, match=r"numbers in names of .*made are \+1 from those of .*seen"):
        evaluate_folders(seen, made, "demo")
