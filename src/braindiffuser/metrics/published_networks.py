"""The feature networks of the paper's evaluation, declared as data: which weights, which layers, how pictures enter.

Every network is torchvision's or transformers' own class. All see square pictures of 224 pixels, resized without a crop
as Pillow resizes 8-bit pictures (bilinear), as `eval_extract_features.py` of the reference does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.feature_extraction import create_feature_extractor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from braindiffuser._arrays import Matrix, Pictures
from braindiffuser.errors import DependencyError
from braindiffuser.images import resize
from braindiffuser.metrics.metric import FeatureNetwork
from braindiffuser.networks.downloads import WeightFile, check_file, digits_of_name

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's channels."""
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and standard deviation of the channels of CLIP's training pictures."""


CLIP_COMMIT = "https://huggingface.co/openai/clip-vit-large-patch14/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41"
"""CLIP ViT-L/14 on the hub, at the commit whose files are used."""
CLIP_VIT_L14 = WeightFile(
    "clip-vit-large-patch14.safetensors",
    f"{CLIP_COMMIT}/model.safetensors",
    1710.54058,
    "MIT",
    "embeddings; score of CLIP",
    "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
)


@dataclass(frozen=True)
class PublishedNetwork:
    """Facts of one feature network.

    Attributes:
        model: name of torchvision's builder; "clip_vision" is transformers' `CLIPVisionModelWithProjection`.
        file: its weights.
        layers: our name of a layer → the node of the network's graph.
        channels: mean and standard deviation that pictures in [0, 1] are standardised by.
        weights: name of torchvision's own entry for these weights, where it has one.
        arguments: further arguments of the builder.
        size: side of the pictures in pixels.
    """

    model: str
    file: WeightFile
    layers: Mapping[str, str]
    channels: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET
    weights: str | None = None
    arguments: Mapping[str, Any] | None = None
    size: int = 224

    @classmethod
    def of_torchvision(cls, model: str, weights: str, layers: Mapping[str, str], **arguments: bool) -> PublishedNetwork:
        """Take file, address and size from torchvision's entry of that name."""
        entry = get_model_weights(model)[weights]
        name, megabytes = entry.url.rsplit("/", 1)[1], round(float(entry.meta["_file_size"]) * 1.048576, 1)
        served = f"score of {model}"
        file = WeightFile(name, entry.url, megabytes, "BSD-3-Clause", served, digits_of_name(name))
        return cls(model, file, layers, weights=weights, arguments=arguments or None)

    def build(self) -> nn.Module:
        """Make the network with fresh weights."""
        if self.model == "clip_vision":
            clip: nn.Module = CLIPVisionModelWithProjection(CLIPVisionConfig(**(self.arguments or {})))
            return clip
        network: nn.Module = get_model(self.model, weights=None, **(self.arguments or {}))
        return network


NETWORKS: Mapping[str, PublishedNetwork] = {
    "alexnet": PublishedNetwork.of_torchvision("alexnet", "IMAGENET1K_V1", {"2": "features.4", "5": "features.11"}),
    "inception_v3": PublishedNetwork.of_torchvision(
        "inception_v3",
        "IMAGENET1K_V1",
        {"avgpool": "avgpool"},
        transform_input=True,  # what torchvision sets whenever it loads these weights itself
        init_weights=False,
    ),
    "clip_vit_l14": PublishedNetwork(
        model="clip_vision",
        file=CLIP_VIT_L14,
        layers={"final": "image_embeds"},
        channels=CLIP,
        arguments={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
            "projection_dim": 768,
        },
    ),
    "efficientnet_b1": PublishedNetwork.of_torchvision("efficientnet_b1", "IMAGENET1K_V1", {"avgpool": "avgpool"}),
    "swav": PublishedNetwork(
        model="resnet50",
        file=WeightFile(
            "swav_800ep_pretrain.pth.tar",
            "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
            113.0,
            "CC-BY-NC-4.0",
            "score of SwAV",
        ),
        layers={"avgpool": "avgpool"},
    ),
}
"""Networks of the paper's table by our names."""


def torchvision_folder() -> Path:
    """Where torchvision keeps what it downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def load_published_networks(
    names: Collection[str], folder: Path, device: str = "cpu", batch_size: int = 16
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Load those of the named networks whose weights are on this machine.

    Args:
        names: keys of `NETWORKS`.
        folder: where weights are looked for first: `weights_folder()`.
        device: where the networks run.
        batch_size: pictures that go through a network together.

    Returns:
        The networks that could be loaded, and for each other one a sentence that says how to get its weights.

    Raises:
        DependencyError: if a file is there but truncated, or not what its name says.
    """
    loaded: dict[str, FeatureNetwork] = {}
    missing: dict[str, str] = {}
    for name in names:
        facts = NETWORKS[name]
        path = facts.file.find(folder, torchvision_folder())
        if path is None:
            missing[name] = facts.file.remedy(folder)
        else:
            network = facts.build()
            fill(network, facts, path)
            loaded[name] = feature_network(network, facts, device, batch_size)
    return loaded, missing


def fill(network: nn.Module, facts: PublishedNetwork, path: Path) -> None:
    """Fill a network from its file of weights, strictly, but for heads that no feature comes from.

    Raises:
        DependencyError: if the file is truncated or holds other tensors; the message names it.
    """
    check_file(path, facts.file)
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, UnpicklingError) as error:
        raise DependencyError(
            f"{path} cannot be read, so truncated or no file of weights: fetch {facts.file.url}"
        ) from error
    tensors = {name.removeprefix("module."): tensor for name, tensor in stored.items()}
    wanted = network.state_dict()
    heads = {name for name in wanted if name.startswith("fc.")} if facts.weights is None else set()
    lacking = sorted(name for name in wanted.keys() - heads if _shape(tensors, name) != _shape(wanted, name))
    if lacking:
        raise DependencyError(
            f"{path} lacks {len(lacking)} of {len(wanted)} tensors of {facts.model}, first {lacking[0]}: fetch {facts.file.url}"
        )
    network.load_state_dict({name: tensors[name].float() for name in wanted.keys() - heads}, strict=False)


def feature_network(
    network: nn.Module, facts: PublishedNetwork, device: str = "cpu", batch_size: int = 16
) -> FeatureNetwork:
    """Make a feature network of a torch module: pictures resized, standardised, and the layers of its facts taken out.

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


def _shape(tensors: Mapping[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
