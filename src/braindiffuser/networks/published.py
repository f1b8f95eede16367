"""The published networks of the preset `brain-diffuser`: downloaded once and converted once to checkpoint folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from braindiffuser.errors import DependencyError
from braindiffuser.networks.catalogue import ALL, CLIP_FILE, TOKENIZER_FILE, VDVAE_FILE, VERSATILE_FILE, PublishedFile
from braindiffuser.networks.downloads import check_file, download, find, working_in
from braindiffuser.progress import Progress, silent

PRESET, HUB = "brain-diffuser", "versatile-diffusion"


@dataclass(frozen=True)
class Conversion:
    """How published files become checkpoint folders of the preset.

    Attributes:
        name: of its networks, in print.
        sources: source file → its catalogue entry; None for files of the hub's repository.
        folders: names of the checkpoint folders that it becomes.
        make: make(out) writes the checkpoint folders into `out`.
    """

    name: str
    sources: Mapping[Path, PublishedFile | None]
    folders: tuple[str, ...]
    make: Callable[[Path], None]


def needed(folder: Path) -> tuple[PublishedFile, ...]:
    """List the published files that a folder of downloads needs.

    Versatile Diffusion's `.pth` is not among them if the hub's copy is there.
    """
    return tuple(file for file in ALL if file != VERSATILE_FILE or not _has_hub(folder))


def _has_hub(folder: Path) -> bool:
    return any((folder / HUB).glob("*/diffusion_pytorch_model.*"))


def conversions(folder: Path) -> list[Conversion]:
    """List what is made from the files in a folder: `folder/brain-diffuser/{vdvae,clip,unet and autoencoder}`.

    A local copy of the hub's shi-labs/versatile-diffusion, as `folder/versatile-diffusion`, serves instead of the `.pth`.
    """
    from braindiffuser.networks import convert

    vdvae, original, clip, tokenizer = (
        folder / file.name for file in (VDVAE_FILE, VERSATILE_FILE, CLIP_FILE, TOKENIZER_FILE)
    )
    hub = folder / HUB if _has_hub(folder) else None
    return [
        Conversion("vdvae", {vdvae: VDVAE_FILE}, ("vdvae",), lambda out: convert.convert_vdvae(vdvae, out / "vdvae")),
        Conversion(
            "unet and autoencoder",
            dict.fromkeys(convert.hub_files(hub)) if hub else {original: VERSATILE_FILE},
            ("unet", "autoencoder"),
            lambda out: convert.convert_versatile(hub or original, out),
        ),
        Conversion(
            "clip",
            {clip: CLIP_FILE, tokenizer: TOKENIZER_FILE},
            ("clip",),
            lambda out: convert.convert_clip(clip, tokenizer, out / "clip"),
        ),
    ]


def download_all(folder: Path, progress: Progress = silent) -> list[str]:
    """Download every file that is not here yet, those for scores too, and check those that are.

    Returns:
        A sentence for each file that did not come or is damaged; says what to do.
    """
    faults = []
    for file in needed(folder):
        try:
            here = find(file, folder)
            if here is None:
                download(file, folder, progress)
            else:
                check_file(here, file)
        except (DependencyError, OSError) as error:
            faults.append(str(error))
    return list(dict.fromkeys(faults))


def convert_all(folder: Path, log: Callable[[str], None]) -> list[str]:
    """Convert what is there and was not converted before, after checking its size and hash.

    Args:
        folder: holds the files; `folder/brain-diffuser` gets the checkpoint folders.
        log: called with one line per conversion.

    Returns:
        A sentence for each conversion that failed, because a file is damaged or not what its name says; names the file.
    """
    faults = []
    for conversion in conversions(folder):
        try:
            if _is_done(conversion, folder):
                log(f"{conversion.name}: converted before")
                continue
            with working_in(folder, log):
                log(f"{conversion.name}: {_convert(conversion, folder)}")
        except DependencyError as error:
            faults.append(str(error))
    return list(dict.fromkeys(faults))


def not_converted(folder: Path) -> list[str]:
    """Return a sentence for each conversion that is not made because files are missing; names them."""
    return [
        f"{conversion.name} is not converted, since {folder} lacks {', '.join(_missing(conversion, folder))}: run "
        "`braindiffuser checkpoints --download --convert`"
        for conversion in conversions(folder)
        if _missing(conversion, folder) and not _is_done(conversion, folder)
    ]


def _missing(conversion: Conversion, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in conversion.sources if not path.is_file()]


def _is_done(conversion: Conversion, folder: Path) -> bool:
    from braindiffuser.networks.convert import is_converted

    return all(is_converted(folder / PRESET / name, conversion.sources) for name in conversion.folders)


def _convert(conversion: Conversion, folder: Path) -> str:
    if _is_done(conversion, folder):  # by another process, meanwhile
        return "converted before"
    missing = _missing(conversion, folder)
    if missing:
        return f"not converted, missing {', '.join(missing)}"
    from braindiffuser.networks.tensor_files import check_sums

    for path, file in conversion.sources.items():
        if file is not None:
            check_file(path, file)
    try:
        for path in conversion.sources:
            check_sums(path)
        conversion.make(folder / PRESET)
    except ValueError as error:
        raise DependencyError(f"{error}; delete that file and download it again") from error
    return "converted"
