"""The published files that the preset brain-diffuser and its scores need: what each is, and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_CLIP = "https://huggingface.co/openai/clip-vit-large-patch14/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41"
_TORCHVISION = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class PublishedFile:
    """One published checkpoint, or the tokenizer that belongs to one.

    Attributes:
        name: under which it is kept.
        url: where it comes from; an address of the Hugging Face hub names the revision: a commit, but for Versatile
            Diffusion, whose commit is not known.
        megabytes: its size, in millions of bytes; rounded where its publisher does not give bytes.
        licence: of the file.
        needed_for: what it serves, in words.
        sha256: its SHA-256 or the first digits of it, as published; empty if its publisher gives none.
    """

    name: str
    url: str
    megabytes: float
    licence: str
    needed_for: str
    sha256: str = ""

    @property
    def on_hub(self) -> tuple[str, str, str] | None:
        """Repository, revision and name of a file on the Hugging Face hub; None for files elsewhere."""
        found = _HUB.fullmatch(self.url)
        return (found[1], found[2], found[3]) if found else None

    @property
    def is_torchvisions(self) -> bool:
        """Whether torchvision downloads the same file, under the same name, to a folder of its own."""
        return self.url.startswith(_TORCHVISION)


VDVAE_FILE = PublishedFile(
    "imagenet64-iter-1600000-model-ema.th",
    "https://openaipublic.blob.core.windows.net/very-deep-vaes-assets/vdvae-assets-2/imagenet64-iter-1600000-model-ema.th",
    500.0,
    "MIT",
    "low level",
)
VERSATILE_FILE = PublishedFile(  # commit, bytes and hash unknown
    "vd-four-flow-v1-0-fp16-deprecated.pth",
    "https://huggingface.co/shi-labs/versatile-diffusion/resolve/main/pretrained_pth/vd-four-flow-v1-0-fp16-deprecated.pth",
    6660.0,
    "MIT",
    "diffusion, autoencoder",
)
CLIP_FILE = PublishedFile(
    "clip-vit-large-patch14.safetensors",
    f"{_CLIP}/model.safetensors",
    1710.54058,
    "MIT",
    "embeddings; score of CLIP",
    "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
)
TOKENIZER_FILE = PublishedFile(
    "clip-vit-large-patch14-tokenizer.json",
    f"{_CLIP}/tokenizer.json",
    2.224003,
    "MIT",
    "captions",
    "a83e0809aa4c3af7208b2df632a7a69668c6d48775b3c3fe4e1b1199d1f8b8f4",
)
GENERATORS = (VDVAE_FILE, VERSATILE_FILE, CLIP_FILE, TOKENIZER_FILE)
"""Files needed to decode and draw."""

_ALEXNET = PublishedFile(
    "alexnet-owt-7be5be79.pth",
    f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
    244.4,
    "BSD-3-Clause",
    "score of alexnet",
    "7be5be79",
)
_INCEPTION = PublishedFile(
    "inception_v3_google-0cc3c7bd.pth",
    f"{_TORCHVISION}/inception_v3_google-0cc3c7bd.pth",
    109.0,
    "BSD-3-Clause",
    "score of inception_v3",
    "0cc3c7bd",
)
_SWAV = PublishedFile(
    "swav_800ep_pretrain.pth.tar",
    "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
    113.0,
    "CC-BY-NC-4.0",
    "score of SwAV",
)
_EFFICIENTNET_V2 = PublishedFile(
    "efficientnet_b1-c27df63c.pth",
    f"{_TORCHVISION}/efficientnet_b1-c27df63c.pth",
    31.6,
    "BSD-3-Clause",
    "score of efficientnet_b1 in MindEye's profiles",
    "c27df63c",
)
_LPIPS = PublishedFile(
    "lpips-v0.1-alex.pth",
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/"
    "v0.1/alex.pth",
    0.006009,
    "BSD-2-Clause",
    "score of LPIPS",
    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
)

SCORING_NETWORKS: Mapping[str, PublishedFile] = {
    "alexnet": _ALEXNET,
    "inception_v3": _INCEPTION,
    "clip_vit_l14": CLIP_FILE,
    "efficientnet_b1": PublishedFile(
        "efficientnet_b1_rwightman-bac287d4.pth",
        f"{_TORCHVISION}/efficientnet_b1_rwightman-bac287d4.pth",
        31.6,
        "BSD-3-Clause",
        "score of efficientnet_b1",
        "bac287d4",
    ),
    "swav": _SWAV,
    "alexnet_256": _ALEXNET,
    "inception_v3_256": _INCEPTION,
    "clip_vit_l14_256": CLIP_FILE,
    "efficientnet_b1_v2_256": _EFFICIENTNET_V2,
    "swav_256": _SWAV,
    "alexnet_299": _ALEXNET,
    "inception_v3_299": _INCEPTION,
    "clip_vit_l14_bicubic": CLIP_FILE,
    "lpips_alexnet": _LPIPS,
}
"""Published scoring networks by our names → their files; without one its metrics are left out.

A name is a checkpoint with its way of taking pictures (`published_networks.NETWORKS`), so several share a file.
"""

BUILT_ON: Mapping[str, str] = {"lpips_alexnet": "alexnet"}
"""Networks that need the file of another one too."""

ALL = tuple(dict.fromkeys([*GENERATORS, *SCORING_NETWORKS.values()]))


def files_of(network: str) -> tuple[PublishedFile, ...]:
    """Return all files that a published scoring network needs."""
    names = (network, *([BUILT_ON[network]] if network in BUILT_ON else []))
    return tuple(SCORING_NETWORKS[name] for name in names)
