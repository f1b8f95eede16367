"""The published networks of the preset `brain-diffuser`: downloaded once and converted once to checkpoint folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from braindiffuser.errors import DependencyError
from braindiffuser.networks import convert
from braindiffuser.networks.catalogue import ALL, CLIP_VIT_L14, TOKENIZER, VDVAE, VERSATILE, PublishedFile
from braindiffuser.networks.downloads import check_file, download, find
from braindiffuser.progress import Progress, silent

PRESET = "brain-diffuser"


@dataclass(frozen=True)
class Conversion:
    """How published files become checkpoint folders of the preset.

    Attributes:
        name: of its networks, in print.
        sources: files that it is made from.
        folders: names of the checkpoint folders that it becomes.
        make: make(out) writes the folders into `out`; False if they are there already.
    """

    name: str
    sources: tuple[PublishedFile, ...]
    folders: tuple[str, ...]
    make: Callable[[Path], bool]


def conversions(folder: Path) -> list[Conversion]:
    """List what is made from the files in a folder: `folder/brain-diffuser/{vdvae,clip,unet and autoencoder}`.

    A local copy of the hub's shi-labs/versatile-diffusion, as `folder/versatile-diffusion`, serves instead of the `.pth`.
    """
    hub = folder / "versatile-diffusion"
    vdvae, original, clip, tokenizer = (folder / file.name for file in (VDVAE, VERSATILE, CLIP_VIT_L14, TOKENIZER))

    def versatile(out: Path) -> bool:
        return convert.convert_versatile_hub(hub, out) if hub.is_dir() else convert.convert_versatile(original, out)

    return [
        Conversion("vdvae", (VDVAE,), ("vdvae",), lambda out: convert.convert_vdvae(vdvae, out / "vdvae")),
        Conversion("unet and autoencoder", () if hub.is_dir() else (VERSATILE,), ("unet", "autoencoder"), versatile),
        Conversion(
            "clip",
            (CLIP_VIT_L14, TOKENIZER),
            ("clip",),
            lambda out: convert.convert_clip(clip, tokenizer, out / "clip"),
        ),
    ]


def download_all(folder: Path, progress: Progress = silent) -> None:
    """Download every file that is not here yet, those for scores too.

    Raises:
        DependencyError: if one cannot be downloaded; says how to get it by hand.
    """
    for file in ALL:
        if find(file, folder) is None:
            download(file, folder, progress)


def convert_all(folder: Path, log: Callable[[str], None]) -> None:
    """Verify and convert every downloaded, unconverted file.

    Args:
        folder: holds the files; `folder/brain-diffuser` gets the checkpoint folders.
        log: called with one line per conversion.

    Raises:
        DependencyError: if a file is truncated, changed, or not what its name says.
    """
    for conversion in conversions(folder):
        lacking = [file.name for file in conversion.sources if not (folder / file.name).is_file()]
        if lacking:
            log(f"{conversion.name}: not converted, missing {', '.join(lacking)}")
            continue
        paths = {folder / file.name: file for file in conversion.sources}
        if not all(convert.is_converted(folder / PRESET / name, paths) for name in conversion.folders):
            for path, file in paths.items():
                check_file(path, file)
        try:
            made = conversion.make(folder / PRESET)
        except (ValueError, OSError) as error:
            raise DependencyError(str(error)) from error
        log(f"{conversion.name}: {'converted' if made else 'already converted'}")
