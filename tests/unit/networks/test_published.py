"""Published files: each is fetched once, checked, and converted once."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from braindiffuser.errors import DependencyError
from braindiffuser.experiment import Experiment
from braindiffuser.networks import convert, published
from braindiffuser.networks.catalogue import ALL, SCORING_NETWORKS, VDVAE_FILE, VERSATILE_FILE
from braindiffuser.networks.published import conversions, convert_all, download_all, needed
from braindiffuser.networks.vdvae import VDVAEConfig

TINY = VDVAEConfig(image_size=4, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1", width=8, zdim=2, num_mixtures=2)
NAME = VDVAE_FILE.name


@pytest.fixture
def vdvae(tmp_path, monkeypatch):
    """The path of a tiny VDVAE's file, in place of the published one."""
    path = tmp_path / NAME
    torch.save(TINY.build().state_dict(), path)
    monkeypatch.setattr(published, "VDVAE_FILE", replace(VDVAE_FILE, megabytes=path.stat().st_size / 1e6))
    original = convert.convert_vdvae
    monkeypatch.setattr(convert, "convert_vdvae", lambda source, folder: original(source, folder, TINY))
    return path


def test_what_is_here_is_converted_once_and_the_rest_is_missing(tmp_path, vdvae):
    lines = []
    assert convert_all(tmp_path, lines.append) == []
    assert lines == [
        "vdvae: converted",
        "unet and autoencoder: not converted, missing vd-four-flow-v1-0-fp16-deprecated.pth",
        "clip: not converted, missing clip-vit-large-patch14.safetensors, clip-vit-large-patch14-tokenizer.json",
    ]
    assert (tmp_path / "brain-diffuser" / "vdvae" / "model.safetensors").is_file()
    convert_all(tmp_path, lines.append)
    assert lines[3] == "vdvae: converted before"
    vdvae.unlink()  # which a user may, to make room
    convert_all(tmp_path, lines.append)
    assert lines[6] == "vdvae: converted before"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_conversion_whose_result_is_gone_is_made_again(tmp_path, vdvae, damage):
    lines, made = [], tmp_path / "brain-diffuser" / "vdvae" / "model.safetensors"
    convert_all(tmp_path, lines.append)
    before = made.read_bytes()
    damage(made)
    convert_all(tmp_path, lines.append)
    assert lines[3] == "vdvae: converted"
    assert made.read_bytes() == before


def one_fault(faults, words):
    """The advice of the only fault, whose sentence has these words."""
    (fault,) = faults
    assert re.search(words, fault)
    assert "\n" not in fault
    return fault


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:-1] + b"?"])
def test_a_file_that_changed_after_its_download_is_named_and_not_converted(tmp_path, vdvae, change):
    note = tmp_path / f"{NAME}.sha256"
    note.write_text(f"{hashlib.sha256(vdvae.read_bytes()).hexdigest()}  {NAME}\n")
    vdvae.write_bytes(change(vdvae.read_bytes()))
    one_fault(
        convert_all(tmp_path, lambda line: None), r"model-ema\.th is truncated or changed: .*checkpoints --download"
    )
    assert not (tmp_path / "brain-diffuser").exists()


def test_a_file_of_another_size_than_published_is_not_converted(tmp_path, vdvae):
    vdvae.write_bytes(b"<html>not found</html>")
    one_fault(convert_all(tmp_path, lambda line: None), r"model-ema\.th is truncated or changed: it has 22 bytes")
    assert not (tmp_path / "brain-diffuser").exists()


def test_what_was_converted_before_is_not_read_again(tmp_path, vdvae, monkeypatch):
    checked, lines = [], []
    monkeypatch.setattr(published, "check_file", lambda path, file: checked.append(path.name))
    for _ in range(2):
        convert_all(tmp_path, lines.append)
    assert checked == [NAME]
    assert [line for line in lines if line.startswith("vdvae")] == ["vdvae: converted", "vdvae: converted before"]


def test_every_conversion_says_which_folders_it_writes(tmp_path):
    put_hub(tmp_path)
    for folder in (tmp_path, tmp_path / "empty"):
        names = [name for conversion in conversions(folder) for name in conversion.folders]
        wanted = Experiment.load("brain-diffuser").checkpoints.values()
        assert sorted(names) == sorted({path.name for path in wanted})


def put_hub(folder):
    """Put the hub's copy of Versatile Diffusion in a folder, of empty files."""
    for part in ("image_unet", "text_unet", "vae"):
        (folder / "versatile-diffusion" / part).mkdir(parents=True)
        (folder / "versatile-diffusion" / part / "diffusion_pytorch_model.bin").write_bytes(b"")


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: bytes(len(raw)), lambda raw: b""])
def test_the_advice_for_a_damaged_file_works(tmp_path, vdvae, monkeypatch, change):
    raw = vdvae.read_bytes()
    monkeypatch.setattr(published, "ALL", [published.VDVAE_FILE])
    monkeypatch.setattr(published, "download", lambda file, folder, progress: (folder / file.name).write_bytes(raw))
    vdvae.write_bytes(change(raw))
    for faults in (download_all(tmp_path), convert_all(tmp_path, lambda line: None)):
        advice = one_fault(
            faults, rf"{vdvae} is truncated or changed: .*; delete it and run `braindiffuser checkpoints --do"
        )
        assert vdvae.stat().st_size == len(change(raw))  # nothing that a user may have put there is replaced
    assert advice
    vdvae.unlink()
    assert download_all(tmp_path) == convert_all(tmp_path, lambda line: None) == []
    assert (tmp_path / "brain-diffuser" / "vdvae" / "model.safetensors").is_file()


def test_a_whole_file_of_another_network_is_named_with_advice(tmp_path, vdvae, monkeypatch):
    torch.save({"a": torch.ones(8)}, vdvae)
    monkeypatch.setattr(published, "VDVAE_FILE", replace(VDVAE_FILE, megabytes=vdvae.stat().st_size / 1e6))
    one_fault(
        convert_all(tmp_path, print), r"model-ema\.th does not hold this network: .*; delete that file and download it"
    )


def test_a_fault_of_one_conversion_keeps_no_other_from_being_made(tmp_path, vdvae):
    put_hub(tmp_path)
    (tmp_path / VERSATILE_FILE.name).write_bytes(b"")
    lines = []
    one_fault(
        convert_all(tmp_path, lines.append), r"image_unet/diffusion_pytorch_model\.bin is damaged, cut short or no"
    )
    assert [line.split(":")[0] for line in lines] == ["vdvae", "clip"]


def test_a_part_that_the_hubs_copy_lacks_is_named(tmp_path):
    put_hub(tmp_path)
    (tmp_path / "versatile-diffusion" / "vae" / "diffusion_pytorch_model.bin").unlink()
    lines = []
    assert convert_all(tmp_path, lines.append) == []
    assert (
        lines[1] == "unet and autoencoder: not converted, missing versatile-diffusion/vae/diffusion_pytorch_model.bin"
    )


def test_the_hubs_copy_makes_the_large_file_unneeded_but_not_an_empty_folder(tmp_path):
    (tmp_path / "versatile-diffusion").mkdir()
    assert needed(tmp_path) == ALL
    put_hub(tmp_path)
    assert set(ALL) - set(needed(tmp_path)) == {VERSATILE_FILE}


def test_a_disk_that_fails_is_named(tmp_path, vdvae):
    (tmp_path / "brain-diffuser").write_text("in the way")
    one_fault(convert_all(tmp_path, lambda line: None), f"files in {tmp_path} cannot be read or written .*with room")


def test_downloads_go_on_after_one_that_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    asked = []

    def fail(file, folder, progress):
        asked.append(file)
        if file in (VERSATILE_FILE, SCORING_NETWORKS["swav"]):
            raise DependencyError(f"no {file.name}")

    monkeypatch.setattr(published, "download", fail)
    faults = download_all(tmp_path)
    assert asked == list(ALL)
    assert faults == [f"no {VERSATILE_FILE.name}", f"no {SCORING_NETWORKS['swav'].name}"]


def test_only_what_is_missing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    alexnet, fetched = SCORING_NETWORKS["alexnet"], []
    monkeypatch.setattr(published, "download", lambda file, folder, progress: fetched.append(file))
    (tmp_path / NAME).write_bytes(b"")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / alexnet.name).write_bytes(b"")
    monkeypatch.setattr(published, "check_file", lambda path, file: None)
    assert download_all(tmp_path) == []
    assert fetched == [file for file in ALL if file not in (VDVAE_FILE, alexnet)]
