"""A run's test pictures, or any two folders of pictures, scored with intervals; and the networks that a profile scores with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.evaluation.metrics import PROFILES, NetworkFeatures, Profile, Scorer, arrange, extract_features
from braindiffuser.evaluation.networks import FeatureNetwork, load_efficientnet_lite0
from braindiffuser.evaluation.pixels import SMALLEST_SIDE
from braindiffuser.evaluation.published_networks import NETWORKS, load_published_networks
from braindiffuser.evaluation.trust import PerPicture, ScoreSets, derangement, draw_training, mean_image, summarise
from braindiffuser.features.clip import embed_pictures
from braindiffuser.images import PictureReader, PictureSource
from braindiffuser.models.weights import BUNDLED, Clip, load_clip
from braindiffuser.run import Run
from braindiffuser.weight_files import weights_folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def evaluate_run(run: Run, clip: Callable[[], Clip]) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Score a run's reconstructions beside the ceiling, three baselines and two ablations.

    Stimuli of held-out photographs are scored apart, among themselves. Pictures are read a batch at a time; what stays in
    memory is features of the stimuli, of the reconstructions, and of one more kind.

    Args:
        run: with all its pictures made.
        clip: loads the run's own, which `clip_demo` stands for.

    Returns:
        By test set what its scores file holds, and all scores picture by picture, as in `per_image.csv`.

    Raises:
        RunError: if a picture is missing, or a test set has one stimulus.
        DependencyError: if a file of weights is there but damaged.
    """
    config, ids = run.experiment.evaluation, run.stimulus_ids("test")
    networks, missing = scoring_networks(PROFILES[config.profile], clip, weights_folder(), run.experiment.device)
    profile = PROFILES[config.profile].without(missing)
    summaries, tables = {}, []
    for name, rows in run.test_sets.items():
        n = rows.stop - rows.start
        if n < 2:
            raise RunError(f"there is one {name} stimulus: two-way identification needs two or more")
        rng = np.random.default_rng([run.experiment.seed, n])
        scorer = Scorer(PictureReader(ids[rows], run.pictures), profile, networks)
        scores = _score_sets(run, scorer, rows, rng)
        summaries[name] = summarise(profile, scores, rng, config.n_resamples) | {"missing": missing}
        facts = {"number": np.arange(rows.start, rows.stop), "stimulus_id": ids[rows], "set": name}
        tables.append(pd.DataFrame(facts | dict(scores.final)))
    return summaries, pd.concat(tables)


def _score_sets(run: Run, scorer: Scorer, rows: slice, rng: np.random.Generator) -> ScoreSets:
    """Score all kinds of pictures of one test set, one kind after the other.

    Under every calibration but `transductive` a reconstruction is made from its own responses alone, so shuffling responses
    among the stimuli shuffles the reconstructions: that baseline is the reconstructions, each moved to another stimulus.
    """
    n, scores = len(scorer.seen), dict[str, PerPicture]()
    kinds = ("final", "from_true_features", "low_level", "without_low_level")
    made = {kind: run.store.open_pictures(kind, rows.stop).take(rows) for kind in kinds}
    train = PictureReader(run.stimulus_ids("train"), run.pictures)
    drawn, order = draw_training(len(train), n, rng), derangement(n, rng)

    def add(name: str, pictures: PictureSource, features: NetworkFeatures | None = None) -> None:
        run.progress(f"scoring {n} pictures", len(scores), len(kinds) + 3)
        scores[name] = scorer.score(pictures, features)

    features = extract_features(made["final"], scorer.profile, scorer.networks)
    add("final", made["final"], features)
    add("shuffled_responses", made["final"].take(order), arrange(features, order))
    mean, always = mean_image(train), np.zeros(n, np.int64)
    features = extract_features(mean, scorer.profile, scorer.networks)
    add("mean_image", PictureReader(always, lambda numbers: mean[numbers]), arrange(features, always))
    add("random_train_image", train.take(drawn))
    for kind in kinds[1:]:
        add(kind, made[kind])
    run.progress(f"scoring {n} pictures", len(scores), len(scores))
    return ScoreSets(
        final=scores["final"],
        ceiling=scores["from_true_features"],
        baselines={name: scores[name] for name in ("mean_image", "random_train_image", "shuffled_responses")},
        ablations={"low_level_only": scores["low_level"], "without_low_level": scores["without_low_level"]},
    )


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
    files = {folder: [names[folder] for names in pairs.values()] for folder in (seen, made)}
    sizes = {}
    for folder in files:
        with _naming(folder):
            sizes[folder] = images.common_size(files[folder])
    height, width = sizes[seen]
    if min(height, width) < SMALLEST_SIDE:
        raise RunError(f"pictures of {seen} are {height} × {width}: SSIM needs {SMALLEST_SIDE} pixels a side or more")
    if height != width and sizes[made] != (height, width):
        raise RunError(f"pictures of {seen} are {height} × {width}: make them square, or those of {made} as large")
    clip = partial(load_clip, BUNDLED / "demo" / "clip")
    networks, missing = scoring_networks(PROFILES[profile], clip, weights, device)
    kept = PROFILES[profile].without(missing)
    rng = np.random.default_rng(seed)
    scorer, pictures = Scorer(_open(seen, files[seen]), kept, networks), _open(made, files[made])
    features, order = extract_features(pictures, kept, networks), derangement(len(pairs), rng)
    final = scorer.score(pictures, features)
    shuffled = scorer.score(pictures.take(order), arrange(features, order))
    sets = ScoreSets(final, baselines={"shuffled_pictures": shuffled})
    return {
        **summarise(kept, sets, rng, n_resamples),
        "missing": missing,
        "unmatched": unmatched,
        "names": list(pairs),
        "per_image": {key: scores.tolist() for key, scores in final.items()},
    }


def scoring_networks(
    profile: Profile, clip: Callable[[], Clip], weights: Path, device: str
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Load the networks that a profile scores with.

    Args:
        profile: which metrics.
        clip: loads the model that `clip_demo` stands for; not called for a profile without it.
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
        small = clip()
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
