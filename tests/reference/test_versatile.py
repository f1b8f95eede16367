"""The dual-guided UNet and the sampling loop against the original implementation's own numbers.

Every `versatile_*.safetensors` in the folder named by BRAINDIFFUSER_REFERENCE_VECTORS is read, whatever its
configuration; every `versatile_*state_dict.json` must be a checkpoint that the published network takes.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from braindiffuser.generators.diffusion import guided_denoiser
from braindiffuser.networks.samplers import add_noise, image_to_image_timesteps, sample_from_latents
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig, from_original

VECTORS = Path(os.environ.get("BRAINDIFFUSER_REFERENCE_VECTORS", Path(__file__).parent / "vectors"))


@pytest.fixture(scope="module", params=sorted(VECTORS.glob("versatile_*.safetensors")), ids=lambda path: path.stem)
def vectors(request):
    """The file's configuration, tensors, and the network with its weights."""
    with safe_open(request.param, "pt") as file:
        config = json.loads(file.metadata()["config"])
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    weights = {name.removeprefix("weights."): tensor for name, tensor in tensors.items() if name.startswith("weights.")}
    versatile = VersatileConfig(
        sample_size=tensors["unet.x"].shape[-1],
        block_out_channels=tuple(config["width"] * factor for factor in config["channel_mult"]),
        attention_heads=config["num_heads"],
        vision_dim=config["context_dim"],
        text_dim=config["context_dim"],
    )
    unet = DualGuidedUNet(versatile).eval()
    unet.load_state_dict(from_original(weights))
    return config, tensors, unet


@torch.no_grad()
def test_predicted_noise(vectors):
    _, tensors, unet = vectors
    inputs = [tensors[f"unet.{name}"] for name in ("x", "timestep", "vision", "text")]
    expected = {name.rpartition("mix_")[2]: eps for name, eps in tensors.items() if name.startswith("unet.eps.mix_")}
    assert expected
    for vision_weight, eps in expected.items():
        error = (unet(*inputs, float(vision_weight)) - eps).abs().max() / eps.abs().max()
        assert error <= 2e-5, f"vision_weight {vision_weight}"


def test_the_whole_guided_loop(vectors):
    config, tensors, unet = vectors
    noised_at, timesteps = image_to_image_timesteps(config["steps"], config["strength"], "as-published")
    assert noised_at == config["noised_at_timestep"]
    assert timesteps[0] == config["first_denoising_timestep"]
    assert len(timesteps) == config["n_denoising_steps"]
    latents, noise = tensors["loop.init_latents"], tensors["loop.noise"]
    noised = tensors["loop.noised_latents"]
    torch.testing.assert_close(add_noise(latents, noise, noised_at), noised, rtol=0, atol=1e-5)
    denoise = guided_denoiser(
        unet,
        (tensors["loop.vision"], tensors["loop.text"]),
        (tensors["loop.null_vision"], tensors["loop.null_text"]),
        config["guidance_scale"],
        config["vision_weight"],
    )
    n_steps, strength, final = config["steps"], config["strength"], tensors["loop.final_latents"]
    made = sample_from_latents(denoise, latents, noise, n_steps=n_steps, strength=strength)
    assert (made - final).abs().max() / final.abs().max() <= 2e-5
    assert (made - final).norm() / final.norm() <= 2e-5
    other = sample_from_latents(denoise, latents, noise, n_steps=n_steps, strength=strength, noise_level="consistent")
    assert (other - final).norm() / final.norm() > 1e-3  # the option is not without effect


@pytest.mark.parametrize("path", sorted(VECTORS.glob("versatile_*state_dict.json")), ids=lambda path: path.stem)
def test_the_published_checkpoint_has_every_tensor(path):
    shapes = json.loads(path.read_text())
    checkpoint = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    with torch.device("meta"):
        published = DualGuidedUNet(VersatileConfig())
    renamed = from_original(checkpoint)
    assert {name: tensor.shape for name, tensor in renamed.items()} == {
        name: tensor.shape for name, tensor in published.state_dict().items()
    }
    published.load_state_dict(renamed)
