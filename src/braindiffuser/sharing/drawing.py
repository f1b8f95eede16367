"""Draw pictures from features that a shared decoder decoded, by the code that draws a run's reconstructions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from pydantic import TypeAdapter, ValidationError

from braindiffuser.batches import Batches
from braindiffuser.errors import RunError
from braindiffuser.experiment import AnyGenerator, list_faults
from braindiffuser.files import replacing
from braindiffuser.generators.generator import Generator
from braindiffuser.images import PictureReader, load_png, save_png
from braindiffuser.machine import check_networks
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.progress import Progress, silent
from braindiffuser.sharing.facts import DecoderFacts
from braindiffuser.sharing.shared_decoder import SharedDecoder
from braindiffuser.stages.reconstruct import draw_variant, kind_name


def draw_pictures(
    decoder: SharedDecoder,
    features: Mapping[str, Float[np.ndarray, "n ..."]],
    folder: Path,
    ids: Int[np.ndarray, " n"] | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> int:
    """Draw a picture for each row of features, and write `final/NNNN.png`, with the pictures that these start from beside it.

    Args:
        decoder: whose generator draws.
        features: group → decoded features.
        folder: new.
        ids: number ≥ 0 of the stimulus of each row, which fixes the noise with the run's seed; None: the row.
        device: where networks compute.
        progress: called as progress(label, done, total).

    Returns:
        Number of pictures.

    Raises:
        RunError: the decoder has no generator, a checkpoint is missing, or the folder is there already.
    """
    check_new_folder(folder)
    check_networks(device)
    generator = generator_of(decoder.facts)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        drawn = Path(beside) / "pictures"
        n = _draw(decoder, generator, features, drawn, ids, device, progress)
        check_new_folder(folder)
        drawn.rename(folder)
    return n


def _draw(
    decoder: SharedDecoder,
    generator: Generator,
    features: Mapping[str, Float[np.ndarray, "n ..."]],
    folder: Path,
    ids: Int[np.ndarray, " n"] | None,
    device: str,
    progress: Progress,
) -> int:
    n = len(next(iter(features.values())))
    ids = np.arange(n) if ids is None else ids
    networks, rows = NetworkCache(device), np.arange(n)
    for variant in generator.chain("full"):
        start, name = generator.variants[variant].start, kind_name(variant, "predictions")
        begun = None if start is None else _reader(folder / kind_name(start, "predictions"), rows)
        batches = Batches(generator.batch_size, progress)
        drawn = draw_variant(
            generator, variant, features, decoder.null, ids, begun, networks, batches, decoder.facts.seed
        )
        for own, made in drawn:
            for number, picture in zip(range(own.start, own.stop), made, strict=True):
                with replacing(_path(folder / name, number)) as beside:
                    save_png(picture[None], beside)
            progress(f"drawing: {name}".replace("_", " "), own.stop, n)
    return n


def check_new_folder(folder: Path) -> None:
    """Raise RunError if there is anything where pictures are to be written, an empty folder or a link too."""
    if folder.exists() or folder.is_symlink() or folder.name in ("", ".."):
        raise RunError(f"{folder} is there already, or has no name of its own: name a new folder for the pictures")


def generator_of(facts: DecoderFacts) -> Generator:
    """Return the generator that a shared decoder names.

    A class of one's own is used only if its module is imported already.

    Raises:
        RunError: it names none, one that this version or machine does not have, or one that needs other features.
    """
    if facts.generator is None:
        raise RunError(
            "this decoder names no generator, so no pictures are drawn from its features: decode features alone"
        )
    try:
        generator: Generator = TypeAdapter(AnyGenerator).validate_python(facts.generator)
    except ValidationError as error:
        raise RunError(f"the generator that this decoder names cannot be used: {list_faults(error)}") from error
    places = {name: Path(getattr(generator, name)) for name in generator.folder_entries}
    outside = [name for name, place in places.items() if place.is_absolute() or ".." in place.parts]
    lacking = [group for group in generator.uses if group not in facts.groups]
    if outside or lacking:
        what = f"the folder {getattr(generator, outside[0])}" if outside else f"features of {lacking[0]}"
        raise RunError(
            f"the generator that this decoder names needs {what}, which it does not bring: decode features alone"
        )
    for name, checkpoint in generator.checkpoints.items():
        if not (checkpoint / "model.safetensors").is_file():
            raise RunError(
                f"the generator needs the checkpoint {getattr(generator, name)} ({name}), which is not at {checkpoint}: see "
                "`braindiffuser checkpoints`"
            )
    try:
        generator.check_configs()
        generator.check_rows({group: own.shape for group, own in facts.groups.items()})
    except ValueError as error:
        raise RunError(f"the generator that this decoder names cannot be used: generator.{error}") from error
    return generator


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.png"


def _reader(folder: Path, rows: Int[np.ndarray, " n"]) -> PictureReader:
    """Return the pictures of an earlier variant, as they were written."""
    return PictureReader(rows, lambda numbers: load_png([_path(folder, int(number)) for number in numbers]))
