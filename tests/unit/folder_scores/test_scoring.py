import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.folder_scores.scoring import evaluate_folders, evaluate_methods, open_methods
from braindiffuser.images import load_png
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.paired_pictures.opened_pictures import decode_once
from braindiffuser.picture_files import read_picture

from ..picture_folders import N, write


@pytest.fixture(autouse=True)
def no_cached_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_scores_are_those_of_the_arrays(folders, tmp_path):
    seen, made = folders
    scores = evaluate_folders(seen, made, "brain-diffuser-2023", tmp_path)
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


@pytest.mark.parametrize("profile", ["mindeye2-2024", "mindeye-2023"])
def test_a_profile_of_blends_says_that_nothing_was_blended(folders, tmp_path, profile):
    scores = evaluate_methods(*folders[:1], folders[1:], profile, checkpoints=tmp_path)
    is_blend = profile == "mindeye2-2024"
    assert sum("of blends with blurry reconstructions" in remark for remark in scores["remarks"]) == is_blend
    assert scores["notes"] == dict(Profile.load(profile).notes)


def test_demo_networks_come_along_and_shuffled_pictures_score_less(folders, tmp_path):
    scores = evaluate_folders(*folders, "demo", tmp_path)
    assert scores["missing"] == {}
    assert set(scores["metrics"]) == set(Profile.load("demo").metrics)
    entry = scores["metrics"]["efficientnet_lite0_last"]
    assert entry["value"] > entry["baselines"]["shuffled_pictures"]


def test_the_same_pictures_are_perfect_whatever_their_format(folders, tmp_path):
    seen, _ = folders
    raw = [np.asarray(Image.open(path)) for path in sorted(seen.iterdir())]
    other = write(tmp_path / "again", raw, [path.stem for path in sorted(seen.iterdir())], ".bmp")
    scores = evaluate_folders(seen, other, "brain-diffuser-2023", tmp_path)
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
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.load_networks", None)
    path = folders[folder] / "0003.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"0003\.png is damaged or cut short"):
        evaluate_folders(*folders, "demo", tmp_path)


@pytest.mark.parametrize(
    ("room", "profile", "most", "once"),
    [(2**30, "demo", 1, 2 * N), (0, "pixels", 5, 0), (2 * 3 * 64 * 64 * 3, "pixels", 4, 2 * 3)],
)
def test_pictures_that_fit_in_temporary_files_are_read_once(room, profile, most, once, folders, tmp_path, monkeypatch):
    """The rest is read before anything is computed, for sizes and differences, and twice for scores; scores are the same."""
    expected, reads = evaluate_folders(*folders, profile, tmp_path), Counter()

    def read(path):
        reads[path] += 1
        return read_picture(path)

    monkeypatch.setattr("braindiffuser.paired_pictures.picture_inputs.ROOM", room)
    for module in ("opened_pictures", "paired_names"):
        monkeypatch.setattr(f"braindiffuser.paired_pictures.{module}.read_picture", read)
    assert evaluate_folders(*folders, profile, tmp_path) == expected
    assert len(reads) == 2 * N
    assert max(reads.values()) == most
    assert sum(number == 1 for number in reads.values()) == once


def test_stacks_take_no_room_of_folders(folders, tmp_path, monkeypatch):
    rooms = []
    monkeypatch.setattr("braindiffuser.paired_pictures.picture_inputs.ROOM", 1000)
    monkeypatch.setattr(
        "braindiffuser.paired_pictures.picture_inputs.decode_once",
        lambda paths, room, note: rooms.append(room) or decode_once(paths, 0, note),
    )
    seen, made = folders
    raw = np.stack([np.asarray(Image.open(path)) for path in sorted(made.iterdir())])
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", raw)
    open_methods(seen, [tmp_path / "one.npy", tmp_path / "two.npy"], "pixels")
    open_methods(seen, [made], "pixels")
    assert rooms == [1000, 500, 500]


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
        assert evaluate_folders(*folders, profile, tmp_path)["n_images"] == 3
    else:
        monkeypatch.setattr("braindiffuser.folder_scores.scoring.load_networks", None)
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
        evaluate_folders(folders[0], write(tmp_path / form, raw, names), "pixels")["per_image"]
        for form, raw in forms.items()
    ]
    assert scores[0] == scores[1] == scores[2]


def test_networks_that_do_not_fit_in_memory_are_said_with_the_device(folders, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    monkeypatch.setattr("braindiffuser.folder_scores.scoring.load_networks", fail)
    with pytest.raises(RunError, match=r"evaluate ran out of main memory \(CUDA error: CUBLAS_STATUS_ALLOC_FAILED"):
        evaluate_folders(*folders, "demo", tmp_path)


def test_reconstructions_of_one_flat_colour_are_refused(folders, tmp_path):
    seen, made = folders
    for path in made.iterdir():
        Image.new("RGB", (64, 64), (7, 7, 7)).save(path)
    with pytest.raises(RunError, match=rf"{N} of {N} pictures of .*made are of one flat colour each"):
        evaluate_folders(seen, made, "pixels")


def test_reconstructions_that_are_one_picture_or_the_stimuli_are_said(folders):
    seen, made = folders
    assert evaluate_folders(seen, made, "pixels")["remarks"] == []
    assert evaluate_folders(seen, seen, "pixels")["remarks"] == [f"{seen} and {seen} are the same folder"]
    copied = Path(shutil.copytree(seen, seen.parent / "copied"))
    said = f"all pictures of {copied} are equal to those of {seen}: is one a copy of the other?"
    assert evaluate_folders(seen, copied, "pixels")["remarks"] == [said]
    first, *others = sorted(made.iterdir())
    (copied / first.name).write_bytes(first.read_bytes())
    assert evaluate_folders(seen, copied, "pixels")["remarks"] == []
    for path in others:
        path.write_bytes(first.read_bytes())
    scores = evaluate_folders(seen, made, "pixels")
    assert scores["remarks"] == [f"all pictures of {made} are the same picture"]


def test_methods_that_are_copies_of_each_other_are_said(folders):
    seen, made = folders
    copied = Path(shutil.copytree(made, made.parent / "copied"))
    assert open_methods(seen, [made, copied], "pixels").remarks == [
        f"all pictures of {copied} are equal to those of {made}: is one a copy of the other?"
    ]
    first, *_ = sorted(copied.iterdir())
    first.write_bytes((seen / first.name).read_bytes())
    assert open_methods(seen, [made, copied], "pixels").remarks == []
    first.write_bytes((made / first.name).read_bytes())
    assert open_methods(seen, [seen, made, copied], "pixels").remarks == [
        f"{seen} and {seen} are the same folder",
        f"all pictures of {copied} are equal to those of {made}: is one a copy of the other?",
    ]


def test_resizing_is_said(folders):
    seen, made = folders
    for path in made.iterdir():
        with Image.open(path) as picture:
            picture.resize((32, 32)).save(path)
    (remark,) = evaluate_folders(seen, made, "pixels")["remarks"]
    assert remark == f"pictures of {made} are resized from 32 to 64 pixels"


@pytest.mark.parametrize("folder", [0, 1])
def test_flat_and_equal_pictures_are_told_of_either_folder(folders, folder):
    paths = sorted(folders[folder].iterdir())
    for number, path in enumerate(paths):
        Image.new("RGB", (64, 64), (number, 7, 7)).save(path)
    with pytest.raises(RunError, match=f"{N} of {N} pictures of .*{folders[folder].name} are of one flat colour each"):
        evaluate_folders(*folders, "pixels")
    for path in paths:
        path.write_bytes(sorted(folders[1 - folder].iterdir())[0].read_bytes())
    said = evaluate_folders(*folders, "pixels")["remarks"]
    assert f"all pictures of {folders[folder]} are the same picture" in said


def test_shifted_numbers_are_refused_before_anything_is_scored(folders, monkeypatch):
    seen, made = folders
    for path in made.iterdir():
        path.write_bytes((seen / path.name).read_bytes())
        path.rename(made / f"_{int(path.stem) + 1}.png")
    for path in seen.iterdir():
        path.rename(seen / f"_{path.name}")
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.load_networks", None)
    with pytest.raises(RunError, match=r"numbers in names of .*made are \+1 from those of .*seen"):
        evaluate_folders(seen, made, "demo")


# Several methods


@pytest.fixture
def methods(tmp_path):
    """Stimuli of 12 scenes and three methods in a folder of each name: better, worse, and pictures of others."""
    raw, other, third = compose_scenes(36, seed=5)[0].reshape(3, 12, 64, 64, 3).astype(np.float64)
    rng = np.random.default_rng(0)
    names = [f"{number:04d}" for number in range(12)]
    made = {"seen": raw, "better": 0.6 * raw + 0.4 * other, "worse": 0.5 * raw + 0.5 * third, "others": other}
    for name, pictures in made.items():
        noisy = pictures + rng.normal(0, 4, pictures.shape) * (name != "seen")
        write(tmp_path / name, np.clip(np.rint(noisy), 0, 255).astype(np.uint8), names)
    return tmp_path


def test_methods_are_scored_as_each_alone_and_compared(methods, tmp_path):
    made = [methods / "better", methods / "worse"]
    scores = evaluate_methods(methods / "seen", made, "demo", checkpoints=tmp_path / "none")
    alone = evaluate_folders(methods / "seen", methods / "worse", "demo", tmp_path / "none")
    assert list(scores["methods"]) == ["better", "worse"]
    assert {key: scores["methods"]["worse"][key] for key in ("metrics", "per_image")} == {
        key: alone[key] for key in ("metrics", "per_image")
    }
    assert (scores["against"], list(scores["comparisons"])) == ("better", ["worse"])
    compared = scores["comparisons"]["worse"]
    assert list(compared) == list(Profile.load("demo").metrics)
    for key, found in compared.items():
        values = [scores["methods"][name]["metrics"][key]["value"] for name in ("worse", "better")]
        assert found["difference"] == pytest.approx(values[0] - values[1], abs=1e-12)
        assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]
        assert found["p"] <= found["p_holm"] <= 1
    assert compared["ssim"]["p"] in {k / 2**12 for k in range(2, 40)}  # of all signs
    assert compared["ssim"]["ci95"][1] < 0


def test_the_reference_may_be_chosen_and_only_the_sign_changes(methods):
    made = [methods / "better", methods / "worse"]
    forth = evaluate_methods(methods / "seen", made, "pixels")["comparisons"]["worse"]["ssim"]
    for against in ("worse", str(methods / "worse")):
        back = evaluate_methods(methods / "seen", made, "pixels", against)
        assert back["against"] == "worse"
        found = back["comparisons"]["better"]["ssim"]
        assert found["difference"] == pytest.approx(-forth["difference"])
        assert found["ci95"] == pytest.approx([-forth["ci95"][1], -forth["ci95"][0]])
        assert (found["p"], found["p_holm"]) == (forth["p"], forth["p_holm"])
    with pytest.raises(RunError, match="there is no method best to compare with: name one of better, worse"):
        evaluate_methods(methods / "seen", made, "pixels", "best")


def test_a_stack_of_the_same_pictures_scores_the_same(methods, tmp_path):
    paths = sorted((methods / "better").iterdir())
    np.save(tmp_path / "stack.npy", np.stack([read_picture(path) for path in paths]))
    scores = evaluate_methods(methods / "seen", [methods / "better", tmp_path / "stack.npy"], "pixels")
    assert scores["methods"]["stack"]["per_image"] == scores["methods"]["better"]["per_image"]
    assert scores["comparisons"]["stack"]["ssim"] == {"difference": 0, "ci95": [0, 0], "p": 1, "p_holm": 1}


def test_methods_are_compared_on_the_pictures_that_all_have(methods):
    (methods / "worse" / "0003.png").unlink()
    scores = evaluate_methods(methods / "seen", [methods / "better", methods / "worse"], "pixels")
    assert (scores["n_images"], len(scores["names"])) == (11, 11)
    assert "0003" not in scores["names"]
    assert scores["unmatched"] == {
        str(methods / "seen"): ["0003"],
        str(methods / "better"): ["0003"],
        str(methods / "worse"): [],
    }


def test_pictures_of_other_stimuli_raise_the_alarm(methods):
    scores = evaluate_methods(methods / "seen", [methods / "better", methods / "others"], "pixels")
    (said,) = scores["remarks"]
    assert scores["alarms"] == [said]
    assert said.startswith(
        f"pictures of {methods / 'others'} score no better with their own stimuli than with others on any"
    )


def test_some_pictures_of_one_colour_are_named(methods):
    Image.new("RGB", (64, 64), (7, 7, 7)).save(methods / "better" / "0004.png")
    (said,) = evaluate_folders(methods / "seen", methods / "better", "pixels")["remarks"]
    assert said == f"1 of 12 pictures of {methods / 'better'} are of one flat colour each, such as 0004"


def test_kept_features_change_no_score(methods, tmp_path, monkeypatch):
    made = [methods / "better"]
    first = evaluate_methods(methods / "seen", made, "demo", cache=tmp_path / "kept")
    written = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    assert len(written) == 2 * 2  # networks, and sets of pictures, which are one batch each

    def fail(*_):
        raise AssertionError("a picture passed a network again")

    def networks(*_):
        return dict.fromkeys(("clip_demo", "efficientnet_lite0"), fail), {}

    monkeypatch.setattr("braindiffuser.folder_scores.scoring.load_networks", networks)
    again = evaluate_methods(methods / "seen", made, "demo", cache=tmp_path / "kept")
    assert first == again
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == written


def test_at_least_one_method_is_needed(methods):
    with pytest.raises(RunError, match="the pictures of one method at least, got none"):
        evaluate_methods(methods / "seen", [], "pixels")
