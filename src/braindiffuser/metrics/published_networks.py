"""The feature networks of the paper's evaluation, declared as data: which layers, how pictures enter.

Every network is torchvision's or transformers' own class. All see square pictures of 224 pixels, resized without a crop
as Pillow resizes 8-bit pictures (bilinear), as `eval_extract_features.py` of the reference does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import nn
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from braindiffuser.arrays import Matrix, Pictures
from braindiffuser.errors import DependencyError
from braindiffuser.images import resize
from braindiffuser.metrics.metric import FeatureNetwork
from braindiffuser.networks.catalogue import SCORING_NETWORKS, PublishedFile
from braindiffuser.networks.checkpoints import build_empty
from braindiffuser.networks.clip import PIXEL_MEAN, PIXEL_STD, VIT_L14
from braindiffuser.networks.downloads import check_file, find, remedy
from braindiffuser.networks.tensor_files import Shapes, check_fit, load_checked, open_tensors, shapes

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's channels."""


@dataclass(frozen=True)
class PublishedNetwork:
    """Facts of one feature network.

    Attributes:
        model: name of torchvision's builder; "clip_vision" is transformers' `CLIPVisionModelWithProjection`.
        layers: our name of a layer → the node of the network's graph.
        channels: mean and standard deviation that pictures in [0, 1] are standardised by.
        arguments: further arguments of the builder.
        size: side of the pictures in pixels.
        unused: name prefixes of tensors that no feature uses, which the file may lack.
    """

    model: str
    layers: Mapping[str, str]
    channels: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET
    arguments: Mapping[str, Any] | None = None
    size: int = 224
    unused: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """Make the network, untrained."""
        if self.model == "clip_vision":
            clip: nn.Module = CLIPVisionModelWithProjection(CLIPVisionConfig(**(self.arguments or {})))
            return clip
        network: nn.Module = get_model(self.model, weights=None, **(self.arguments or {}))
        return network


NETWORKS: Mapping[str, PublishedNetwork] = {
    "alexnet": PublishedNetwork("alexnet", {"2": "features.4", "5": "features.11"}),
    "inception_v3": PublishedNetwork(
        "inception_v3",
        {"avgpool": "avgpool"},
        arguments={"transform_input": True, "init_weights": False},  # as torchvision sets for its pretrained network
    ),
    "clip_vit_l14": PublishedNetwork(
        "clip_vision",
        {"final": "image_embeds"},
        channels=(PIXEL_MEAN, PIXEL_STD),
        arguments=VIT_L14["vision_config"],
    ),
    "efficientnet_b1": PublishedNetwork("efficientnet_b1", {"avgpool": "avgpool"}),
    "swav": PublishedNetwork("resnet50", {"avgpool": "avgpool"}, unused=("fc.",)),
}
"""Networks of the paper's table by our names; their files are `catalogue.SCORING_NETWORKS`."""


def load_published_networks(
    names: Collection[str], folder: Path, device: str = "cpu", batch_size: int = 16
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Load those of the named networks whose files are on this machine.

    Args:
        names: keys of `NETWORKS`.
        folder: where their files are looked for first: `downloads_folder()`.
        device: where the networks run.
        batch_size: pictures that go through a network together.

    Returns:
        Loaded networks; and for missing ones, where to get the file.

    Raises:
        DependencyError: if a file is there but truncated, or not what its name says.
    """
    loaded: dict[str, FeatureNetwork] = {}
    missing: dict[str, str] = {}
    for name in names:
        facts, file = NETWORKS[name], SCORING_NETWORKS[name]
        path = find(file, folder)
        if path is None:
            missing[name] = remedy(file, folder)
        else:
            network = _empty(facts)
            fill(network, facts, file, path, device)
            loaded[name] = feature_network(network, facts, device, batch_size)
    return loaded, missing


def _empty(facts: PublishedNetwork) -> nn.Module:
    """Make a network whose parameters take no memory."""
    return build_empty(lambda _: facts.build(), {})


def fill(network: nn.Module, facts: PublishedNetwork, file: PublishedFile, path: Path, device: str = "cpu") -> None:
    """Load all tensors of a network from its file except `unused`, which become 0; the file must fit strictly.

    Tensors are read one by one, each to the device.

    Args:
        network: to be filled; its parameters may be on torch's meta device.
        facts: of the network.
        file: that the tensors are published in.
        path: of that file on this machine.
        device: where the network runs.

    Raises:
        DependencyError: if the file is truncated or holds other tensors; the message names it.
    """
    check_file(path, file)
    own = network.state_dict()
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(facts.unused)}
    try:
        names, found = _names_and_shapes(path, wanted)
        check_fit(path, found, shapes(wanted))
        loaded = load_checked(path, {names[name]: wanted[name].dtype for name in wanted}, device, torch.float32)
    except ValueError as error:
        raise DependencyError(f"{error}; delete that file and download {file.url}") from error
    unused = {name: torch.zeros_like(own[name], device=device) for name in own.keys() - wanted.keys()}
    network.load_state_dict({name: loaded[names[name]] for name in wanted} | unused, assign=True)


def _names_and_shapes(path: Path, wanted: Collection[str]) -> tuple[dict[str, str], Shapes]:
    """Return our name of each wanted tensor that a file holds → its name there; and their shapes."""
    stored = open_tensors(path)
    names = {ours: name for name in stored if (ours := name.removeprefix("module.")) in wanted}
    return names, shapes({ours: stored[name] for ours, name in names.items()})


def feature_network(
    network: nn.Module, facts: PublishedNetwork, device: str = "cpu", batch_size: int = 16
) -> FeatureNetwork:
    """Wrap a torch module: resize and standardise pictures, return the layers of its facts.

    Each layer comes back as one row per picture: channels, rows and columns in one vector.
    """
    network = network.to(device).eval().requires_grad_(False)
    take = network if facts.model == "clip_vision" else _extractor(network, facts)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in facts.channels)

    def run(batch: Pictures) -> dict[str, Float[np.ndarray, "n _"]]:
        small = torch.from_numpy(resize(batch, facts.size, Image.Resampling.BILINEAR)).to(device)
        with torch.inference_mode():
            outputs = take((small - mean) / std)
        return {name: outputs[node].flatten(start_dim=1).cpu().numpy() for name, node in facts.layers.items()}

    def published_network(pictures: Pictures) -> dict[str, Matrix]:
        """Compute the declared layers of pictures, a batch at a time."""
        blocks = [run(pictures[start : start + batch_size]) for start in range(0, len(pictures), batch_size)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in facts.layers}

    return published_network


def _extractor(network: nn.Module, facts: PublishedNetwork) -> nn.Module:
    nodes = list(facts.layers.values())
    extractor: nn.Module = create_feature_extractor(network, nodes, suppress_diff_warning=True)  # only ever evaluated
    return extractor
