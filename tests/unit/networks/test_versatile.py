"""Laws of the dual-guided UNet: what each guide can change, and which checkpoints it takes."""

import inspect

import pytest
import torch
from diffusers import UNet2DConditionModel
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from braindiffuser.networks.versatile import (
    DualGuidedUNet,
    DualTransformer,
    Guidance,
    VersatileConfig,
    from_original,
)

TINY = VersatileConfig(
    sample_size=8,
    block_out_channels=(16, 32),
    attention_levels=(False, True),
    layers_per_block=1,
    attention_heads=2,
    vision_dim=12,
    text_dim=20,
    norm_num_groups=8,
)


@pytest.fixture(scope="module")
def unet():
    """A network whose branches all matter: the fresh one starts with zeros."""
    torch.manual_seed(0)
    network = DualGuidedUNet(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return draw(3, 4, 8, 8), torch.tensor([1, 500, 981]), draw(3, 5, 12), draw(3, 7, 20)


def sites_called(unet, guide, call):
    names = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in unet.named_modules()
        if name.endswith(f".{guide}")
    ]
    call()
    for hook in hooks:
        hook.remove()
    return names


@pytest.mark.parametrize(("vision_weight", "used", "ignored"), [(1.0, "vision", "text"), (0.0, "text", "vision")])
def test_a_guide_of_no_weight_is_neither_run_nor_heard(unet, inputs, vision_weight, used, ignored):
    x, t, vision, text = inputs
    others = (vision, text + 1) if ignored == "text" else (vision + 1, text)
    with torch.no_grad():
        predicted = unet(x, t, vision, text, vision_weight)
        assert torch.equal(predicted, unet(x, t, *others, vision_weight))
        assert sites_called(unet, ignored, lambda: unet(x, t, vision, text, vision_weight)) == []
        assert len(sites_called(unet, used, lambda: unet(x, t, vision, text, vision_weight))) == 4  # 1 down, mid, 2 up


@torch.no_grad()
def test_vision_alone_is_a_plain_conditional_unet(unet, inputs):
    x, t, vision, text = inputs
    plain = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=12,
        norm_num_groups=8,
    ).eval()
    own = {name.removeprefix("unet.").replace(".vision.", "."): w for name, w in unet.state_dict().items()}
    plain.load_state_dict({name: w for name, w in own.items() if ".text." not in name})
    torch.testing.assert_close(unet(x, t, vision, text, 1.0), plain(x, t, vision).sample, rtol=0, atol=1e-6)


@torch.no_grad()
def test_both_guides_are_heard_between(unet, inputs):
    x, t, vision, text = inputs
    predicted = unet(x, t, vision, text, 0.6)
    assert not torch.allclose(predicted, unet(x, t, vision + 1, text, 0.6), atol=1e-4)
    assert not torch.allclose(predicted, unet(x, t, vision, text + 1, 0.6), atol=1e-4)


@torch.no_grad()
def test_near_one_is_near_vision_alone(unet, inputs):
    torch.testing.assert_close(unet(*inputs, 1 - 1e-6), unet(*inputs, 1.0), rtol=0, atol=1e-4)


class Affine(torch.nn.Module):
    """T(h, c) = factor h + mean(c), in the calling convention of a Transformer2DModel."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, h, c, return_dict):
        assert not return_dict
        return (self.factor * h + c.mean(dim=(1, 2)).view(-1, 1, 1, 1),)


def test_a_site_mixes_residuals():
    h = torch.full((1, 1, 1, 1), 10.0)
    guidance = Guidance(torch.full((1, 2, 3), 5.0), torch.full((1, 2, 3), 7.0), 0.6)
    (mixed,) = DualTransformer(Affine(2), Affine(3))(h, guidance)
    assert mixed.item() == pytest.approx(10 + 0.6 * (25 - 10) + 0.4 * (37 - 10))


@torch.no_grad()
def test_each_sample_may_have_its_own_weight(unet, inputs):
    weights = torch.tensor([0.0, 0.3, 1.0])
    together = unet(*inputs, weights)
    for i, weight in enumerate(weights.tolist()):
        alone = unet(*(value[i : i + 1] for value in inputs), weight)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_samples_do_not_see_each_other(unet, inputs):
    order = torch.tensor([2, 0, 1])
    permuted = unet(*(value[order] for value in inputs), 0.6)
    torch.testing.assert_close(permuted, unet(*inputs, 0.6)[order], rtol=0, atol=1e-5)


def test_a_fresh_network_predicts_no_noise(inputs):
    assert not DualGuidedUNet(TINY)(*inputs, 0.6).any()


def test_training_lowers_the_loss(inputs):
    torch.manual_seed(2)
    network, noise = DualGuidedUNet(TINY), torch.randn(3, 4, 8, 8)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = ((network(*inputs, torch.tensor([0.0, 0.5, 1.0])) - noise) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_checkpoint_survives_safetensors(unet, inputs, tmp_path):
    save_file(unet.state_dict(), tmp_path / "unet.safetensors")
    copy = DualGuidedUNet(TINY).eval()
    copy.load_state_dict(load_file(tmp_path / "unet.safetensors"))
    with torch.no_grad():
        assert torch.equal(copy(*inputs, 0.6), unet(*inputs, 0.6))


def test_nothing_of_another_network_is_taken_for_an_original_checkpoint(unet):
    assert from_original(unet.state_dict()) == {}


def test_a_tensor_that_the_original_should_not_have_keeps_its_name():
    name = "model.diffusion_model.unet_image.middle_block.1.gate.weight"
    assert list(from_original({name: torch.zeros(1)})) == [name]


def test_original_leaves_out_what_no_picture_needs():
    kept = "model.diffusion_model.unet_image.input_blocks.1.0.in_layers.0.weight"
    flat = "model.diffusion_model.unet_text.input_blocks.1.0.in_layers.0.weight"
    renamed = from_original({kept: torch.zeros(8), flat: torch.ones(32), "vae.decoder.weight": torch.ones(1)})
    assert list(renamed) == ["unet.down_blocks.0.resnets.0.norm1.weight"]
    assert not renamed["unet.down_blocks.0.resnets.0.norm1.weight"].any()


@pytest.mark.parametrize("vision_weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_the_unit_interval_is_refused(unet, inputs, vision_weight):
    with pytest.raises(ValueError, match="between 0 and 1"):
        unet(*inputs, vision_weight)


def test_weights_must_be_one_per_sample(unet, inputs):
    with pytest.raises(ValueError, match="give one number, or one per sample"):
        inspect.unwrap(DualGuidedUNet.forward)(unet, *inputs, torch.ones(2))


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        ({"attention_levels": (True,)}, "one of each per level"),
        ({"attention_heads": 3}, "must divide every width"),
        ({"norm_num_groups": 24}, "must divide every width"),
        ({"width": 96}, "Extra inputs"),
    ],
)
def test_an_impossible_config_is_refused(faulty, words):
    with pytest.raises(ValidationError, match=words):
        VersatileConfig(**(TINY.model_dump() | faulty))


def test_a_config_survives_json():
    assert VersatileConfig.model_validate_json(TINY.model_dump_json()) == TINY
