"""Score a folder of reconstructions against a folder of stimuli, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.arrays import Pictures
from braindiffuser.batches import needing_memory
from braindiffuser.errors import RunError
from braindiffuser.images import SMALLEST_SIDE, PictureSource, are_flat, batch_slices, open_pictures
from braindiffuser.metrics.baselines import derangement
from braindiffuser.metrics.feature_networks import load_networks
from braindiffuser.metrics.paired_names import find_shift, list_pictures, match_names
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer, extract_features, take
from braindiffuser.metrics.summary import ScoreSets, summarise
from braindiffuser.networks.checkpoint_folders import downloads_folder

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
    named = list_pictures(seen), list_pictures(made)
    pairs, unmatched = match_names(*named)
    opened = {folder: open_pictures([files[folder] for files in pairs.values()], ROOM // 2) for folder in (seen, made)}
    sizes = {folder: pictures[:1].shape[-2:] for folder, pictures in opened.items()}
    _check_sizes(sizes, seen, whole)
    remarks = [*_remarks(opened), *find_shift(*named)]
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
            n_flat[folder] += int(are_flat(block).sum())
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
