"""Offloading is a matter of nothing but memory and time."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from braindiffuser.generators.placement import place
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import build_autoencoder, build_empty, build_unet, load_unet, read_config

UNET, AUTOENCODER = BUNDLED / "demo" / "unet", BUNDLED / "demo" / "autoencoder"


def arguments(device="cpu"):
    shapes = (2, 4, 16, 16), (2, 17, 64), (2, 9, 64)
    latents, vision, text = (torch.rand(shape, device=device) for shape in shapes)
    return latents, torch.full((2,), 300, device=device), vision, text


@pytest.mark.parametrize("vision_weight", [0.0, 0.6, 1.0])
@torch.no_grad()
def test_offloaded_values_are_the_same(vision_weight):
    network, offloaded = load_unet(UNET), place(load_unet(UNET), "cpu", offload=True)
    given = arguments()
    expected = network(*given, vision_weight)
    for _ in range(2):
        assert torch.equal(offloaded(*given, vision_weight), expected)


@pytest.mark.parametrize("offload", [True, False])
@torch.no_grad()
def test_offloaded_networks_compute_on_the_device_and_wait_in_main_memory(offload):
    with FakeTensorMode():  # the GPU need not be there
        where = "cpu" if offload else "cuda"
        unet = build_empty(build_unet, read_config(UNET), where)
        autoencoder = build_empty(build_autoencoder, read_config(AUTOENCODER), where)
        if offload:
            unet, autoencoder = (place(network, "cuda", offload=True) for network in (unet, autoencoder))
        latents = unet(*arguments("cuda"), 0.6)
        made = autoencoder.decode(autoencoder.encode(autoencoder.decode(latents).sample).latent_dist.mean).sample
        assert {latents.device.type, made.device.type} == {"cuda"}
        assert {parameter.device.type for parameter in (*unet.parameters(), *autoencoder.parameters())} == {where}


def test_offloading_keeps_the_tensors_themselves():
    layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).eval()
    before = dict((*layers.named_parameters(), *layers.named_buffers()))
    place(layers, "cpu", offload=True)(torch.zeros(2, 3))
    after = dict((*layers.named_parameters(), *layers.named_buffers()))
    assert all(after[name] is tensor for name, tensor in before.items())


def test_weights_come_back_from_a_layer_that_fails():
    layer = torch.nn.Linear(3, 3)
    weight = layer.weight
    with pytest.raises(RuntimeError):
        place(layer, "cpu", offload=True)(torch.zeros(2, 4))
    assert layer.weight is weight


def test_networks_are_placed_whole_without_offloading():
    assert place(torch.nn.Linear(2, 2), "meta").weight.device.type == "meta"
