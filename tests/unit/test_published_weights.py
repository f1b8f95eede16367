import hashlib

import pytest
import torch

from braindiffuser import published_weights
from braindiffuser.errors import DependencyError
from braindiffuser.experiment import Experiment
from braindiffuser.metrics.published_networks import CLIP_VIT_L14, NETWORKS
from braindiffuser.networks import convert
from braindiffuser.networks.vdvae import VDVAEConfig
from braindiffuser.published_weights import GENERATORS, SCORING, TOKENIZER, VDVAE, convert_all, fetch, parts

TINY = VDVAEConfig(image_size=4, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1", width=8, zdim=2, num_mixtures=2)


def test_every_network_that_scores_is_in_the_list():
    files = {file.name for file in (*GENERATORS, *SCORING)}
    assert {network.file.name for network in NETWORKS.values()} <= files
    assert len(files) == len(GENERATORS) + len(SCORING)


def test_what_is_here_is_converted_once_and_the_rest_waits(tmp_path, monkeypatch):
    original = convert.convert_vdvae
    monkeypatch.setattr(convert, "convert_vdvae", lambda source, folder: original(source, folder, TINY))
    torch.save(TINY.build().state_dict(), tmp_path / VDVAE.name)
    said = []
    convert_all(tmp_path, said.append)
    assert said[0] == "vdvae: converted"
    assert said[1] == "unet and autoencoder: waits for vd-four-flow-v1-0-fp16-deprecated.pth"
    assert said[2].startswith(
        "clip: waits for clip-vit-large-patch14.safetensors, clip-vit-large-patch14-tokenizer.json"
    )
    assert (tmp_path / "brain-diffuser" / "vdvae" / "model.safetensors").is_file()
    convert_all(tmp_path, said.append)
    assert said[3] == "vdvae: converted before"


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:-1] + b"?"])
def test_a_file_that_changed_after_its_download_is_named_and_not_converted(tmp_path, change):
    path = tmp_path / VDVAE.name
    torch.save(TINY.build().state_dict(), path)
    note = tmp_path / f"{VDVAE.name}.sha256"
    note.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {VDVAE.name}\n")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(
        DependencyError, match=r"model-ema\.th is truncated or changed: .*delete both and download again"
    ):
        convert_all(tmp_path, lambda line: None)
    assert not (tmp_path / "brain-diffuser").exists()


def test_what_was_converted_before_is_not_read_again(tmp_path, monkeypatch):
    original = convert.convert_vdvae
    monkeypatch.setattr(convert, "convert_vdvae", lambda source, folder: original(source, folder, TINY))
    torch.save(TINY.build().state_dict(), tmp_path / VDVAE.name)
    checked, said = [], []
    monkeypatch.setattr(published_weights, "check_file", lambda path, file: checked.append(path.name))
    for _ in range(2):
        convert_all(tmp_path, said.append)
    assert checked == [VDVAE.name]
    assert [line for line in said if line.startswith("vdvae")] == ["vdvae: converted", "vdvae: converted before"]


def test_clip_is_pinned():
    assert len(CLIP_VIT_L14.sha256) == 64
    assert round(1e6 * CLIP_VIT_L14.megabytes) == 1_710_540_580
    assert all("/resolve/main/" not in file.url for file in (CLIP_VIT_L14, TOKENIZER))


def test_every_part_says_which_folders_it_becomes(tmp_path):
    (tmp_path / "versatile-diffusion").mkdir()
    for folder in (tmp_path, tmp_path / "versatile-diffusion"):
        names = [name for part in parts(folder) for name in part.folders]
        wanted = Experiment.load("brain-diffuser").checkpoints.values()
        assert sorted(names) == sorted({path.name for path in wanted})


def test_a_wrong_file_is_named(tmp_path):
    (tmp_path / VDVAE.name).write_bytes(b"<html>not found</html>")
    with pytest.raises(DependencyError, match=r"model-ema\.th is truncated or no file of weights"):
        convert_all(tmp_path, lambda line: None)


def test_only_what_is_missing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    fetched = []
    monkeypatch.setattr(published_weights, "download", lambda file, folder, progress: fetched.append(file.name))
    (tmp_path / VDVAE.name).write_bytes(b"")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    alexnet = NETWORKS["alexnet"].file.name
    (tmp_path / "torch" / "hub" / "checkpoints" / alexnet).write_bytes(b"")
    fetch(tmp_path)
    assert set(fetched) == {file.name for file in (*GENERATORS, *SCORING)} - {VDVAE.name, alexnet}
