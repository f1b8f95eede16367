"""What unit and integration tests share: the published layouts, made of small networks."""

import re
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings
from safetensors.torch import load_file

settings.register_profile(
    "fixed", deadline=None, derandomize=True
)  # the same examples each time, however slow the machine
settings.load_profile("fixed")

TINY_UNET = Path(__file__).parent / "reference" / "vectors" / "versatile_diffusion_tiny.safetensors"


@pytest.fixture(scope="session")
def original_unet():
    """The reference vectors' small UNet under the names of SHI-Labs' checkpoint."""
    tensors = load_file(TINY_UNET)
    return {name.removeprefix("weights."): tensor for name, tensor in tensors.items() if name.startswith("weights.")}


@pytest.fixture(scope="session")
def original_autoencoder():
    """A function from diffusers' autoencoder to its tensors under the names, and shapes, of SHI-Labs' checkpoint."""

    def renamed(network):
        n_levels = len(network.config.block_out_channels)
        return {
            f"autokl.{_original_name(name, n_levels)}": tensor[:, :, None, None]
            if "attentions" in name and tensor.ndim == 2
            else tensor
            for name, tensor in network.state_dict().items()
        }

    return renamed


def _original_name(name, n_levels):
    last = n_levels - 1
    name = re.sub(r"encoder\.down_blocks\.(\d)\.resnets\.(\d)", r"encoder.down.\1.block.\2", name)
    name = re.sub(r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{last - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for ours, theirs in {
        "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
        "mid_block.attentions.0.to_q": "mid.attn_1.q",
        "mid_block.attentions.0.to_k": "mid.attn_1.k",
        "mid_block.attentions.0.to_v": "mid.attn_1.v",
        "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
        "conv_norm_out": "norm_out",
        "conv_shortcut": "nin_shortcut",
    }.items():
        name = name.replace(ours, theirs)
    return name


@pytest.fixture
def types_unchecked():
    """Run as users do, without shape checks: for tests that hand over wrong types or shapes to see our own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def types_unchecked_here():
    """Run a module without shape checks: for tests that read experiments hundreds of times, whose shapes others check."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
