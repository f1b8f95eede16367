"""The networks that a profile scores with; and any two folders of pictures, scored with intervals, without run or brain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.evaluation.metrics import PROFILES, Profile, Scorer, extract_features
from braindiffuser.evaluation.networks import FeatureNetwork, load_efficientnet_lite0
from braindiffuser.evaluation.pixels import SMALLEST_SIDE
from braindiffuser.evaluation.published_networks import NETWORKS, load_published_networks
from braindiffuser.evaluation.trust import ScoreSets, summarise
from braindiffuser.features.clip import embed_pictures
from braindiffuser.models.weights import BUNDLED, Clip, load_clip

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def evaluate_folders(
    seen: Path,
    made: Path,
    profile: str,
    weights: Path,
    device: str = "cpu",
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the pictures of one folder as reconstructions of those of the same name in another.

    Args:
        seen: folder of what was shown; pictures of one size.
        made: folder of reconstructions, of one size; where that is another, pixels are compared at the size of those
            shown, which must then be square.
        profile: "demo" or "brain-diffuser-2023".
        weights: folder where networks' weights are looked for.
        device: where networks run.
        n_resamples: bootstrap resamples of each interval.
        seed: of the resamples and of the shuffled baseline.

    Returns:
        The content of a `scores.json`, with one baseline (`shuffled_pictures`: the same reconstructions, each moved to
        another stimulus), and further `names` (of the pairs, in order), `per_image` (key → scores), `missing` (network
        → how to get its weights; the metrics that need it are left out) and `unmatched` (folder → names).

    Raises:
        RunError: if the profile is unknown, fewer than two names are in both folders, or a folder's sizes differ or are
            too small.
        DependencyError: if a file of weights is there but damaged.
    """
    if profile not in PROFILES:
        raise RunError(f"there is no profile {profile}, choose one of {', '.join(PROFILES)}")
    pairs, unmatched = match_names(seen, made)
    pictures = {folder: _read(folder, [names[folder] for names in pairs.values()]) for folder in (seen, made)}
    height, width = pictures[seen].shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        raise RunError(f"pictures of {seen} are {height} × {width}: SSIM needs {SMALLEST_SIDE} pixels a side or more")
    if height != width and pictures[made].shape[-2:] != (height, width):
        raise RunError(f"pictures of {seen} are {height} × {width}: make them square, or those of {made} as large")
    networks, missing = scoring_networks(PROFILES[profile], None, weights, device)
    kept = PROFILES[profile].without(missing)
    rng = np.random.default_rng(seed)
    scorer = Scorer(pictures[seen], kept, networks)
    features = extract_features(pictures[made], kept, networks)
    order = _derangement(len(pairs), rng)
    moved = {name: {layer: rows[order] for layer, rows in layers.items()} for name, layers in features.items()}
    final = scorer.score(pictures[made], features)
    sets = ScoreSets(final, baselines={"shuffled_pictures": scorer.score(pictures[made][order], moved)})
    return {
        **summarise(kept, sets, rng, n_resamples),
        "missing": missing,
        "unmatched": unmatched,
        "names": list(pairs),
        "per_image": {key: scores.tolist() for key, scores in final.items()},
    }


def scoring_networks(
    profile: Profile, clip: Clip | None, weights: Path, device: str
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Load the networks that a profile scores with.

    Args:
        profile: which metrics.
        clip: the model that `clip_demo` stands for; None: the bundled one.
        weights: folder where weights of published networks are looked for.
        device: where the networks run.

    Returns:
        Those that could be loaded, and for each other one how to get its weights.
    """
    names = set(profile.layers)
    networks, missing = load_published_networks(sorted(names & NETWORKS.keys()), weights, device)
    if "efficientnet_lite0" in names:
        networks["efficientnet_lite0"] = load_efficientnet_lite0(device)
    if "clip_demo" in names:
        small = clip or load_clip(BUNDLED / "demo" / "clip")
        small.model.to(device)
        networks["clip_demo"] = lambda pictures: {"embedding": embed_pictures(small, pictures)}
    return networks, missing


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
        raise RunError(f"{counts}, of which {len(shared)} share a name; scores need two pairs or more: name them alike")
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


def _read(folder: Path, paths: list[Path]) -> Pictures:
    try:
        return images.load_png(paths)
    except (OSError, ValueError) as error:
        raise RunError(f"the pictures of {folder} cannot be scored together: {error}") from error


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an order in which nothing stays in its place: a cycle through a random order."""
    around = rng.permutation(n)
    order = np.empty(n, np.int64)
    order[around] = np.roll(around, 1)
    return order
