"""Score a folder of reconstructions against a folder of stimuli, with intervals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.arrays import Pictures
from braindiffuser.batches import needing_memory
from braindiffuser.errors import RunError
from braindiffuser.images import SMALLEST_SIDE, PictureSource, batch_slices, open_pictures
from braindiffuser.metrics.baselines import derangement
from braindiffuser.metrics.feature_networks import load_networks
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer, extract_features, take
from braindiffuser.metrics.summary import ScoreSets, summarise
from braindiffuser.networks.checkpoint_folders import downloads_folder

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".apng",
    ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".exr", ".hdr",
}  # fmt: skip
"""Of pictures. Those of formats that are not read take part too, so that they are refused by name and not overlooked."""
ROOM = 2**30
"""Bytes that 8-bit pictures of both folders may take in memory; further ones are read from disk each time."""


def evaluate_folders(
    seen: str | Path,
    made: str | Path,
    profile: str,
    checkpoints: str | Path | None = None,
    device: str = "cpu",
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the pictures of one folder as reconstructions of those of the same name in another.

    Args:
        seen: folder of what was shown; pictures of one size.
        made: folder of reconstructions, all of one size; if not that of the stimuli, they are resized, which needs square
            pictures, as networks do.
        profile: name of a list of metrics, such as "demo", "pixels" or "brain-diffuser-2023".
        checkpoints: folder where files of published networks are looked for; None: where downloads are kept.
        device: where networks run.
        n_resamples: bootstrap resamples of each interval.
        seed: of the resamples and of the shuffled baseline.

    Returns:
        The content of a `scores.json`, with one baseline (`shuffled_pictures`: the same reconstructions, each moved to
        another stimulus), and further `names` (of the pairs, in order), `per_image` (key → scores), `missing` (network
        → how to get its file; the metrics that need it are left out), `remarks` (sentences on what is unusual) and
        `unmatched` (folder → names).

    Raises:
        RunError: if the profile is unknown, names do not match, a picture cannot be read, or a folder's sizes differ, are too
            small or not square.
        DependencyError: if the file of a network is there but damaged.
    """
    whole, seen, made = Profile.load(profile), Path(seen), Path(made)
    pairs, unmatched = match_names(seen, made)
    opened = {folder: open_pictures([files[folder] for files in pairs.values()], ROOM // 2) for folder in (seen, made)}
    sizes = {folder: pictures[:1].shape[-2:] for folder, pictures in opened.items()}
    _check_sizes(sizes, seen, whole)
    remarks = _remarks(opened)
    if sizes[seen] != sizes[made]:
        remarks.append(f"pictures of {made} are resized from {sizes[made][0]} to {sizes[seen][0]} pixels")
    with needing_memory(device, lambda: "evaluate"):
        networks, missing = load_networks(whole, Path(checkpoints or downloads_folder()), device)
        kept = whole.without(missing)
        rng = np.random.default_rng(seed)
        scorer, pictures = Scorer(opened[seen], kept, networks), opened[made]
        features, order = extract_features(pictures, kept, networks), derangement(len(pairs), rng)
        final = scorer.score(pictures, features)
        shuffled = scorer.score(pictures.take(order), take(features, order))
    sets = ScoreSets(final, baselines={"shuffled_pictures": shuffled})
    return {
        **summarise(kept, sets, rng, n_resamples),
        "missing": missing,
        "remarks": remarks,
        "unmatched": unmatched,
        "names": list(pairs),
        "per_image": {key: scores.tolist() for key, scores in final.items()},
    }


def _remarks(opened: Mapping[Path, PictureSource]) -> list[str]:
    """Tell of reconstructions that are all one picture, or equal to what was seen.

    Args:
        opened: the folder of what was seen and its pictures, then that of reconstructions, unless they are one folder.

    Raises:
        RunError: if all are of one flat colour.
    """
    seen, made = next(iter(opened)), list(opened)[-1]
    first: Pictures | None = None
    are_one, are_equal = True, True
    for rows in batch_slices(len(opened[made])):
        block = opened[made][rows]
        first = block[:1] if first is None else first
        are_one = are_one and not (block != first).any()
        are_equal = are_equal and np.array_equal(block, opened[seen][rows])
        if not (are_one or are_equal):
            return []
    if are_one and first is not None and (first == first[..., :1, :1]).all():
        raise RunError(f"all pictures of {made} are of one flat colour, so there is nothing to score: draw them again")
    said = [f"all pictures of {made} are the same picture"] if are_one else []
    if seen.samefile(made):
        said.append(f"{seen} and {made} are the same folder")
    elif are_equal:
        said.append(f"all pictures of {made} are equal to those of {seen}: is one a copy of the other?")
    return said


def match_names(seen: Path, made: Path) -> tuple[dict[str, dict[Path, Path]], dict[str, list[str]]]:
    """Pair the pictures of two folders by their names without suffix.

    Names may differ in case, in zeros before a number, in spaces at their ends, and in how Unicode composes accents.

    Returns:
        Name in `seen` → {folder: file}, in alphabetical order, and for each folder the names that the other one lacks.

    Raises:
        RunError: if a folder does not exist or holds two pictures of one name, or they share fewer than two names, or fewer
            than half of those in the smaller folder.
    """
    files = {folder: _pictures_of(folder) for folder in (seen, made)}
    _refuse_shifted(files)
    shared = files[seen].keys() & files[made].keys()
    alone = {
        folder: sorted(path.stem for key, path in found.items() if key not in shared) for folder, found in files.items()
    }
    if len(shared) < max(2, min(map(len, files.values())) / 2):
        counts = " and ".join(
            f"{folder} holds {len(found)} pictures{_examples(alone[folder])}" for folder, found in files.items()
        )
        raise RunError(
            f"{counts}, of which {len(shared)} share a name; scores need two pairs or more, and half of the smaller folder: "
            "give each pair the same file name"
        )
    pairs = {files[seen][key].stem: {folder: found[key] for folder, found in files.items()} for key in shared}
    return dict(sorted(pairs.items())), {str(folder): names for folder, names in alone.items()}


def _refuse_shifted(files: Mapping[Path, Mapping[str, Path]]) -> None:
    """Raise RunError if a number in the names is consecutive in both folders, but begins elsewhere."""
    if len(files) < 2:  # one folder given twice
        return
    (one, first), (other, second) = ((folder, _numbers(found)) for folder, found in files.items())
    for here, there in zip(first, second, strict=False):
        lengths = {len(numbers) for numbers in (here, there)}
        whole = lengths == {len(found) for found in files.values()} and len(lengths) == 1
        if whole and here[0] != there[0] and all(found[-1] - found[0] == len(found) - 1 for found in (here, there)):
            raise RunError(
                f"names of {one} are numbers from {here[0]}, those of {other} from {there[0]}, so pairs would be shifted: give "
                "each pair the same number"
            )


def _numbers(names: Iterable[str]) -> list[list[int]]:
    """Return the different first numbers of all names, ascending, then the second ones, as far as each name has them."""
    found = [re.findall(r"\d+", name) for name in names]
    return [sorted(set(map(int, numbers))) for numbers in zip(*found, strict=False)]


def _pictures_of(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder of pictures")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.strip().lower() in SUFFIXES and not path.name.startswith("."):
            earlier = found.setdefault(_compared(path.stem), path)
            if earlier != path:
                raise RunError(
                    f"{folder} holds {earlier.name} and {path.name}, whose names are too much alike: rename one"
                )
    if not found:
        raise RunError(
            f"{folder} itself holds no picture, which is known by its ending ({', '.join(sorted(SUFFIXES))}): name the folder "
            "that does, or save them as PNG"
        )
    return found


def _compared(name: str) -> str:
    """Return the form in which names are compared; digits after a decimal point or comma keep their zeros."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()
    return re.sub(r"(?<!\d)(?<!\d[.,])0+(?=\d)", "", folded)


def _examples(names: Sequence[str]) -> str:
    return f" (without a partner: {', '.join(map(repr, names[:3]))})" if names else ""


def _check_sizes(sizes: Mapping[Path, tuple[int, ...]], seen: Path, profile: Profile) -> None:
    height, width = sizes[seen]
    if min(height, width) < SMALLEST_SIDE:
        raise RunError(f"pictures of {seen} are {height} × {width}: SSIM needs {SMALLEST_SIDE} pixels a side or more")
    must_be_square = profile.layers or len(set(sizes.values())) > 1
    for folder, size in sizes.items():
        if must_be_square and size[0] != size[1]:
            raise RunError(
                f"pictures of {folder} are {size[0]} × {size[1]} (height, width), and would be squashed: make the pictures of "
                "both folders square; others are scored only if they have one size, and by pixels alone (--profile pixels)"
            )
