"""What the preset `brain-diffuser` needs of the world: published weights, fetched once and converted once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from braindiffuser.errors import DependencyError
from braindiffuser.metrics.published_networks import CLIP_COMMIT, CLIP_VIT_L14, NETWORKS, torchvision_folder
from braindiffuser.networks import convert
from braindiffuser.networks.downloads import WeightFile, check_file, download
from braindiffuser.progress import Progress

PRESET = "brain-diffuser"
VDVAE = WeightFile(
    "imagenet64-iter-1600000-model-ema.th",
    "https://openaipublic.blob.core.windows.net/very-deep-vaes-assets/vdvae-assets-2/imagenet64-iter-1600000-model-ema.th",
    500.0,
    "MIT",
    "low level",
)
VERSATILE = WeightFile(
    "vd-four-flow-v1-0-fp16-deprecated.pth",
    "https://huggingface.co/shi-labs/versatile-diffusion/resolve/main/pretrained_pth/vd-four-flow-v1-0-fp16-deprecated.pth",
    6660.0,
    "MIT",
    "diffusion, autoencoder",
)
TOKENIZER = WeightFile(
    "clip-vit-large-patch14-tokenizer.json",
    f"{CLIP_COMMIT}/tokenizer.json",
    2.2,
    "MIT",
    "captions",
)
GENERATORS = (VDVAE, VERSATILE, CLIP_VIT_L14, TOKENIZER)
"""Files that the pipeline itself needs."""
SCORING = tuple(network.file for network in NETWORKS.values() if network.file not in GENERATORS)
"""Files that only scores need; without one its metrics are left out."""


@dataclass(frozen=True)
class Part:
    """One checkpoint folder of the preset.

    Attributes:
        name: of its networks, in print.
        sources: files that it is made from.
        folders: names of the checkpoint folders that it becomes.
        make: converts the files into a folder of such folders; gives False if that was done before.
    """

    name: str
    sources: tuple[WeightFile, ...]
    folders: tuple[str, ...]
    make: Callable[[Path], bool]


def parts(folder: Path) -> list[Part]:
    """List what is made from the files in a folder: `folder/brain-diffuser/{vdvae,clip,unet and autoencoder}`.

    A local copy of the hub's shi-labs/versatile-diffusion, as `folder/versatile-diffusion`, serves instead of the `.pth`.
    """
    hub = folder / "versatile-diffusion"
    original, clip, tokenizer = (folder / file.name for file in (VERSATILE, CLIP_VIT_L14, TOKENIZER))
    generators = Part(
        "unet and autoencoder",
        (VERSATILE,),
        ("unet", "autoencoder"),
        lambda out: convert.convert_versatile(original, out),
    )
    if hub.is_dir():
        generators = replace(generators, sources=(), make=lambda out: convert.convert_versatile_hub(hub, out))
    return [
        Part("vdvae", (VDVAE,), ("vdvae",), lambda out: convert.convert_vdvae(folder / VDVAE.name, out / "vdvae")),
        generators,
        Part(
            "clip",
            (CLIP_VIT_L14, TOKENIZER),
            ("clip",),
            lambda out: convert.convert_clip(clip, tokenizer, out / "clip"),
        ),
    ]


def fetch(folder: Path, progress: Progress | None = None) -> None:
    """Download every file that is not here yet, those for scores too.

    Raises:
        DependencyError: if one cannot be fetched; says how to get it by hand.
    """
    for file in (*GENERATORS, *SCORING):
        if file.find(folder, torchvision_folder()) is None:
            download(file, folder, progress)


def convert_all(folder: Path, told: Callable[[str], None]) -> None:
    """Convert what is there and was not converted before, once its hash is found right.

    Args:
        folder: holds the files; `folder/brain-diffuser` gets the checkpoint folders.
        told: hears of each part what was done.

    Raises:
        DependencyError: if a file is truncated, changed, or not what its name says.
    """
    for part in parts(folder):
        lacking = [file for file in part.sources if file.find(folder) is None]
        if lacking:
            told(f"{part.name}: waits for {', '.join(file.name for file in lacking)}")
            continue
        paths = {folder / file.name: file for file in part.sources}
        if not all(convert.is_converted(folder / PRESET / name, paths) for name in part.folders):
            for path, file in paths.items():
                check_file(path, file)
        try:
            made = part.make(folder / PRESET)
        except (ValueError, OSError) as error:
            raise DependencyError(str(error)) from error
        told(f"{part.name}: {'converted' if made else 'converted before'}")
