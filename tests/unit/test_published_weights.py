import pytest
import torch

from braindiffuser import published_weights
from braindiffuser.errors import DependencyError
from braindiffuser.evaluation.published_networks import NETWORKS
from braindiffuser.models import convert
from braindiffuser.models.vdvae import VDVAEConfig
from braindiffuser.published_weights import GENERATORS, SCORING, VDVAE, convert_all, fetch

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
