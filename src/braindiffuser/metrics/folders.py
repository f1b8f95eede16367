"""Score a folder of reconstructions against a folder of stimuli, with intervals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
from braindiffuser.picture_files import read_picture

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".apng",
    ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".exr", ".hdr",
}  # fmt: skip
"""Of pictures. Those of formats that are not read take part too, so that they are refused by name and not overlooked."""
MOST_COMPARED, CLEARLY = 100, 3.0
"""Pairs of pictures that are compared, where names may be shifted, and standard errors that tell their correlations apart."""
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
    remarks = [*_remarks(opened), *_shift(seen, made)]
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
    """Tell of folders that hold one picture many times, and of reconstructions that are equal to what was seen.

    Args:
        opened: the folder of what was seen and its pictures, then that of reconstructions, unless they are one folder.

    Raises:
        RunError: if most pictures of a folder are of one flat colour each.
    """
    seen, made = next(iter(opened)), list(opened)[-1]
    n_flat, are_one, are_equal = dict.fromkeys(opened, 0), dict.fromkeys(opened, True), True
    first: dict[Path, Pictures] = {}
    for rows in batch_slices(len(opened[made])):
        blocks = {folder: pictures[rows] for folder, pictures in opened.items()}
        for folder, block in blocks.items():
            n_flat[folder] += int((block == block[..., :1, :1]).all(axis=(1, 2, 3)).sum())
            are_one[folder] &= not (block != first.setdefault(folder, block[:1])).any()
        are_equal = are_equal and np.array_equal(blocks[seen], blocks[made])
    for folder, n in n_flat.items():
        if 2 * n > len(opened[folder]):
            raise RunError(
                f"{n} of {len(opened[folder])} pictures of {folder} are of one flat colour each, so there is nothing to score: "
                "make them again"
            )
    said = [f"all pictures of {folder} are the same picture" for folder, same in are_one.items() if same]
    if seen.samefile(made):
        said.append(f"{seen} and {made} are the same folder")
    elif are_equal:
        said.append(f"all pictures of {made} are equal to those of {seen}: is one a copy of the other?")
    return said


def _shift(seen: Path, made: Path) -> list[str]:
    """Tell whether a number in the names counts from elsewhere in one folder, as from 1 in place of 0.

    Where names that differ by a constant pair up at least as many pictures as equal names, the pictures decide.

    Raises:
        RunError: if pictures whose names differ so resemble each other more: clearly, or at all where they pair up whole folders.
    """
    files, said = [_pictures_of(folder) for folder in (seen, made)], []
    named = {files[0][name]: files[1][name] for name in files[0].keys() & files[1].keys()}
    for offset, shifted in _shifted_pairs(*files):
        if len(shifted) < max(2, len(named)) or len(named) == max(map(len, files)):
            continue
        chosen = [path for path in shifted if path in named][:MOST_COMPARED]
        alike, as_named = (np.array([_likeness(path, pairs[path]) for path in chosen]) for pairs in (shifted, named))
        more = alike - as_named
        is_clear = len(more) > 1 and abs(more.mean()) > CLEARLY * more.std(ddof=1) / np.sqrt(len(more))
        if len(more) and more.mean() > 0 and (is_clear or len(shifted) == max(map(len, files))):
            first = next(iter(shifted))
            raise RunError(
                f"names of {made} count a number {offset:+d} from those of {seen} ({first.name}, {shifted[first].name}): "
                f"pictures paired so correlate by {alike.mean():.2f}, those of equal names by {as_named.mean():.2f}, so give "
                "each pair one name"
            )
        if len(shifted) > len(named) and not is_clear:
            said.append(
                f"names that differ by {offset:+d} would pair {len(shifted)} pictures of {made}, equal names pair {len(named)}: "
                "is one folder counted from another number?"
            )
    return said


def _shifted_pairs(seen: Mapping[str, Path], made: Mapping[str, Path]) -> Iterator[tuple[int, dict[Path, Path]]]:
    """Yield offsets of one number in the names, and the pairs whose names differ by it alone."""
    pieces = {name: re.split(r"(\d+)", name) for name in seen}
    fields = min(
        (len(piece) // 2 for piece in (*pieces.values(), *(re.split(r"(\d+)", name) for name in made))), default=0
    )
    for field in range(fields):
        numbers = [sorted(int(re.findall(r"\d+", name)[field]) for name in names) for names in (seen, made)]
        offsets = {1, -1, numbers[1][0] - numbers[0][0], numbers[1][-1] - numbers[0][-1]} - {0}
        for offset in sorted(offsets, key=abs):
            moved = {name: _moved(piece, 2 * field + 1, offset) for name, piece in pieces.items()}
            yield offset, {seen[name]: made[other] for name, other in sorted(moved.items()) if other in made}


def _moved(pieces: Sequence[str], place: int, offset: int) -> str:
    return "".join([*pieces[:place], str(int(pieces[place]) + offset), *pieces[place + 1 :]])


def _likeness(one: Path, other: Path) -> float:
    """Correlation of two small pictures; 0 where one is flat."""
    small = [
        np.asarray(Image.fromarray(read_picture(path)).resize((16, 16)), np.float64).ravel() for path in (one, other)
    ]
    a, b = (values - values.mean() for values in small)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


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
