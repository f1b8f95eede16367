"""Laws of configs: what two of them say must agree, before anything is loaded; the bundled ones and those that we write do."""

import json
import shutil

import pytest

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.networks import clip_tokenizer, config_checks, tensor_files
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import load_clip
from braindiffuser.networks.clip import text_tokens, tokenize, vision_tokens
from braindiffuser.networks.config_checks import check_clip, check_diffusion, check_tensors
from braindiffuser.networks.convert import KL_F8, VERSATILE
from braindiffuser.run_folder import check_configs

DEMO = BUNDLED / "demo"
ENTRIES = {
    "clip": ("targets.vision.checkpoint", "targets.text.checkpoint"),
    "vdvae": ("targets.latents.checkpoint", "generator.vdvae"),
    "unet": ("generator.unet",),
    "autoencoder": ("generator.autoencoder",),
}


def nested(dotted, value):
    key, _, rest = dotted.partition(".")
    return {key: nested(rest, value) if rest else value}


def with_config(tmp_path, network, change, entries=None):
    """The demo with one checkpoint whose config differs."""
    folder = shutil.copytree(DEMO / network, tmp_path / network)
    content = json.loads((folder / "config.json").read_text())
    for key, value in change.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(content))
    experiment = Experiment.load("demo")
    for entry in entries or ENTRIES[network]:
        experiment = experiment.changed(nested(entry, str(folder)))
    return experiment


@pytest.mark.parametrize(
    ("network", "change", "words"),
    [
        (
            "clip",
            {"projection_dim": 32},
            r"generator\.unet names .*unet, which takes vision tokens of width 64, .* 32 wide",
        ),
        (
            "clip",
            {"projection_dim": "64"},
            r"targets\.vision\.checkpoint names .*projection_dim is '64', expected a whole",
        ),
        ("clip", {"text_config": {"vocab_size": 231}}, r"targets\.vision\.checkpoint .* 230 tokens, .* vocab_size 231"),
        ("clip", {"text_config": 3}, r"targets\.vision\.checkpoint .* text_config is no mapping"),
        ("clip", {"vision_config": {"patch_size": 0}}, "patch_size is 0, expected a whole number above 0"),
        (
            "vdvae",
            {"dec_blocks": "1x1,4m1,4x2,8m4,8x4,16m8,16x5"},
            r"targets\.latents\.checkpoint names /.*, whose .*tensors do not fit.* 26 of",
        ),
        ("vdvae", {"dec_blocks": "1x1,4x1,4x2,8m4,8x4,16m8,16x4"}, "a block at 4 pixels .* does not mix in"),
        ("vdvae", {"dec_blocks": "1x1;4m1,4x2,8m4,8x4,16m8,16x4"}, "dec_blocks has '1x1;4m1', expected blocks such as"),
        (
            "vdvae",
            {"enc_blocks": "16x3,16d4,8x3,8d2,4x3,4d4,1x2"},
            "a block at 8 pixels where the block before leaves 4",
        ),
        ("vdvae", {"image_size": 32}, "a block at 16 pixels where the block before leaves 32"),
        ("vdvae", {"width": 64}, "tensors do not fit"),
        ("vdvae", {"shift": float("nan")}, "shift Input should be a finite number"),
        ("unet", {"in_channels": 8}, "takes latents of 8 channels .* the autoencoder .* makes 4 channels"),
        ("unet", {"sample_size": 32}, "and 32 pixels a side, .* and 16 pixels"),
        ("unet", {"text_dim": 32}, "takes text tokens of width 32, but the target text makes them 64 wide"),
        ("unet", {"vision_dim": None}, r"generator\.unet names .* vision_dim is None, expected a whole"),
        ("autoencoder", {"latent_channels": 16}, "makes 16 channels"),
        ("autoencoder", {"block_out_channels": [8, 8]}, "makes 4 channels and 32 pixels"),
        (
            "autoencoder",
            {"block_out_channels": 8},
            r"generator\.autoencoder names .* block_out_channels is 8, expected a list",
        ),
        *(
            (
                "autoencoder",
                {"scaling_factor": value},
                r"generator\.autoencoder names .* scaling_factor is .*, expected",
            )
            for value in (0, -1.0, "1.06", None, True, float("nan"), float("inf"))
        ),
        ("autoencoder", {"shift_factor": 0.1}, "it gives shift_factor, but only"),
        ("autoencoder", {"latents_mean": [0.1] * 4}, "it gives latents_mean, but only"),
    ],
)
def test_configs_that_contradict_each_other_or_their_files_are_refused(tmp_path, network, change, words, monkeypatch):
    """Tensors, which another config contradicts too, are left aside, so that the first thing that is told can be seen."""
    if network != "vdvae":
        monkeypatch.setattr(config_checks, "check_tensors", lambda *given: None)
    with pytest.raises(RunError, match=words) as caught:
        check_configs(with_config(tmp_path, network, change))
    assert "validation error" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "refused"),
    [
        ({"image_mean": [0.48145466, 0.4578275, 0.40821073]}, False),
        ({"size": 224}, False),
        ({"image_mean": [0.5, 0.5, 0.5]}, True),
        ({"image_std": 0.5}, True),
        ({"image_std": None}, False),
        ({"image_std": [0.269, 0.261, 0.276], "do_rescale": 1}, False),
        ({"image_processor": {"image_mean": [0.5, 0.5, 0.5]}}, True),
        ({"image_mean": [0.48145466, 0.4578275]}, True),
        ({"do_normalize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098}, False),
        ({"do_normalize": False}, True),
        ({"do_rescale": False}, True),
        ({"rescale_factor": 1 / 127.5}, True),
    ],
)
def test_pictures_are_normalised_as_the_model_takes_them(tmp_path, stated, refused):
    """Some CLIP models take other means than OpenAI's."""
    folder = shutil.copytree(DEMO / "clip", tmp_path / "clip")
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    if refused:
        with pytest.raises(ValueError, match=r"preprocessor_config\.json says \w+ .*, but pictures are prepared with"):
            check_clip(folder, "checkpoint")
    else:
        check_clip(folder, "checkpoint")


def test_latents_of_another_vdvae_are_refused(tmp_path):
    experiment = with_config(tmp_path, "vdvae", {}, entries=("generator.vdvae",))
    check_configs(experiment)
    latents = experiment.targets["latents"].row_shape()
    with pytest.raises(ValueError, match=f"vdvae names .*, no layer of which ends after {latents[0] + 1} latents"):
        experiment.generator.check_rows({"latents": (latents[0] + 1,)})
    experiment.generator.check_rows({})
    experiment.generator.check_rows({"mine": (3,)})


def test_files_are_opened_once_for_each_entry(monkeypatch):
    read = []
    for module, name in ((tensor_files, "open_tensors"), (clip_tokenizer, "read_tokenizer")):
        reader = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda path, *rest, reader=reader: read.append(path.name) or reader(path, *rest)
        )
    check_configs(Experiment.load("demo"))
    assert sorted(read) == 6 * ["model.safetensors"] + 2 * ["tokenizer.json"]


def test_the_bundled_and_the_published_configs_fit(tmp_path, monkeypatch):
    check_configs(Experiment.load("demo"))
    monkeypatch.setattr(config_checks, "check_tensors", lambda *given: None)
    for name, content in {"unet": VERSATILE.model_dump(mode="json"), "autoencoder": dict(KL_F8)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(content))
    assert check_diffusion(tmp_path / "unet", tmp_path / "autoencoder") == {"vision": 768, "text": 768}


def test_shapes_that_are_read_from_a_config_are_those_of_the_features():
    import torch

    clip, experiment = load_clip(DEMO / "clip"), Experiment.load("demo")
    with torch.inference_mode():
        text = text_tokens(clip.model, tokenize(clip.model, clip.tokenizer, ["a dog"]))
        vision = vision_tokens(clip.model, torch.zeros(1, 3, 64, 64))
    assert check_clip(DEMO / "clip", "x") == {"text": tuple(text.shape[1:]), "vision": tuple(vision.shape[1:])}
    assert {name: target.row_shape() for name, target in experiment.targets.items() if name != "latents"} == check_clip(
        DEMO / "clip", "x"
    )


@pytest.mark.parametrize(
    ("network", "change", "words"),
    [
        ("unet", {"layers_per_block": 2}, r"generator\.unet names .* whose config.json and tensors do not fit"),
        ("autoencoder", {"layers_per_block": 2}, r"generator\.autoencoder names .* tensors do not fit"),
        ("clip", {"text_config": {"num_hidden_layers": 1}}, r"targets\.vision\.checkpoint names .* tensors do not fit"),
        ("clip", {"vision_config": {"image_size": 70}}, "image_size 70 is no multiple of patch_size 16"),
        ("unet", {"unknown": 2}, r"generator\.unet names .* is not that of a dual-guided UNet"),
    ],
)
def test_tensors_are_compared_with_the_config_before_anything_is_computed(tmp_path, network, change, words):
    with pytest.raises(RunError, match=words):
        check_configs(with_config(tmp_path, network, change))


@pytest.mark.parametrize("damage", ["fewer words", "one number twice", "end first"])
def test_damaged_tokenizers_are_refused(tmp_path, damage):
    folder = shutil.copytree(DEMO / "clip", tmp_path / "clip")
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    if damage == "fewer words":
        content["model"]["vocab"] = {word: number for word, number in words.items() if number % 3 or number > 220}
    elif damage == "one number twice":
        words["apple"] = words["apricot"]
    else:
        marks = [[mark, words[mark]] for mark in clip_tokenizer.MARKS[0]]
        content["post_processor"] = {
            "type": "RobertaProcessing",
            "sep": marks[0],
            "cls": marks[1],
            "trim_offsets": False,
            "add_prefix_space": False,
        }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tokens, the last|begins captions with <.endoftext.>"):
        check_clip(folder, "checkpoint")


@pytest.mark.parametrize("change", [{"text_config": {"eos_token_id": None}}, {"return_dict": False}])
def test_entries_of_a_config_that_do_not_matter_do_no_harm(tmp_path, change):
    import torch

    with_config(tmp_path, "clip", change)
    clip, expected = load_clip(tmp_path / "clip"), load_clip(DEMO / "clip")
    tokens = [text_tokens(one.model, tokenize(one.model, one.tokenizer, ["a dog"])) for one in (clip, expected)]
    assert torch.equal(*tokens)


@pytest.mark.parametrize("error", [MemoryError("full"), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_machine_without_memory_is_no_fault_of_the_config(error):
    def build(config):
        raise error

    with pytest.raises(type(error), match=str(error)):
        check_tensors(DEMO / "unet", "unet", "dual-guided UNet", build, {})


def test_any_other_error_of_building_is_told_as_the_configs():
    with pytest.raises(
        ValueError, match=r"unet names .*, whose config\.json is not that of a UNet: .*KeyError: 'width'"
    ):
        check_tensors(DEMO / "unet", "unet", "UNet", lambda config: config["width"], {})
