"""Published layouts at tiny size: what is converted is what was stored, a second run does nothing, faults are named."""

import json
import re
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from braindiffuser.networks import checkpoints
from braindiffuser.networks.checkpoints import (
    build_autoencoder,
    build_clip,
    load_autoencoder,
    load_clip,
    load_unet,
    load_vdvae,
)
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.convert import (
    KL_F8,
    convert_clip,
    convert_vdvae,
    convert_versatile,
    convert_versatile_hub,
    is_converted,
)
from braindiffuser.networks.tensor_files import open_tensors, write_tensors
from braindiffuser.networks.vdvae import VDVAEConfig
from braindiffuser.networks.versatile import DualGuidedUNet, from_original

VDVAE = VDVAEConfig(image_size=4, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1", width=8, zdim=2, num_mixtures=2)
AUTOENCODER = KL_F8 | {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 32,
}
LAYERS = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = {
    "text_config": LAYERS | {"vocab_size": 5, "max_position_embeddings": 6, "bos_token_id": 0, "eos_token_id": 1},
    "vision_config": LAYERS | {"image_size": 8, "patch_size": 4},
    "projection_dim": 6,
}


@pytest.fixture
def vdvae():
    torch.manual_seed(0)
    return VDVAE.build()


@pytest.fixture
def versatile(tmp_path, original_unet, original_autoencoder):
    """A tiny file in the layout of SHI-Labs, with parts that pictures do not need, and its networks."""
    torch.manual_seed(0)
    autoencoder = build_autoencoder(dict(AUTOENCODER))
    clip = build_clip(CLIP)
    stored = original_unet | original_autoencoder(autoencoder)
    stored |= {f"clip.model.{name}": tensor for name, tensor in clip.state_dict().items()}
    stored |= {
        "optimus.encoder.linear.weight": torch.ones(3),
        "clip.model.text_model.embeddings.position_ids": torch.arange(6),
    }
    path = tmp_path / "vd-four-flow.pth"
    torch.save(stored, path)
    return path, autoencoder, clip


def same(loaded, stored, dtype=torch.float16):
    assert loaded.keys() == stored.keys()
    for name, tensor in loaded.items():
        torch.testing.assert_close(tensor, stored[name].to(dtype).float(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_tensors_are_written_as_safetensors_reads_them(tmp_path, dtype):
    torch.manual_seed(0)
    tensors = {
        "a": torch.randn(3, 5),
        "a number": torch.tensor(2.5),
        "ids": torch.arange(7),
        "turned": torch.randn(4, 2).T,
    }
    write_tensors(tmp_path / "file.safetensors", tensors, dtype)
    read = load_file(tmp_path / "file.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = tensor.to(dtype) if tensor.is_floating_point() else tensor
        assert read[name].dtype == expected.dtype
        assert torch.equal(read[name], expected)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_vdvae_loads_as_it_was_stored(tmp_path, vdvae, prefix, zipped):
    stored = {f"{prefix}{name}": tensor for name, tensor in vdvae.state_dict().items()}
    torch.save(stored, tmp_path / "ema.th", _use_new_zipfile_serialization=zipped)
    assert convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    loaded = load_vdvae(tmp_path / "vdvae")
    assert loaded.config == VDVAE
    same(loaded.state_dict(), vdvae.state_dict(), torch.float32)


def test_a_second_run_does_nothing_and_another_file_is_converted_anew(tmp_path, vdvae):
    torch.save(vdvae.state_dict(), tmp_path / "ema.th")
    assert convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    before = (tmp_path / "vdvae" / "model.safetensors").stat().st_mtime_ns
    assert not convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    assert (tmp_path / "vdvae" / "model.safetensors").stat().st_mtime_ns == before
    torch.save(vdvae.state_dict(), tmp_path / "other.th")
    assert convert_vdvae(tmp_path / "other.th", tmp_path / "vdvae", VDVAE)


def test_a_folder_that_is_half_converted_is_converted_again_and_keeps_what_is_not_ours(tmp_path, vdvae, monkeypatch):
    source, other, folder = tmp_path / "ema.th", tmp_path / "other.th", tmp_path / "vdvae"
    for path in (source, other):
        torch.save(vdvae.state_dict(), path)
    convert_vdvae(source, folder, VDVAE)
    (folder / "notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_tensors", lambda path, *_: path.write_bytes(b"half") / 0)
        with pytest.raises(ZeroDivisionError):
            convert_vdvae(other, folder, VDVAE)
    assert not is_converted(folder, [source])
    assert not is_converted(folder, [other])
    assert convert_vdvae(other, folder, VDVAE)
    same(load_vdvae(folder).state_dict(), vdvae.state_dict(), torch.float32)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "source.json", "notes.txt"}


def test_a_truncated_file_is_named_and_leaves_nothing(tmp_path, vdvae):
    path = tmp_path / "ema.th"
    torch.save(vdvae.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"ema\.th is truncated or no checkpoint: download it again"):
        convert_vdvae(path, tmp_path / "vdvae", VDVAE)
    assert not (tmp_path / "vdvae").exists()


def test_a_file_of_another_network_is_named_with_its_tensors(tmp_path, vdvae):
    torch.save(vdvae.state_dict() | {"stranger": torch.ones(2)}, tmp_path / "ema.th")
    with pytest.raises(
        ValueError,
        match=r"ema\.th does not hold this network: 1 of \d+ tensors differ \(stranger: expected none, found \(2,\)",
    ):
        convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    assert not (tmp_path / "vdvae").exists()


def test_nothing_in_a_file_is_run(tmp_path, vdvae):
    torch.save({"network": vdvae}, tmp_path / "ema.th")
    with pytest.raises(ValueError, match=r"ema\.th is truncated or no checkpoint"):
        open_tensors(tmp_path / "ema.th")


def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path):
    torch.save({"step": 3}, tmp_path / "ema.th")
    with pytest.raises(ValueError, match="does not hold tensors by name"):
        open_tensors(tmp_path / "ema.th")
    with pytest.raises(ValueError, match="there is no file"):
        open_tensors(tmp_path / "none.th")


def test_versatile_diffusion_is_split_into_what_pictures_need(tmp_path, versatile, original_unet):
    path, autoencoder, _ = versatile
    assert convert_versatile(path, tmp_path / "out", AUTOENCODER, heads=4)
    same(load_unet(tmp_path / "out" / "unet").state_dict(), from_original(original_unet))
    same(load_autoencoder(tmp_path / "out" / "autoencoder").state_dict(), autoencoder.state_dict())
    assert sorted(folder.name for folder in (tmp_path / "out").iterdir()) == ["autoencoder", "unet"]
    assert not convert_versatile(path, tmp_path / "out", AUTOENCODER, heads=4)


def test_clip_inside_versatile_diffusion_is_taken_out(tmp_path, versatile):
    path, _, clip = versatile
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}')
    assert convert_clip(path, tmp_path / "tokenizer.json", tmp_path / "clip", CLIP)
    same(load_clip(tmp_path / "clip").model.state_dict(), clip.state_dict())
    assert not convert_clip(path, tmp_path / "tokenizer.json", tmp_path / "clip", CLIP)
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, tmp_path / "model.safetensors")
    assert convert_clip(tmp_path / "model.safetensors", tmp_path / "tokenizer.json", tmp_path / "again", CLIP)
    same(load_clip(tmp_path / "again").model.state_dict(), clip.state_dict())


def test_published_clip_has_the_ids_of_its_tokenizer():
    text = build_clip(
        dict(VIT_L14)
        | {
            "text_config": VIT_L14["text_config"] | {"num_hidden_layers": 1, "vocab_size": 5},
            "vision_config": LAYERS | {"image_size": 8, "patch_size": 4},
        }
    ).config.text_config
    assert (text.bos_token_id, text.eos_token_id) == (49406, 49407)


def test_a_missing_part_is_named(tmp_path, original_unet):
    torch.save(original_unet, tmp_path / "unet-only.pth")
    with pytest.raises(
        ValueError, match=r"unet-only\.pth does not hold this network: \d+ of \d+ tensors differ \(decoder"
    ):
        convert_versatile(tmp_path / "unet-only.pth", tmp_path / "out", AUTOENCODER, heads=4)
    torch.save({"something": torch.ones(3)}, tmp_path / "else.pth")
    with pytest.raises(ValueError, match=r"else\.pth cannot be converted: no tensors named"):
        convert_versatile(tmp_path / "else.pth", tmp_path / "out", AUTOENCODER, heads=4)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def hub(tmp_path):
    """The hub's layout, its UNets made by diffusers' own classes for Versatile Diffusion."""
    from diffusers import UNet2DConditionModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import (
            UNetFlatConditionModel,
        )
    torch.manual_seed(0)
    shape = {
        "sample_size": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": 6,
        "norm_num_groups": 4,
    }
    image = UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **shape,
    )
    text = UNetFlatConditionModel(
        down_block_types=("CrossAttnDownBlockFlat", "DownBlockFlat"),
        up_block_types=("UpBlockFlat", "CrossAttnUpBlockFlat"),
        mid_block_type="UNetMidBlockFlatCrossAttn",
        **shape,
    )
    vae = build_autoencoder(dict(AUTOENCODER))
    folder = tmp_path / "hub"
    for name, network in {"image_unet": image, "text_unet": text, "vae": vae}.items():
        (folder / name).mkdir(parents=True)
        torch.save(network.state_dict(), folder / name / "diffusion_pytorch_model.bin")
        (folder / name / "config.json").write_text(json.dumps(dict(network.config), default=str))
    return folder, image, text, vae


def test_the_hubs_layout_gives_the_same_kind_of_folders(tmp_path, hub):
    folder, image, text, vae = hub
    assert convert_versatile_hub(folder, tmp_path / "out", heads=2)
    loaded = load_unet(tmp_path / "out" / "unet")
    assert isinstance(loaded, DualGuidedUNet)
    tensors = loaded.state_dict()
    for name, tensor in image.state_dict().items():
        ours = re.sub(r"(attentions\.\d+)\.", r"\1.vision.", name)
        torch.testing.assert_close(tensors[f"unet.{ours}"], tensor.half().float(), rtol=0, atol=0)
    for name, tensor in text.state_dict().items():
        if "attentions" in name:
            ours = re.sub(r"(attentions\.\d+)\.", r"\1.text.", name)
            torch.testing.assert_close(tensors[f"unet.{ours}"], tensor.half().float(), rtol=0, atol=0)
    same(load_autoencoder(tmp_path / "out" / "autoencoder").state_dict(), vae.state_dict())
    assert not convert_versatile_hub(folder, tmp_path / "out", heads=2)


def test_an_incomplete_copy_of_the_hub_is_named(tmp_path, hub):
    folder, *_ = hub
    (folder / "text_unet" / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match=r"text_unet is not a folder of the hub's layout"):
        convert_versatile_hub(folder, tmp_path / "out", heads=2)
