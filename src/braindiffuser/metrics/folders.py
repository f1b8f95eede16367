"""Score a folder of reconstructions against a folder of stimuli, with intervals."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.batches import needing_memory
from braindiffuser.errors import RunError
from braindiffuser.files import output
from braindiffuser.images import PictureReader
from braindiffuser.metrics._pixels import SMALLEST_SIDE
from braindiffuser.metrics.baselines import derangement
from braindiffuser.metrics.feature_networks import load_networks
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer, extract_features, take
from braindiffuser.metrics.summary import ScoreSets, summarise
from braindiffuser.networks.checkpoint_folders import downloads_folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


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
            stimuli.
        profile: name of a list of metrics, such as "demo", "pixels" or "brain-diffuser-2023".
        checkpoints: folder where files of published networks are looked for; None: where downloads are kept.
        device: where networks run.
        n_resamples: bootstrap resamples of each interval.
        seed: of the resamples and of the shuffled baseline.

    Returns:
        The content of a `scores.json`, with one baseline (`shuffled_pictures`: the same reconstructions, each moved to
        another stimulus), and further `names` (of the pairs, in order), `per_image` (key → scores), `missing` (network
        → how to get its file; the metrics that need it are left out) and `unmatched` (folder → names).

    Raises:
        RunError: if the profile is unknown, fewer than two names are in both folders, or a folder's sizes differ or are
            too small.
        DependencyError: if the file of a network is there but damaged.
    """
    whole, seen, made = Profile.load(profile), Path(seen), Path(made)
    pairs, unmatched = match_names(seen, made)
    files = {folder: [names[folder] for names in pairs.values()] for folder in (seen, made)}
    sizes = {}
    for folder in files:
        with _naming(folder):
            sizes[folder] = images.common_size(files[folder])
    height, width = sizes[seen]
    if min(height, width) < SMALLEST_SIDE:
        raise RunError(f"pictures of {seen} are {height} × {width}: SSIM needs {SMALLEST_SIDE} pixels a side or more")
    if height != width and sizes[made] != (height, width):
        raise RunError(
            f"pictures of {seen} are {height} × {width}: make them square, or resize those of {made} to that size"
        )
    with needing_memory(device, lambda: "evaluate"):
        networks, missing = load_networks(whole, Path(checkpoints or downloads_folder()), device)
        kept = whole.without(missing)
        rng = np.random.default_rng(seed)
        scorer, pictures = Scorer(_open(seen, files[seen]), kept, networks), _open(made, files[made])
        features, order = extract_features(pictures, kept, networks), derangement(len(pairs), rng)
        final = scorer.score(pictures, features)
        shuffled = scorer.score(pictures.take(order), take(features, order))
    sets = ScoreSets(final, baselines={"shuffled_pictures": shuffled})
    return {
        **summarise(kept, sets, rng, n_resamples),
        "missing": missing,
        "unmatched": unmatched,
        "names": list(pairs),
        "per_image": {key: scores.tolist() for key, scores in final.items()},
    }


def check_scores_file(path: Path) -> None:
    """Check that `path` may be overwritten: no file, an empty one, or earlier scores of two folders.

    Raises:
        RunError: if it is a folder, a file that something else wrote (such as one of the pictures), or named like a picture.
    """
    if path.is_dir():
        raise RunError(f"--json {path} is a folder: name a file")
    with suppress(OSError):  # a stream may be closed
        if path.is_file() and any(os.path.samestat(path.stat(), os.fstat(stream)) for stream in (1, 2)):
            raise RunError(f"--json {path} is the file that this command prints to: name another file")
    if path.is_file() and path.stat().st_size:
        try:
            earlier = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            earlier = None
        if not (isinstance(earlier, dict) and earlier.keys() >= {"unmatched", "names", "per_image"}):
            raise RunError(f"--json {path} is a file already, and holds no scores of two folders: name another file")
    if path.resolve().suffix.lower() in SUFFIXES or path.suffix.lower() in SUFFIXES:
        raise RunError(f"--json {path} would be taken for a picture: name a file that ends in .json")


def write_scores(scores: Mapping[str, Any], path: Path) -> None:
    """Write what `evaluate_folders` returns as JSON."""
    with output(path) as place:
        place.write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def match_names(seen: Path, made: Path) -> tuple[dict[str, dict[Path, Path]], dict[str, list[str]]]:
    """Pair the pictures of two folders by their names without suffix.

    Returns:
        Name → {folder: file}, in alphabetical order, and for each folder the names that the other one lacks.

    Raises:
        RunError: if a folder does not exist, holds two pictures of one name, or they share fewer than two names.
    """
    files = {folder: _pictures_of(folder) for folder in (seen, made)}
    shared = sorted(files[seen].keys() & files[made].keys())
    if len(shared) < 2:
        counts = " and ".join(f"{folder} holds {len(found)} pictures" for folder, found in files.items())
        raise RunError(
            f"{counts}, of which {len(shared)} share a name; scores need two pairs or more: give each pair the same file name"
        )
    unmatched = {str(folder): sorted(found.keys() - set(shared)) for folder, found in files.items()}
    return {name: {folder: files[folder][name] for folder in files} for name in shared}, unmatched


def _pictures_of(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder of pictures")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in found:
                raise RunError(f"{folder} holds {found[path.stem].name} and {path.name}: keep one of them")
            found[path.stem] = path
    return found


def _open(folder: Path, paths: list[Path]) -> PictureReader:
    def read(numbers: Int[np.ndarray, " n"]) -> Pictures:
        with _naming(folder):
            return images.load_png([paths[number] for number in numbers])

    return PictureReader(np.arange(len(paths)), read)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise RunError(f"the pictures of {folder} cannot be scored together: {error}") from error
