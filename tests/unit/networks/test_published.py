import hashlib

import pytest
import torch

from braindiffuser.errors import DependencyError
from braindiffuser.experiment import Experiment
from braindiffuser.networks import convert, published
from braindiffuser.networks.catalogue import ALL, SCORING_NETWORKS, VDVAE
from braindiffuser.networks.published import conversions, convert_all, download_all
from braindiffuser.networks.vdvae import VDVAEConfig

TINY = VDVAEConfig(image_size=4, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1", width=8, zdim=2, num_mixtures=2)


def test_what_is_here_is_converted_once_and_the_rest_waits(tmp_path, monkeypatch):
    original = convert.convert_vdvae
    monkeypatch.setattr(convert, "convert_vdvae", lambda source, folder: original(source, folder, TINY))
    torch.save(TINY.build().state_dict(), tmp_path / VDVAE.name)
    said = []
    convert_all(tmp_path, said.append)
    assert said[0] == "vdvae: converted"
    assert said[1] == "unet and autoencoder: not converted, missing vd-four-flow-v1-0-fp16-deprecated.pth"
    assert said[2].startswith(
        "clip: not converted, missing clip-vit-large-patch14.safetensors, clip-vit-large-patch14-tokenizer.json"
    )
    assert (tmp_path / "brain-diffuser" / "vdvae" / "model.safetensors").is_file()
    convert_all(tmp_path, said.append)
    assert said[3] == "vdvae: already converted"


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
    monkeypatch.setattr(published, "check_file", lambda path, file: checked.append(path.name))
    for _ in range(2):
        convert_all(tmp_path, said.append)
    assert checked == [VDVAE.name]
    assert [line for line in said if line.startswith("vdvae")] == ["vdvae: converted", "vdvae: already converted"]


def test_every_conversion_says_which_folders_it_becomes(tmp_path):
    (tmp_path / "versatile-diffusion").mkdir()
    for folder in (tmp_path, tmp_path / "versatile-diffusion"):
        names = [name for conversion in conversions(folder) for name in conversion.folders]
        wanted = Experiment.load("brain-diffuser").checkpoints.values()
        assert sorted(names) == sorted({path.name for path in wanted})


def test_a_wrong_file_is_named(tmp_path):
    (tmp_path / VDVAE.name).write_bytes(b"<html>not found</html>")
    with pytest.raises(DependencyError, match=r"model-ema\.th is truncated or no checkpoint"):
        convert_all(tmp_path, lambda line: None)


def test_only_what_is_missing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    fetched = []
    monkeypatch.setattr(published, "download", lambda file, folder, progress: fetched.append(file.name))
    (tmp_path / VDVAE.name).write_bytes(b"")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    alexnet = SCORING_NETWORKS["alexnet"].name
    (tmp_path / "torch" / "hub" / "checkpoints" / alexnet).write_bytes(b"")
    download_all(tmp_path)
    assert set(fetched) == {file.name for file in ALL} - {VDVAE.name, alexnet}
