"""The feature networks of published evaluations, declared as data: which layers, how pictures enter.

Every network is torchvision's or transformers' own class; all see square pictures, without a crop. One checkpoint comes under
several names, since papers let pictures in by different ways, which give different scores:

- no ending: 224 pixels, as Pillow resizes 8-bit pictures (bilinear), as `eval_extract_features.py` of Brain-Diffuser does;
- `_256`: first to 256 pixels, then to the network's size, both as tensors without antialias, as MindEye and MindEye2 do under the
  versions of torchvision that they pin (0.15.2 and 0.16.0);
- `_299`: 299 pixels, as Pillow resizes (bilinear), and `_bicubic`: 224 pixels by CLIP's own processor, as Takagi & Nishimoto do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from PIL import Image
from torch import nn
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from braindiffuser.arrays import Matrix, Pictures
from braindiffuser.errors import DependencyError
from braindiffuser.images import resize, resize_without_antialias
from braindiffuser.metrics.metric import FeatureNetwork
from braindiffuser.networks.catalogue import BUILT_ON, SCORING_NETWORKS, PublishedFile, files_of
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
        model: name of torchvision's builder; "clip_vision" is transformers' `CLIPVisionModelWithProjection`, "lpips" our
            `LPIPSFeatures`.
        layers: our name of a layer → the node of the network's graph.
        channels: mean and standard deviation that pictures in [0, 1] are standardised by.
        arguments: further arguments of the builder.
        size: side of the pictures in pixels.
        first: side that they are resized to before, by the same way; None: they are not.
        resizing: how they are resized: "bilinear" or "bicubic", as Pillow resizes 8-bit pictures (with antialias), or
            "bilinear-tensor", without antialias and not rounded to 8 bits.
        unused: name prefixes of tensors that no feature uses, which the file may lack.
    """

    model: str
    layers: Mapping[str, str]
    channels: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET
    arguments: Mapping[str, Any] | None = None
    size: int = 224
    first: int | None = None
    resizing: Literal["bilinear", "bicubic", "bilinear-tensor"] = "bilinear"
    unused: tuple[str, ...] = ()

    def entering(self, pictures: Float32[np.ndarray, "n 3 _ _"]) -> Float32[np.ndarray, "n 3 _ _"]:
        """Resize pictures (n, 3, side, side) as the network takes them: (n, 3, size, size)."""
        sizes = [self.size] if self.first is None else [self.first, self.size]
        for size in sizes:
            if self.resizing == "bilinear-tensor":
                pictures = resize_without_antialias(pictures, size)
            else:
                pictures = resize(pictures, size, Image.Resampling[self.resizing.upper()])
        return pictures

    def build(self) -> nn.Module:
        """Make the network, untrained."""
        if self.model == "clip_vision":
            clip: nn.Module = CLIPVisionModelWithProjection(CLIPVisionConfig(**(self.arguments or {})))
            return clip
        if self.model == "lpips":
            return LPIPSFeatures()
        network: nn.Module = get_model(self.model, weights=None, **(self.arguments or {}))
        return network


_ALEXNET = PublishedNetwork("alexnet", {"2": "features.4", "5": "features.11"})
_INCEPTION = PublishedNetwork(
    "inception_v3",
    {"avgpool": "avgpool"},
    arguments={"transform_input": True, "init_weights": False},  # as torchvision sets for its pretrained network
)
_CLIP = PublishedNetwork(
    "clip_vision", {"final": "image_embeds"}, channels=(PIXEL_MEAN, PIXEL_STD), arguments=VIT_L14["vision_config"]
)
_EFFICIENTNET = PublishedNetwork("efficientnet_b1", {"avgpool": "avgpool"})
_SWAV = PublishedNetwork("resnet50", {"avgpool": "avgpool"}, unused=("fc.",))


def _at_256_first(facts: PublishedNetwork, size: int) -> PublishedNetwork:
    return replace(facts, first=256, size=size, resizing="bilinear-tensor")


NETWORKS: Mapping[str, PublishedNetwork] = {
    "alexnet": _ALEXNET,
    "inception_v3": _INCEPTION,
    "clip_vit_l14": _CLIP,
    "efficientnet_b1": _EFFICIENTNET,
    "swav": _SWAV,
    "alexnet_256": _at_256_first(_ALEXNET, 256),
    "inception_v3_256": _at_256_first(_INCEPTION, 342),
    "clip_vit_l14_256": _at_256_first(_CLIP, 224),
    "efficientnet_b1_v2_256": _at_256_first(_EFFICIENTNET, 255),
    "swav_256": _at_256_first(_SWAV, 224),
    "alexnet_299": replace(
        _ALEXNET, layers={"pool2": "features.5", "pool5": "features.12", "7": "classifier.5"}, size=299
    ),
    "inception_v3_299": replace(_INCEPTION, size=299),
    "clip_vit_l14_bicubic": replace(_CLIP, resizing="bicubic"),
    "lpips_alexnet": PublishedNetwork("lpips", {"weighted": "weighted"}, size=64),
}
"""Published networks by our names; their files are `catalogue.SCORING_NETWORKS`."""


class LPIPSFeatures(nn.Module):
    """AlexNet's five rectified convolutions, normalised and weighted so that squared distances are LPIPS.

        f_lc(place) = √(w_lc / (h_l · w_l)) · x_lc(place) / (‖x_l(place)‖ + 1e-10)

    with the norm over channels, w of human judgements, and one mean over the h_l × w_l places of a layer (Zhang et al. 2018,
    version 0.1). The published scaling of its input is that by ImageNet's mean and standard deviation.
    """

    LAYERS = (1, 4, 7, 9, 11)
    """Rectified convolutions among AlexNet's `features`."""
    CHANNELS = (64, 192, 384, 256, 256)

    def __init__(self) -> None:
        """Make AlexNet and weights of 0, to be filled."""
        super().__init__()
        self.alexnet = get_model("alexnet", weights=None)
        for place, n in enumerate(self.CHANNELS):
            self.register_buffer(f"weight{place}", torch.zeros(1, n, 1, 1))

    def forward(self, pictures: Float[torch.Tensor, "n 3 h w"]) -> dict[str, Float[torch.Tensor, "n d"]]:
        """Return the features of standardised pictures as the one layer `weighted`."""
        found, x = [], pictures
        for number, layer in enumerate(self.alexnet.features[: self.LAYERS[-1] + 1]):
            x = layer(x)
            if number in self.LAYERS:
                weight = getattr(self, f"weight{self.LAYERS.index(number)}") / (x.shape[-2] * x.shape[-1])
                unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
                found.append((weight.sqrt() * unit).flatten(start_dim=1))
        return {"weighted": torch.cat(found, dim=1)}

    def take_weights(self, stored: Mapping[str, torch.Tensor], path: Path) -> None:
        """Take the published weights.

        Raises:
            DependencyError: if they are other tensors, or a weight is negative or not finite; names the file.
        """
        own = {f"weight{place}": f"lin{place}.model.1.weight" for place in range(len(self.CHANNELS))}
        fits = stored.keys() == set(own.values()) and all(
            stored[name].shape == getattr(self, ours).shape for ours, name in own.items()
        )
        if not fits or any(not bool(((w >= 0) & w.isfinite()).all()) for w in stored.values()):
            raise DependencyError(
                f"{path} does not hold the weights of LPIPS (v0.1, AlexNet): five tensors lin0 … lin4 of numbers of 0 or more; "
                "delete it and run `braindiffuser checkpoints --download`"
            )
        for ours, name in own.items():
            getattr(self, ours).copy_(stored[name])


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
    filled: dict[tuple[str, str], nn.Module] = {}
    for name in names:
        facts = NETWORKS[name]
        found = {file: find(file, folder) for file in files_of(name)}
        absent = [file for file, path in found.items() if path is None]
        if absent:
            missing[name] = " and ".join(remedy(file, folder) for file in absent)
            continue
        same = facts.model, SCORING_NETWORKS[name].name
        if same not in filled:
            filled[same] = _filled(name, {file: path for file, path in found.items() if path is not None}, device)
        loaded[name] = feature_network(filled[same], facts, device, batch_size)
    return loaded, missing


def _filled(name: str, paths: Mapping[PublishedFile, Path], device: str) -> nn.Module:
    """Load a network whose files are there."""
    facts, file = NETWORKS[name], SCORING_NETWORKS[name]
    path = paths[file]
    if name not in BUILT_ON:
        network = _empty(facts)
        fill(network, facts, file, path, device)
        return network
    whole = LPIPSFeatures()
    whole.alexnet = _filled(BUILT_ON[name], paths, device)
    check_file(path, file)
    whole.take_weights(open_tensors(path), path)
    return whole


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
    take = network if facts.model in ("clip_vision", "lpips") else _extractor(network, facts)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in facts.channels)

    def run(batch: Pictures) -> dict[str, Float[np.ndarray, "n _"]]:
        small = torch.from_numpy(facts.entering(batch)).to(device)
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
