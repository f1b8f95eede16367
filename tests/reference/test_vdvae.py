"""The VDVAE against the original implementation's own numbers.

Every `vdvae_*.safetensors` in the folder named by BRAINDIFFUSER_REFERENCE_VECTORS is read, whatever its configuration.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from braindiffuser.networks.logistic_mixture import mixture_nll, sample_mixture
from braindiffuser.networks.vdvae import IMAGENET64, VDVAE, VDVAEConfig

VECTORS = Path(os.environ.get("BRAINDIFFUSER_REFERENCE_VECTORS", Path(__file__).parent / "vectors"))
CLOSE = {"rtol": 0, "atol": 1e-5}
OF_THE_PASSES = {"n_manual_latents", "temperature"}


def quotient(number: float | str) -> float:
    """Read a number that may be written as a quotient, `1/69.37404`."""
    numerator, _, denominator = str(number).partition("/")
    return float(numerator) / float(denominator or 1)


@pytest.fixture(scope="module", params=sorted(VECTORS.glob("vdvae_*.safetensors")), ids=lambda path: path.stem)
def vectors(request):
    """The file's configuration, tensors, and the network with its weights."""
    with safe_open(request.param, "pt") as file:
        config = json.loads(file.metadata()["config"])
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    shape = {name: value for name, value in config.items() if name not in OF_THE_PASSES}
    network = VDVAEConfig(**shape | {"scale": quotient(config["scale"])}).build().eval()
    weights = {name.removeprefix("weights."): tensor for name, tensor in tensors.items() if name.startswith("weights.")}
    network.load_state_dict(weights)
    return config, tensors, network.requires_grad_(False)


def pictures_of(tensors):
    return tensors["images_uint8"].permute(0, 3, 1, 2).float() / 255


def layers_of(tensors, prefix):
    """The tensors `prefix.0`, `prefix.1`, …; an empty one where the file has none."""
    numbers = [int(name.rpartition(".")[2]) for name in tensors if name.startswith(f"{prefix}.")]
    return [tensors.get(f"{prefix}.{number}", torch.empty(0)) for number in range(max(numbers) + 1)]


def test_inputs_and_activations(vectors):
    _, tensors, network = vectors
    inputs = (pictures_of(tensors) * 255 + network.config.shift) * network.config.scale
    torch.testing.assert_close(inputs, tensors["inputs"].permute(0, 3, 1, 2), **CLOSE)
    activations = network.encoder(inputs)
    expected = {int(name.rpartition(".")[2]) for name in tensors if name.startswith("activations.")}
    assert set(activations) == expected
    for size in expected:
        torch.testing.assert_close(activations[size], tensors[f"activations.{size}"], **CLOSE)


def test_posterior_means(vectors):
    _, tensors, network = vectors
    layers, features = network.infer(pictures_of(tensors))
    wanted = zip(layers_of(tensors, "posterior_mean.z"), layers_of(tensors, "posterior_mean.kl"), strict=True)
    for layer, (z, kl) in zip(layers, wanted, strict=True):
        torch.testing.assert_close(layer.z, z, **CLOSE)
        torch.testing.assert_close(layer.kl, kl, **CLOSE)
    torch.testing.assert_close(features, tensors["posterior_mean.px_z"], **CLOSE)
    nll = mixture_nll(pictures_of(tensors), network.distribution(features))
    torch.testing.assert_close(nll, tensors["posterior_mean.nll"], **CLOSE)


def test_posterior_samples(vectors):
    _, tensors, network = vectors
    layers, features = network.infer(pictures_of(tensors), layers_of(tensors, "sampled.noise"))
    for layer, z in zip(layers, layers_of(tensors, "sampled.z"), strict=True):
        torch.testing.assert_close(layer.z, z, **CLOSE)
    torch.testing.assert_close(features, tensors["sampled.px_z"], **CLOSE)


@pytest.mark.parametrize("variant", ["t_none", "t_temp"])
def test_first_latents_given_and_the_rest_from_the_prior(vectors, variant):
    config, tensors, network = vectors
    given = layers_of(tensors, "sampled.z")[: config["n_manual_latents"]]
    temperature = config["temperature"] if variant == "t_temp" else 1.0
    features = network.generate(given, layers_of(tensors, f"manual.{variant}.noise"), temperature)
    torch.testing.assert_close(features, tensors[f"manual.{variant}.px_z"], **CLOSE)


def test_the_output_distribution_and_a_picture_drawn_from_it(vectors):
    _, tensors, network = vectors
    parameters = network.distribution(tensors["manual.t_temp.px_z"])
    torch.testing.assert_close(parameters, tensors["dmol.parameters"], **CLOSE)
    drawn = sample_mixture(
        tensors["dmol.parameters"], tensors["dmol.mixture_uniform"], tensors["dmol.logistic_uniform"]
    )
    assert torch.equal(drawn, tensors["dmol.image_uint8"])


@pytest.mark.parametrize("path", sorted(VECTORS.glob("vdvae_imagenet64*state_dict.json")), ids=lambda path: path.stem)
def test_the_published_checkpoint_loads_strictly(path):
    with torch.device("meta"):
        network = VDVAE(IMAGENET64)
    published = {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published


def test_the_papers_31_layers_hold_91168_latents():
    shapes = [torch.Size(shape) for shape in IMAGENET64.latent_shapes]
    assert len(shapes) == 75
    assert sum(shape.numel() for shape in shapes[:31]) == 91_168
