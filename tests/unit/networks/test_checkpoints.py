"""Checkpoint folders: what is written is read back, and what does not fit is named."""

import json
import weakref

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils._python_dispatch import TorchDispatchMode

from braindiffuser.files import UNFINISHED
from braindiffuser.networks import checkpoints, tensor_files
from braindiffuser.networks.checkpoint_folders import hash_checkpoint
from braindiffuser.networks.checkpoints import (
    build_autoencoder,
    build_clip,
    build_empty,
    load_autoencoder,
    load_clip,
    load_network,
    load_unet,
    load_vdvae,
    save_network,
)
from braindiffuser.networks.vdvae import VDVAEConfig
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig

VDVAE = {
    "image_size": 4,
    "enc_blocks": "4x1,4d4,1x1",
    "dec_blocks": "1x1,4m1",
    "width": 8,
    "zdim": 2,
    "num_mixtures": 2,
}
AUTOENCODER = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 8],
    "norm_num_groups": 4,
    "sample_size": 8,
}
UNET = {
    "sample_size": 8,
    "block_out_channels": [8, 16],
    "attention_levels": [False, True],
    "layers_per_block": 1,
    "attention_heads": 2,
    "vision_dim": 6,
    "text_dim": 10,
    "norm_num_groups": 4,
}
LAYERS = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = {
    "text_config": LAYERS | {"vocab_size": 5, "max_position_embeddings": 6, "bos_token_id": 0, "eos_token_id": 1},
    "vision_config": LAYERS | {"image_size": 8, "patch_size": 4},
    "projection_dim": 6,
}
NETWORKS = {
    "vdvae": (VDVAE, lambda config: VDVAEConfig(**config).build(), load_vdvae),
    "autoencoder": (AUTOENCODER, build_autoencoder, load_autoencoder),
    "unet": (UNET, lambda config: DualGuidedUNet(VersatileConfig(**config)), load_unet),
    "clip": (CLIP, build_clip, lambda folder: load_clip(folder).model),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the checkpoint of a tiny VDVAE."""
    torch.manual_seed(0)
    save_network(tmp_path / "vdvae", VDVAEConfig(**VDVAE).build(), VDVAE)
    return tmp_path / "vdvae"


def save_tokenizer(folder):
    tokenizer = Tokenizer(WordLevel({"<start>": 0, "<end>": 1, "zebra": 2, "a": 3, "in": 4}, "<end>"))
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def rewrite(folder, change):
    """Change the stored tensors of a checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_saved_is_loaded(tmp_path, name, dtype):
    config, build, load = NETWORKS[name]
    torch.manual_seed(0)
    network = build(config)
    save_network(tmp_path / name, network, config, dtype)
    save_tokenizer(tmp_path / name)
    loaded = load(tmp_path / name)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    close = {"rtol": 2**-11, "atol": 2**-24} if dtype == torch.float16 else {"rtol": 0, "atol": 0}
    expected = network.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for tensor_name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, expected[tensor_name], **close)


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
@pytest.mark.parametrize("load", [load_unet, load_autoencoder])
def test_weights_come_in_the_precision_asked_for(tmp_path, load, stored):
    config, build = {load_unet: NETWORKS["unet"], load_autoencoder: NETWORKS["autoencoder"]}[load][:2]
    torch.manual_seed(0)
    save_network(tmp_path, build(config), config, stored)
    full, half = load(tmp_path), load(tmp_path, torch.float16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    for name, tensor in half.state_dict().items():
        assert torch.equal(tensor, full.state_dict()[name].half())


def test_networks_are_built_without_weights_but_with_their_constants(tmp_path):
    devices = []

    def build(config):
        network = build_clip(config)
        devices.extend(parameter.device.type for parameter in network.parameters())
        return network

    save_network(tmp_path, build_clip(CLIP), CLIP)
    loaded = load_network(tmp_path, build)
    assert set(devices) == {"meta"}
    assert {tensor.device.type for tensor in (*loaded.parameters(), *loaded.buffers())} == {"cpu"}
    assert loaded.text_model.embeddings.position_ids.tolist() == [list(range(6))]


def test_modules_made_after_a_failed_build_have_weights():
    with pytest.raises(ValueError, match=r"no network can be built from this config \(ZeroDivisionError: division"):
        build_empty(lambda config: config["a"] / 0, {"a": 1})
    assert torch.nn.Linear(2, 3).weight.device.type == "cpu"


def test_a_loaded_network_does_not_need_its_file(folder):
    loaded = load_vdvae(folder)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    path = folder / "model.safetensors"
    with path.open("r+b") as file:
        file.write(b"0" * path.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


def test_a_second_save_of_what_was_loaded_changes_nothing(folder, tmp_path):
    save_network(tmp_path / "again", load_vdvae(folder), VDVAE)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_save_that_fails_leaves_the_tensors_that_were_there(folder, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(checkpoints, "write_tensors", lambda path, *_: path.write_bytes(b"half") / 0)
    with pytest.raises(ZeroDivisionError):
        save_network(folder, VDVAEConfig(**VDVAE).build(), VDVAE)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_is_what_is_stored(folder):
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}


def test_a_checkpoint_holds_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((folder / "config.json").read_text()) == VDVAE


def test_the_tokenizer_comes_with_clip(tmp_path):
    save_network(tmp_path, build_clip(CLIP), CLIP)
    tokenizer = save_tokenizer(tmp_path)
    assert load_clip(tmp_path).tokenizer.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_no_checkpoint(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"vdvae is not a checkpoint folder: it has no {name}"):
        load_vdvae(folder)


def test_clip_without_tokenizer_is_no_checkpoint(tmp_path):
    save_network(tmp_path / "clip", build_clip(CLIP), CLIP)
    with pytest.raises(FileNotFoundError, match=r"clip is not a checkpoint folder: it has no tokenizer\.json"):
        load_clip(tmp_path / "clip")


@pytest.mark.parametrize("left", [0, 4, 100, -8])
def test_a_file_of_tensors_that_was_cut_short_is_named(folder, left):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"vdvae/model\.safetensors is damaged, cut short or no checkpoint"):
        load_vdvae(folder)


@pytest.mark.parametrize(("content", "fault"), [('{"width": ', "is not JSON"), ("[1]", "holds a list")])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_damaged_json_file_is_named(tmp_path, name, content, fault):
    save_network(tmp_path, build_clip(CLIP), CLIP)
    save_tokenizer(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} {fault}"):
        load_clip(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"width": "wide"}, {"width": None}, {"stranger": 1}, {"enc_blocks": "4x"}, {"enc_blocks": [3]}],
)
def test_a_config_of_no_network_is_refused(folder, change):
    (folder / "config.json").write_text(json.dumps(VDVAE | change))
    with pytest.raises(
        ValueError, match=r"no network can be built from this config|does not hold this network"
    ) as caught:
        load_vdvae(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config", [{"text_config": 3}, CLIP | {"vision_config": {"image_size": "large"}}, {"vision_config": [1]}]
)
def test_a_config_that_the_library_cannot_take_is_refused(tmp_path, config):
    save_network(tmp_path, build_clip(CLIP), config)
    save_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"no network can be built from this config") as caught:
        load_clip(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{}", '{"model": 3}', '{"model": {"type": "Unheard"}}'])
def test_what_is_no_tokenizer_is_named(tmp_path, content):
    save_network(tmp_path, build_clip(CLIP), CLIP)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json holds no tokenizer"):
        load_clip(tmp_path)


def test_a_number_that_is_not_finite_is_named(folder):
    rewrite(folder, lambda tensors: tensors["decoder.gain"].fill_(float("nan")))
    with pytest.raises(ValueError, match=r"model\.safetensors holds numbers that are NaN .* tensor decoder\.gain"):
        load_vdvae(folder)


def test_a_tensor_of_another_kind_of_numbers_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update({"decoder.bias": torch.zeros(1, 8, 1, 1, dtype=torch.int64)}))
    with pytest.raises(ValueError, match=r"expected \(1, 8, 1, 1\), found \(1, 8, 1, 1\) of torch\.int64"):
        load_vdvae(folder)


def test_a_missing_tensor_is_named(folder):
    rewrite(folder, lambda tensors: tensors.pop("decoder.gain"))
    with pytest.raises(
        ValueError, match=r"1 of \d+ tensors differ \(decoder\.gain: expected \(1, 8, 1, 1\), found none"
    ):
        load_vdvae(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_strictness_does_not_depend_on_precision(tmp_path, dtype):
    save_network(tmp_path, build_autoencoder(AUTOENCODER), AUTOENCODER)
    rewrite(tmp_path, lambda tensors: tensors.update({"quant_conv.bias": torch.zeros(9)}))
    with pytest.raises(ValueError, match=r"1 of \d+ tensors differ \(quant_conv\.bias: expected \(8,\), found \(9,\)"):
        load_autoencoder(tmp_path, dtype)


def test_a_tensor_too_many_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update(stranger=torch.zeros(3)))
    with pytest.raises(ValueError, match=r"stranger: expected none, found \(3,\)"):
        load_vdvae(folder)


def test_a_tensor_of_another_shape_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update({"decoder.bias": torch.zeros(1, 9, 1, 1)}))
    with pytest.raises(ValueError, match=r"decoder\.bias: expected \(1, 8, 1, 1\), found \(1, 9, 1, 1\)"):
        load_vdvae(folder)


def test_of_many_that_differ_five_are_named(folder):
    (folder / "config.json").write_text(json.dumps(VDVAE | {"width": 16}))
    with pytest.raises(ValueError, match="does not hold this network") as caught:
        load_vdvae(folder)
    assert str(caught.value).count("expected") == 5


def test_networks_are_those_of_their_libraries(tmp_path):
    save_network(tmp_path, build_autoencoder(AUTOENCODER), AUTOENCODER)
    assert isinstance(load_autoencoder(tmp_path), AutoencoderKL)


def test_hash_changes_with_any_network_file_and_with_nothing_else(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = hash_checkpoint(tmp_path)
    (tmp_path / "card.md").write_text("words")
    assert hash_checkpoint(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert hash_checkpoint(tmp_path) != before
    before = hash_checkpoint(tmp_path)
    (tmp_path / f"{UNFINISHED}4711-model.safetensors").write_bytes(b"of a killed conversion")
    assert hash_checkpoint(tmp_path) == before


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.6, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_which_a_part_was_never_written_is_told(tmp_path, name, share, value):
    config, build, load = NETWORKS[name]
    torch.manual_seed(0)
    save_network(tmp_path / name, build(config), config)
    save_tokenizer(tmp_path / name)

    def spoil(tensors):
        written = [tensor for tensor in tensors.values() if tensor.is_floating_point() and tensor.squeeze().ndim > 1]
        for tensor in written[: round(share * len(written))]:
            tensor.fill_(value)

    load(tmp_path / name)
    rewrite(tmp_path / name, spoil)
    with pytest.raises(ValueError, match=r"model\.safetensors was not written, or only in part: .* of its .* matrices"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_whose_matrices_are_half_zero_is_told(tmp_path, name):
    """As where the end of each, or of the file, was never written."""
    config, build, load = NETWORKS[name]
    torch.manual_seed(0)
    save_network(tmp_path / name, build(config), config)
    save_tokenizer(tmp_path / name)

    def spoil(tensors):
        for tensor in tensors.values():
            if tensor.is_floating_point() and tensor.squeeze().ndim > 1:
                flat = tensor.view(-1)
                flat[len(flat) // 2 :] = 0

    rewrite(tmp_path / name, spoil)
    with pytest.raises(ValueError, match=r"was not written, or only in part: .* of their numbers are 0"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_loaded_to_the_device_with_their_constants(tmp_path, name):
    config, build, _ = NETWORKS[name]
    save_network(tmp_path, build(config), config)
    loaded = load_network(tmp_path, build, device="meta")
    assert {tensor.device.type for tensor in (*loaded.parameters(), *loaded.buffers())} == {"meta"}


class Copies(TorchDispatchMode):
    """Counts the bytes of copies of tensors in main memory that are alive at a time; views of a mapped file are none."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default and made.device.type == "cpu":
            self.alive += made.nbytes
            self.peak = max(self.peak, self.alive)
            weakref.finalize(made, self._free, made.nbytes)
        return made

    def _free(self, n_bytes):
        self.alive -= n_bytes


def test_a_network_for_another_device_is_never_whole_in_main_memory(tmp_path):
    def layers(config):
        return torch.nn.Sequential(*(torch.nn.Linear(256, 256, bias=False) for _ in range(24)))

    torch.manual_seed(0)
    save_network(tmp_path, layers({}), {})
    peaks = {}
    for device in ("cpu", "meta"):
        with Copies() as copies:
            load_network(tmp_path, layers, device=device)
        peaks[device] = copies.peak / (4 * 256 * 256)  # in tensors of the network
    assert peaks["cpu"] >= 24
    assert peaks["meta"] < 2


def test_the_portions_in_which_a_file_is_read_change_nothing(folder, monkeypatch):
    whole = load_vdvae(folder).state_dict()
    monkeypatch.setattr(tensor_files, "BYTES_AT_A_TIME", 1)
    for name, tensor in load_vdvae(folder).state_dict().items():
        assert torch.equal(tensor, whole[name])


def test_a_checkpoint_with_a_broken_number_is_refused_for_any_device(folder):
    rewrite(folder, lambda tensors: tensors[sorted(tensors)[-1]].fill_(float("nan")))
    with pytest.raises(ValueError, match="holds numbers that are NaN or infinite"):
        load_vdvae(folder, "meta")
