"""Published files: each is fetched once, checked, and converted once."""

import hashlib
from dataclasses import replace

import pytest
import torch

from braindiffuser.errors import DependencyError
from braindiffuser.experiment import Experiment
from braindiffuser.networks import convert, published
from braindiffuser.networks.catalogue import ALL, SCORING_NETWORKS
from braindiffuser.networks.catalogue import VDVAE as PUBLISHED_VDVAE
from braindiffuser.networks.published import conversions, convert_all, download_all
from braindiffuser.networks.vdvae import VDVAEConfig

TINY = VDVAEConfig(image_size=4, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1", width=8, zdim=2, num_mixtures=2)
NAME = PUBLISHED_VDVAE.name


@pytest.fixture
def vdvae(tmp_path, monkeypatch):
    """The path of a tiny VDVAE's file, in place of the published one."""
    path = tmp_path / NAME
    torch.save(TINY.build().state_dict(), path)
    monkeypatch.setattr(published, "VDVAE", replace(PUBLISHED_VDVAE, megabytes=path.stat().st_size / 1e6))
    original = convert.convert_vdvae
    monkeypatch.setattr(convert, "convert_vdvae", lambda source, folder: original(source, folder, TINY))
    return path


def test_what_is_here_is_converted_once_and_the_rest_waits(tmp_path, vdvae):
    lines = []
    convert_all(tmp_path, lines.append)
    assert lines == [
        "vdvae: converted",
        "unet and autoencoder: waits for vd-four-flow-v1-0-fp16-deprecated.pth",
        "clip: waits for clip-vit-large-patch14.safetensors, clip-vit-large-patch14-tokenizer.json",
    ]
    assert (tmp_path / "brain-diffuser" / "vdvae" / "model.safetensors").is_file()
    convert_all(tmp_path, lines.append)
    assert lines[3] == "vdvae: converted before"


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:-1] + b"?"])
def test_a_file_that_changed_after_its_download_is_named_and_not_converted(tmp_path, vdvae, change):
    note = tmp_path / f"{NAME}.sha256"
    note.write_text(f"{hashlib.sha256(vdvae.read_bytes()).hexdigest()}  {NAME}\n")
    vdvae.write_bytes(change(vdvae.read_bytes()))
    with pytest.raises(DependencyError, match=r"model-ema\.th is truncated or changed: .*checkpoints --download"):
        convert_all(tmp_path, lambda line: None)
    assert not (tmp_path / "brain-diffuser").exists()


def test_a_file_of_another_size_than_published_is_not_converted(tmp_path, vdvae):
    vdvae.write_bytes(b"<html>not found</html>")
    with pytest.raises(DependencyError, match=r"model-ema\.th is truncated or changed: it has 22 bytes"):
        convert_all(tmp_path, lambda line: None)
    assert not (tmp_path / "brain-diffuser").exists()


def test_what_was_converted_before_is_not_read_again(tmp_path, vdvae, monkeypatch):
    checked, lines = [], []
    monkeypatch.setattr(published, "check_file", lambda path, file: checked.append(path.name))
    for _ in range(2):
        convert_all(tmp_path, lines.append)
    assert checked == [NAME]
    assert [line for line in lines if line.startswith("vdvae")] == ["vdvae: converted", "vdvae: converted before"]


def test_every_conversion_says_which_folders_it_writes(tmp_path):
    (tmp_path / "versatile-diffusion").mkdir()
    for folder in (tmp_path, tmp_path / "versatile-diffusion"):
        names = [name for conversion in conversions(folder) for name in conversion.folders]
        wanted = Experiment.load("brain-diffuser").checkpoints.values()
        assert sorted(names) == sorted({path.name for path in wanted})


def test_a_file_that_is_no_checkpoint_is_named(tmp_path, vdvae):
    vdvae.write_bytes(bytes(vdvae.stat().st_size))
    with pytest.raises(DependencyError, match=r"model-ema\.th is truncated or no checkpoint"):
        convert_all(tmp_path, lambda line: None)


def test_only_what_is_missing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    alexnet, fetched = SCORING_NETWORKS["alexnet"], []
    monkeypatch.setattr(published, "download", lambda file, folder, progress: fetched.append(file))
    (tmp_path / NAME).write_bytes(b"")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / alexnet.name).write_bytes(b"")
    download_all(tmp_path)
    assert fetched == [file for file in ALL if file not in (PUBLISHED_VDVAE, alexnet)]
