"""The preset brain-diffuser, from files in the published layouts to the page, with random weights at small width."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braindiffuser.experiment import Experiment
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import build_autoencoder, build_clip
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.convert import KL_F8, convert_clip, convert_vdvae, convert_versatile
from braindiffuser.networks.vdvae import IMAGENET64
from braindiffuser.networks.versatile import VersatileConfig
from braindiffuser.run import Run

NARROW_VDVAE = IMAGENET64.model_copy(update={"width": 16})
NARROW_UNET = VersatileConfig(
    sample_size=8, block_out_channels=(32, 32, 64, 64), attention_heads=4, vision_dim=32, text_dim=32
)
NARROW_KL = KL_F8 | {"block_out_channels": [8] * 4, "norm_num_groups": 4, "layers_per_block": 1, "sample_size": 64}
NARROW = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
ONLY_WITH_WEIGHTS = {"alexnet", "inception_v3", "clip_vit_l14", "efficientnet_b1", "swav"}


@pytest.fixture(scope="module")
def narrow_clip():
    """CLIP ViT-L/14's numbers of tokens, 257 and 77, at small width, with the words of the bundled tokenizer."""
    words = json.loads((BUNDLED / "demo" / "clip" / "config.json").read_text(encoding="utf-8"))["text_config"]
    ids = {name: words[name] for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
    text = VIT_L14["text_config"] | NARROW | ids | {"projection_dim": 32}
    return {
        "projection_dim": 32,
        "text_config": text,
        "vision_config": VIT_L14["vision_config"] | NARROW | {"projection_dim": 32},
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory, original_unet, original_autoencoder, narrow_clip):
    """A folder of downloaded weights, converted."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    vdvae, autoencoder = NARROW_VDVAE.build(), build_autoencoder(NARROW_KL)
    torch.save({f"module.{name}": tensor for name, tensor in vdvae.state_dict().items()}, folder / "ema.th")
    torch.save(original_unet | original_autoencoder(autoencoder), folder / "vd.pth")
    clip = {name: tensor.contiguous() for name, tensor in build_clip(narrow_clip).state_dict().items()}
    save_file(clip, folder / "clip.safetensors")
    shutil.copyfile(BUNDLED / "demo" / "clip" / "tokenizer.json", folder / "tokenizer.json")
    out = folder / "brain-diffuser"
    convert_vdvae(folder / "ema.th", out / "vdvae", NARROW_VDVAE)
    convert_versatile(folder / "vd.pth", out, NARROW_UNET, NARROW_KL)
    convert_clip(folder / "clip.safetensors", folder / "tokenizer.json", out / "clip", narrow_clip)
    return folder


def test_only_the_weights_stand_between_a_user_and_the_paper(weights, recording_root, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(weights))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    experiment = Experiment.load("brain-diffuser").changed(
        {
            "dataset": {"root": str(recording_root), "sessions": 3},
            "device": "cpu",
            "generator": {"diffusion": {"n_steps": 4}},
        }
    )
    run = Run.open(experiment, tmp_path / "run")
    page = run.run_all().read_text(encoding="utf-8")
    assert run.results.read_array("targets/latents").shape[1] == 91_168
    assert run.results.read_array("predictions/vision").shape[1:] == (257, 32)
    assert run.results.read_array("predictions/text").shape[1:] == (77, 32)
    scores = run.results.read_json("scores.json")
    assert scores["profile"] == "brain-diffuser-2023"
    assert set(scores["metrics"]) == {"pixcorr", "ssim_column_mean", "ssim"}
    assert set(scores["missing"]) == ONLY_WITH_WEIGHTS
    ablations = {"low_level_only", "without_low_level", "without_text", "without_vision"}
    assert all(set(entry["ablations"]) == ablations for entry in scores["metrics"].values())
    assert "Left out" in page
    assert "the authors&#39; constant" in page
    made = run.results.read_pictures("final", len(run.results.read_array("stimuli/test_ids")))
    assert made.shape[1:] == (3, 64, 64)
    assert np.isfinite(made).all()
    assert made.std(axis=0).max() > 0
