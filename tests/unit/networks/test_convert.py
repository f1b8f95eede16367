"""Published layouts at tiny size: what is converted is what was stored, a second run does nothing, faults are named."""

import json
import os
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from braindiffuser.networks import checkpoints
from braindiffuser.networks.checkpoint_folders import SOURCE, hash_checkpoint
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
    is_converted,
)
from braindiffuser.networks.tensor_files import open_tensors, write_tensors
from braindiffuser.networks.vdvae import VDVAEConfig
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig, from_original

VDVAE = VDVAEConfig(image_size=4, enc_blocks="4x1,4d4,1x1", dec_blocks="1x1,4m1", width=8, zdim=2, num_mixtures=2)
UNET = VersatileConfig(
    sample_size=4, block_out_channels=(32, 32, 64, 64), attention_heads=4, vision_dim=32, text_dim=32
)
HUB_UNET = VersatileConfig(
    sample_size=4,
    block_out_channels=(8, 16),
    attention_levels=(True, False),
    layers_per_block=1,
    attention_heads=2,
    vision_dim=6,
    text_dim=6,
    norm_num_groups=4,
)
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
    convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    loaded = load_vdvae(tmp_path / "vdvae")
    assert loaded.config == VDVAE
    same(loaded.state_dict(), vdvae.state_dict(), torch.float32)


def test_a_folder_is_converted_from_files_of_these_names_and_contents(tmp_path, vdvae):
    source, other = tmp_path / "ema.th", tmp_path / "other.th"
    for path in (source, other):
        torch.save(vdvae.state_dict(), path)
    convert_vdvae(source, tmp_path / "vdvae", VDVAE)
    assert is_converted(tmp_path / "vdvae", [source])
    assert not is_converted(tmp_path / "vdvae", [other])
    assert not is_converted(tmp_path / "vdvae", [source, other])
    shutil.copy(source, other)
    shutil.copy(other, source)  # at another time
    assert is_converted(tmp_path / "vdvae", [source])
    flip(source)
    assert not is_converted(tmp_path / "vdvae", [source])
    source.write_bytes(b"another size")
    assert not is_converted(tmp_path / "vdvae", [source])
    source.unlink()  # which a user may, to make room
    assert is_converted(tmp_path / "vdvae", [source])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: flip(path)])
def test_a_folder_whose_files_are_not_those_that_were_written_is_not_converted(tmp_path, vdvae, name, damage):
    source, folder = tmp_path / "ema.th", tmp_path / "vdvae"
    torch.save(vdvae.state_dict(), source)
    convert_vdvae(source, folder, VDVAE)
    shutil.copytree(folder, tmp_path / "copy")
    damage(folder / name)
    assert not is_converted(folder, [source])
    convert_vdvae(source, folder, VDVAE)
    assert is_converted(folder, [source])
    assert is_converted(tmp_path / "copy", [source])


def flip(path):
    """Change the last byte of a file, and neither its size nor its time."""
    raw, facts = path.read_bytes(), path.stat()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"\xff\xfe", b'{"made_from": 3, "files": 4}', b'[{"file": "ema.th"}]', b"[" * 100_000],
)
def test_a_folder_with_a_damaged_source_json_is_not_converted(tmp_path, vdvae, content):
    source, folder = tmp_path / "ema.th", tmp_path / "vdvae"
    torch.save(vdvae.state_dict(), source)
    convert_vdvae(source, folder, VDVAE)
    (folder / SOURCE).write_bytes(content)
    assert not is_converted(folder, [source])
    (folder / SOURCE).unlink()
    (folder / SOURCE).mkdir()
    assert not is_converted(folder, [source])


def test_what_a_folder_was_made_from_is_no_part_of_its_hash(tmp_path, vdvae):
    for name in ("ema.th", "other.th"):
        torch.save(vdvae.state_dict(), tmp_path / name)
        convert_vdvae(tmp_path / name, tmp_path / name[:-3], VDVAE)
    assert hash_checkpoint(tmp_path / "ema") == hash_checkpoint(tmp_path / "other")


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
    convert_vdvae(other, folder, VDVAE)
    same(load_vdvae(folder).state_dict(), vdvae.state_dict(), torch.float32)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "source.json", "notes.txt"}


def test_a_truncated_file_is_named_and_leaves_nothing(tmp_path, vdvae):
    path = tmp_path / "ema.th"
    torch.save(vdvae.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"ema\.th is damaged, cut short or no checkpoint"):
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_with_their_tensor(tmp_path, vdvae, value):
    stored = vdvae.state_dict()
    stored["decoder.gain"].view(-1)[3] = value
    torch.save(stored, tmp_path / "ema.th")
    with pytest.raises(
        ValueError, match=r"ema\.th holds numbers that are NaN or infinite .*in the tensor decoder\.gain"
    ):
        convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    assert not (tmp_path / "vdvae").exists()


def test_numbers_that_half_precision_cannot_hold_are_refused(tmp_path, versatile):
    path, *_ = versatile
    stored = torch.load(path, weights_only=True)
    stored["autokl.decoder.conv_out.bias"][0] = 1e6
    torch.save(stored, path)
    with pytest.raises(ValueError, match=r"infinite in torch\.float16, in the tensor decoder\.conv_out\.bias"):
        convert_versatile(path, tmp_path / "out", UNET, AUTOENCODER)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.complex64])
def test_tensors_of_another_kind_of_numbers_are_refused(tmp_path, vdvae, dtype):
    torch.save(vdvae.state_dict() | {"decoder.gain": vdvae.decoder.gain.data.to(dtype)}, tmp_path / "ema.th")
    with pytest.raises(ValueError, match=rf"decoder\.gain: expected \(1, 8, 1, 1\), found \(1, 8, 1, 1\) of {dtype}"):
        convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_precision_are_taken(tmp_path, vdvae, dtype):
    stored = {name: tensor.to(dtype) for name, tensor in vdvae.state_dict().items()}
    torch.save(stored, tmp_path / "ema.th")
    convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    same(load_vdvae(tmp_path / "vdvae").state_dict(), stored, torch.float32)


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    "content",
    [
        {1: torch.ones(2)},
        {"a": torch.ones(2).to_sparse()},
        {"a": torch.ones(2, device="meta")},
        {"state_dict": [1]},
        [1],
        torch.ones(2),
    ],
)
def test_what_is_not_plain_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "ema.th")
    with pytest.raises(ValueError, match=r"ema\.th does not hold tensors by name"):
        open_tensors(tmp_path / "ema.th")


@given(
    st.one_of(
        st.binary(max_size=80),
        st.lists(st.sampled_from(b"}]()KXqUtRbcBuse.0123456789aN\x88\x89\x85"), max_size=30).map(
            lambda codes: b"\x80\x02" + bytes(codes) + b"."
        ),
        st.sampled_from([b"PK\3\4", b"cos\nsystem\n(S'echo'\ntR.", b"\x80\x02}q\x00.", b"{}", b"\xff" * 40]),
    ),
    st.sampled_from(["a.pth", "a.safetensors"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_end_in_one_sentence_with_the_path(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} (is damaged|does not hold|is a pointer of git-lfs)") as caught:
        open_tensors(path)
    assert "\n" not in str(caught.value)
    assert "()" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_byte_that_changed_ends_in_a_sentence_or_in_tensors(tmp_path, zipped):
    path, random = tmp_path / "ema.th", np.random.default_rng(0)
    torch.save({"a": torch.ones(3), "b": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for place in random.integers(len(whole), size=150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            assert all(isinstance(tensor, torch.Tensor) for tensor in open_tensors(path).values())
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017


def test_nothing_in_a_file_is_run(tmp_path, vdvae):
    torch.save({"network": vdvae}, tmp_path / "ema.th")
    with pytest.raises(ValueError, match=r"ema\.th is damaged, cut short or no checkpoint"):
        open_tensors(tmp_path / "ema.th")


def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path):
    torch.save({"step": 3}, tmp_path / "ema.th")
    with pytest.raises(ValueError, match="does not hold tensors by name"):
        open_tensors(tmp_path / "ema.th")
    with pytest.raises(ValueError, match="there is no file"):
        open_tensors(tmp_path / "none.th")


def test_versatile_diffusion_is_split_into_what_pictures_need(tmp_path, versatile, original_unet):
    path, autoencoder, _ = versatile
    convert_versatile(path, tmp_path / "out", UNET, AUTOENCODER)
    same(load_unet(tmp_path / "out" / "unet").state_dict(), from_original(original_unet))
    same(load_autoencoder(tmp_path / "out" / "autoencoder").state_dict(), autoencoder.state_dict())
    assert sorted(folder.name for folder in (tmp_path / "out").iterdir()) == ["autoencoder", "unet"]


WORDS = {"<start>": 0, "<end>": 1, "a": 2, "zebra": 3, "in": 4}
TOKENIZER = {"model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "a"}}


def test_clip_inside_versatile_diffusion_is_taken_out(tmp_path, versatile):
    path, _, clip = versatile
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    convert_clip(path, tmp_path / "tokenizer.json", tmp_path / "clip", CLIP)
    same(load_clip(tmp_path / "clip").model.state_dict(), clip.state_dict())
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, tmp_path / "model.safetensors")
    convert_clip(tmp_path / "model.safetensors", tmp_path / "tokenizer.json", tmp_path / "again", CLIP)
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
        convert_versatile(tmp_path / "unet-only.pth", tmp_path / "out", UNET, AUTOENCODER)
    torch.save({"something": torch.ones(3)}, tmp_path / "else.pth")
    with pytest.raises(ValueError, match=r"else\.pth does not hold this network: (\d+) of \1 tensors differ"):
        convert_versatile(tmp_path / "else.pth", tmp_path / "out", UNET, AUTOENCODER)
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
    return folder, image, text, vae


def test_the_hubs_layout_gives_the_same_kind_of_folders(tmp_path, hub):
    folder, image, text, vae = hub
    convert_versatile(folder, tmp_path / "out", HUB_UNET, AUTOENCODER)
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


def test_an_incomplete_copy_of_the_hub_is_named(tmp_path, hub):
    folder, *_ = hub
    (folder / "text_unet" / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*text_unet/diffusion_pytorch_model\.bin"):
        convert_versatile(folder, tmp_path / "out", HUB_UNET, AUTOENCODER)


def test_a_tensor_that_is_there_twice_is_told_and_none_is_chosen(tmp_path, vdvae):
    stored = vdvae.state_dict() | {"module.decoder.gain": torch.zeros_like(vdvae.state_dict()["decoder.gain"])}
    torch.save(stored, tmp_path / "ema.th")
    with pytest.raises(ValueError, match=r"ema\.th holds both decoder\.gain and module\.decoder\.gain, .*: keep one"):
        convert_vdvae(tmp_path / "ema.th", tmp_path / "vdvae", VDVAE)
    assert not (tmp_path / "vdvae").exists()


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_weights_that_half_precision_cannot_hold_are_told(tmp_path, scale):
    """1e-30 is 0 in float16, and 1e30 infinite."""
    torch.manual_seed(0)
    stored = {
        name: tensor * scale if tensor.is_floating_point() else tensor
        for name, tensor in build_clip(CLIP).state_dict().items()
    }
    save_file(stored, tmp_path / "clip.safetensors")
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    words = "NaN or infinite in torch.float16" if scale > 1 else "was not written, or only in part: in torch.float16"
    with pytest.raises(ValueError, match=rf"clip\.safetensors .*{words}"):
        convert_clip(tmp_path / "clip.safetensors", tmp_path / "tokenizer.json", tmp_path / "clip", CLIP)
    assert not (tmp_path / "clip").exists()
