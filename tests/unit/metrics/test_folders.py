import numpy as np
import pytest
from PIL import Image

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.metrics.folders import check_scores_file, evaluate_folders, match_names
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer

N = 6


@pytest.fixture(autouse=True)
def no_cached_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def write(folder, raw, names, suffix=".png"):
    folder.mkdir(exist_ok=True)
    for name, picture in zip(names, raw, strict=True):
        Image.fromarray(picture).save(folder / f"{name}{suffix}")
    return folder


@pytest.fixture
def folders(tmp_path):
    raw, _ = compose_scenes(N, seed=5)
    names = [f"{number:04d}" for number in range(N)]
    made = raw // 2 + compose_scenes(N, seed=6)[0] // 2
    return write(tmp_path / "seen", raw, names), write(tmp_path / "made", made, names)


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


def test_pairs_are_made_by_name_and_the_rest_is_told(folders):
    seen, made = folders
    (made / "0002.png").unlink()
    (made / "notes.txt").write_text("not a picture")
    (made / "0001.png").rename(made / "extra.png")
    pairs, unmatched = match_names(seen, made)
    assert list(pairs) == ["0000", "0003", "0004", "0005"]
    assert pairs["0003"] == {seen: seen / "0003.png", made: made / "0003.png"}
    assert unmatched == {str(seen): ["0001", "0002"], str(made): ["extra"]}


def test_folders_that_share_no_names_are_refused(folders, tmp_path):
    seen, _ = folders
    other = write(tmp_path / "other", compose_scenes(2, seed=1)[0], ["a", "b"])
    with pytest.raises(RunError, match=r"seen holds 6 pictures and .*other holds 2 pictures, of which 0 share a name"):
        match_names(seen, other)


def test_a_missing_folder_is_named(folders, tmp_path):
    with pytest.raises(RunError, match="nowhere is not a folder of pictures"):
        match_names(folders[0], tmp_path / "nowhere")


def test_two_pictures_of_one_name_are_refused(folders):
    seen, made = folders
    Image.open(made / "0000.png").save(made / "0000.jpg")
    with pytest.raises(RunError, match=r"holds 0000\.jpg and 0000\.png: keep one"):
        match_names(seen, made)


def test_pictures_of_several_sizes_in_one_folder_are_named(folders, tmp_path):
    seen, made = folders
    Image.open(made / "0004.png").resize((32, 32)).save(made / "0004.png")
    with pytest.raises(RunError, match=r"cannot be scored together: .*0004\.png is \(32, 32\)"):
        evaluate_folders(seen, made, "demo", tmp_path)


def test_unknown_profiles_are_answered_with_those_there_are(folders, tmp_path):
    with pytest.raises(RunError, match="there is no profile mine, choose one of brain-diffuser-2023, demo"):
        evaluate_folders(*folders, "mine", tmp_path)


def test_a_picture_that_is_cut_short_is_named(folders, tmp_path):
    path = folders[1] / "0003.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"the pictures of .*made cannot be scored together: "):
        evaluate_folders(*folders, "demo", tmp_path)


def test_networks_that_do_not_fit_in_memory_are_said_with_the_device(folders, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    monkeypatch.setattr("braindiffuser.metrics.folders.load_networks", fail)
    with pytest.raises(RunError, match=r"evaluate ran out of main memory \(CUDA error: CUBLAS_STATUS_ALLOC_FAILED"):
        evaluate_folders(*folders, "demo", tmp_path, n_resamples=50)


def test_scores_do_not_replace_the_file_that_the_table_is_printed_to(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.touch()
    check_scores_file(path)
    monkeypatch.setattr("os.fstat", lambda stream: path.stat())
    with pytest.raises(RunError, match=r"out\.json is the file that this command prints to: name another file"):
        check_scores_file(path)
