"""The preset `brain-diffuser` and the published networks are the paper's numbers, written here a second time.

Source: Ozcelik & VanRullen 2023 (doi 10.1038/s41598-023-42891-8) and its reference scripts; CLIP's and KL-f8's own publications.
"""

import pytest

from braindiffuser.experiment import Experiment
from braindiffuser.networks import catalogue, clip, convert
from braindiffuser.networks.noise_schedule import SCALED_LINEAR

PAPER = {
    "dataset.sessions": 37,
    "dataset.betas_version": "betas_fithrf_GLMdenoise_RR",
    "dataset.mask": "nsdgeneral",
    "responses.normalisation": "training",
    "responses.rows": "averages",
    "responses.rois": [],
    "responses.min_noise_ceiling": 0.0,
    "responses.noise_ceiling": "three-trials",
    "targets.latents.n_layers": 31,
    "targets.latents.posterior": "sample",
    "targets.latents.resizing": "as-published",
    "targets.vision.resizing": "as-published",
    "regression.alphas": {"latents": [50_000.0], "vision": [60_000.0], "text": [100_000.0]},
    "regression.weights": "equal",
    "regression.calibration": "transductive",
    "generator.low_level": {"temperature": 1.0, "output": "sample"},
    "generator.diffusion.n_steps": 50,
    "generator.diffusion.strength": 0.75,
    "generator.diffusion.guidance_scale": 7.5,
    "generator.diffusion.vision_weight": 0.6,
    "generator.diffusion.noise_level": "as-published",
    "generator.diffusion.sampler": "ddim",
    "generator.diffusion.posterior": "sample",
    "generator.diffusion.scaling_factor": None,
    "generator.diffusion.precision": "half",
    "pictures.ablations": "all",
    "evaluation.profile": "brain-diffuser-2023",
    "analyses": [{"kind": "roi_maximisation", "lengths": "as-published"}],
}


@pytest.mark.parametrize("entry", PAPER)
def test_the_preset_is_the_paper(entry):
    value = Experiment.load("brain-diffuser").model_dump(mode="json")
    for key in entry.split("."):
        value = value[key]
    if entry == "analyses":
        value = [{key: found[key] for key in ("kind", "lengths")} for found in value if found["kind"] != "split_audit"]
    assert value == PAPER[entry]


def test_the_autoencoder_scales_latents_as_stable_diffusion_does():
    assert convert.KL_F8["scaling_factor"] == 0.18215
    assert convert.KL_F8["block_out_channels"] == [128, 256, 512, 512]


def test_the_published_unet_has_eight_heads_and_clips_widths():
    unet = convert.VERSATILE
    assert (unet.attention_heads, unet.vision_dim, unet.text_dim, unet.sample_size) == (8, 768, 768, 64)
    assert unet.block_out_channels == (320, 640, 1280, 1280)


def test_pictures_are_normalised_as_clip_was_trained():
    assert clip.PIXEL_MEAN == (0.48145466, 0.4578275, 0.40821073)
    assert clip.PIXEL_STD == (0.26862954, 0.26130258, 0.27577711)


def test_the_noise_schedule_is_scaled_linear_from_00085_to_0120_in_1000_steps():
    n, (first, last) = 1000, (0.00085**0.5, 0.012**0.5)
    signal = 1.0
    for step in range(n):
        signal *= 1 - (first + (last - first) * step / (n - 1)) ** 2
    assert len(SCALED_LINEAR.alphas_cumprod) == n
    assert float(SCALED_LINEAR.alphas_cumprod[-1]) == pytest.approx(signal, rel=1e-5)


def test_the_files_are_those_that_were_published():
    published = {
        "imagenet64-iter-1600000-model-ema.th": ("MIT", ""),
        "vd-four-flow-v1-0-fp16-deprecated.pth": ("MIT", ""),
        "clip-vit-large-patch14.safetensors": (
            "MIT",
            "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        ),
        "clip-vit-large-patch14-tokenizer.json": (
            "MIT",
            "a83e0809aa4c3af7208b2df632a7a69668c6d48775b3c3fe4e1b1199d1f8b8f4",
        ),
        "swav_800ep_pretrain.pth.tar": ("CC-BY-NC-4.0", ""),
    }
    files = {file.name: (file.licence, file.sha256) for file in catalogue.ALL}
    assert {name: files[name] for name in published} == published
    assert catalogue.CLIP_FILE.on_hub[1] == "32bd64288804d66eefd0ccbe215aa642df71cc41"
