"""Score pictures by one method or several, from folders or stacks, against what was seen: intervals, and methods compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.arrays import Pictures
from braindiffuser.batches import needing_memory
from braindiffuser.errors import RunError
from braindiffuser.folder_scores.feature_cache import FeatureCache, network_facts
from braindiffuser.images import SMALLEST_SIDE, PictureReader, are_flat, batch_slices
from braindiffuser.metrics.baselines import derangement
from braindiffuser.metrics.feature_networks import load_networks
from braindiffuser.metrics.metric import FeatureNetwork
from braindiffuser.metrics.paired_comparison import PictureScores, compare_paired, sign_flip_p
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer, extract_features, take
from braindiffuser.metrics.summary import PerPicture, ScoreSets, summarise
from braindiffuser.networks.checkpoint_folders import downloads_folder
from braindiffuser.paired_pictures.picture_inputs import Partners, PictureInput, find_partners
from braindiffuser.several_tests import holm

FEWEST_FOR_CHANCE = 10
"""Of fewer pictures nothing is said of chance."""
ALPHA = 0.05
"""p, adjusted for all metrics (Holm), above which pictures are said to score as if in another order."""

Scored = dict[str, Any]


@dataclass(frozen=True, eq=False)
class OpenedMethods:
    """Pictures of several methods, and of what was seen, with their partners found and their sizes checked.

    Attributes:
        seen: how messages call the stimuli.
        partners: the pictures.
        profile: the metrics.
        remarks: sentences on what is unusual.
        alarms: those of them that doubt the pictures themselves.
    """

    seen: str
    partners: Partners
    profile: Profile
    remarks: list[str]
    alarms: list[str]

    @property
    def names(self) -> list[str]:
        """Names of the methods."""
        return list(self.partners.made)


def open_methods(seen: str | Path, methods: Sequence[str | Path], profile: str) -> OpenedMethods:
    """Find partners, read every picture once, and check sizes; nothing is scored yet.

    Args:
        seen: what was shown: a folder of pictures of one size, or a stack.
        methods: reconstructions by each method: folders, or stacks.
        profile: name of a list of metrics.

    Raises:
        RunError: as `evaluate_methods`.
    """
    if not methods:
        raise RunError("expected the pictures of one method at least, got none")
    whole = Profile.load(profile)
    stimuli, made = PictureInput.open(seen), [PictureInput.open(method) for method in methods]
    partners = find_partners(stimuli, made)
    opened = {stimuli.label: partners.pictures}
    opened |= {partners.labels[name]: pictures for name, pictures in partners.made.items()}
    sizes = {label: pictures[:1].shape[-2:] for label, pictures in opened.items()}
    _check_sizes(sizes, stimuli.label, whole)
    alarms = _remarks(opened, partners.names, stimuli, made)
    remarks = [*alarms, *partners.remarks, *_of_blend(whole)]
    for label, size in sizes.items():
        if size != sizes[stimuli.label]:
            remarks.append(f"pictures of {label} are resized from {size[0]} to {sizes[stimuli.label][0]} pixels")
    return OpenedMethods(stimuli.label, partners, whole, remarks, alarms)


def _of_blend(profile: Profile) -> list[str]:
    """Say that a profile of blends scores the pictures as they are: folders hold no blurry pictures to blend them with."""
    if profile.blend is None:
        return []
    share = round(100 * profile.blend.blurry_share)
    return [
        f"the paper's numbers of profile {profile.name} are of blends with blurry reconstructions ({share} %), of which none are "
        "given here: these are scores of the pictures as they are, by the same metrics"
    ]


def evaluate_methods(
    seen: str | Path,
    methods: Sequence[str | Path],
    profile: str,
    against: str | None = None,
    checkpoints: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    cache: str | Path | None = None,
) -> Scored:
    """Score the reconstructions of several methods on the pictures that all of them have, and compare the methods.

    Folders are paired by the names of pictures; stacks (`.npy`, `.npz`, `.pt`, zarr, HDF5; `FILE:KEY` names one array of
    several) by their order, which must be that of the stimuli.

    Args:
        seen: what was shown: a folder of pictures of one size, or a stack.
        methods: reconstructions by each method, each of one size; if not that of the stimuli, they are resized, which needs
            square pictures, as networks do.
        profile: name of a list of metrics, such as "demo", "pixels" or "brain-diffuser-2023".
        against: name of the method that others are compared with; None: the first.
        checkpoints: folder where files of published networks are looked for; None: where downloads are kept.
        device: where networks run.
        seed: of random signs, and of the shuffled baseline.
        cache: folder where features are kept from one call to the next; None: they are not.

    Returns:
        `profile`, `notes` of it (title → what it states), `n_images`, `names` (of the pictures, in order), `seen`, `against`,
        `methods` (name → `source`, `metrics` as in `scores.json` with one baseline, `shuffled_pictures`, and `per_image`: key →
        scores), `comparisons` (name → key → `difference` from `against`, its `ci95`, `p` of the sign-flip test and `p_holm`,
        adjusted for all of them), `missing` (network → how to get its file; its metrics are left out),
        `remarks` (sentences on what is unusual), `alarms` (those of them that doubt the pictures) and `unmatched` (folder or
        file → names of the pictures that are left out).

    Raises:
        RunError: if the profile or `against` is unknown, an input cannot be read or is given twice, names or numbers of pictures
            do not match, or sizes differ, are too small or not square.
        DependencyError: if the file of a network is there but damaged.
    """
    return score_methods(open_methods(seen, methods, profile), against, checkpoints, device, seed=seed, cache=cache)


def evaluate_folders(
    seen: str | Path,
    made: str | Path,
    profile: str,
    checkpoints: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Scored:
    """Score the pictures of one folder, or stack, as reconstructions of those of another.

    Args:
        seen: what was shown, as in `evaluate_methods`.
        made: reconstructions.
        profile: name of a list of metrics, such as "demo", "pixels" or "brain-diffuser-2023".
        checkpoints: folder where files of published networks are looked for; None: where downloads are kept.
        device: where networks run.
        seed: of the shuffled baseline.

    Returns:
        The content of a `scores.json`, with one baseline (`shuffled_pictures`: the same reconstructions, each moved to
        another stimulus), and further `seen` and `made` (which pictures were taken for what), `names` (of the pairs, in
        order), `per_image` (key → scores), `missing` (network → how to get its file; the metrics that need it are left out),
        `remarks` (sentences on what is unusual), `alarms` (those that doubt the pictures), `notes` (title → what the profile
        states) and `unmatched` (folder → names).

    Raises:
        RunError: as `evaluate_methods`.
        DependencyError: if the file of a network is there but damaged.
    """
    opened = open_methods(seen, [made], profile)
    return of_one_method(score_methods(opened, None, checkpoints, device, seed))


def of_one_method(scores: Mapping[str, Any]) -> Scored:
    """Return the scores of the only method in the form that `evaluate_folders` returns."""
    (own,) = scores["methods"].values()
    return {
        "profile": scores["profile"],
        "notes": scores["notes"],
        "n_images": scores["n_images"],
        "seen": scores["seen"],
        "made": own["source"],
        "metrics": own["metrics"],
        **{key: scores[key] for key in ("missing", "remarks", "alarms", "unmatched", "names")},
        "per_image": own["per_image"],
    }


def score_methods(
    opened: OpenedMethods,
    against: str | None = None,
    checkpoints: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    cache: str | Path | None = None,
) -> Scored:
    """Score what `open_methods` opened.

    Args:
        opened: the pictures.
        against: as in `evaluate_methods`, as are all others but one.
        checkpoints: folder where files of published networks are looked for.
        device: where networks run.
        seed: of all that is random.
        cache: folder where features are kept.

    Returns:
        As `evaluate_methods`.

    Raises:
        RunError, DependencyError: as `evaluate_methods`.
    """
    reference = check_reference(opened, against)
    folder, kept_features = (
        Path(checkpoints or downloads_folder()),
        None if cache is None else FeatureCache(Path(cache)),
    )
    partners = opened.partners
    with needing_memory(device, lambda: "evaluate"):
        networks, missing = load_networks(opened.profile, folder, device)
        kept = opened.profile.without(missing)
        networks = networks if kept_features is None else _remembering(networks, kept_features, folder, device)
        scorer = Scorer(partners.pictures, kept, networks)
        found = {name: _of_method(scorer, pictures, seed) for name, pictures in partners.made.items()}
    at_chance = _chance_remarks(opened, found, seed)
    remarks = [*opened.remarks, *at_chance]
    if kept_features is not None:
        kept_features.tidy()
        remarks += kept_features.faults
    first = next(iter(found.values())).summary
    return {
        "profile": first["profile"],
        "notes": dict(opened.profile.notes),
        "n_images": first["n_images"],
        "seen": opened.seen,
        "against": reference,
        "methods": {
            name: {
                "source": partners.labels[name],
                "metrics": each.summary["metrics"],
                "per_image": {key: scores.tolist() for key, scores in each.final.items()},
            }
            for name, each in found.items()
        },
        "comparisons": _compared({name: each.paired for name, each in found.items()}, reference, seed),
        "missing": missing,
        "remarks": remarks,
        "alarms": [*opened.alarms, *at_chance],
        "unmatched": dict(partners.unmatched),
        "names": partners.names,
    }


def check_reference(opened: OpenedMethods, against: str | None) -> str:
    """Return the name of the method that others are compared with.

    Raises:
        RunError: there is no such method.
    """
    if against is None:
        return opened.names[0]
    by_label = {label: name for name, label in opened.partners.labels.items()}
    name = by_label.get(against.rstrip("/"), against)
    if name not in opened.partners.made:
        raise RunError(f"there is no method {against} to compare with: name one of {', '.join(opened.names)}")
    return name


@dataclass(frozen=True, eq=False)
class _Found:
    """Scores of one method.

    Attributes:
        final: key → scores of the pictures.
        paired: key → the same, with the scores without each picture where pictures are identified among each other.
        above_shuffled: key → how much better each picture's score is than that of another picture in its place.
        summary: means and intervals.
    """

    final: PerPicture
    paired: Mapping[str, PictureScores]
    above_shuffled: PerPicture
    summary: Scored


def _of_method(scorer: Scorer, pictures: PictureReader, seed: int) -> _Found:
    rng = np.random.default_rng(seed)
    features = extract_features(pictures, scorer.profile, scorer.networks)
    order = derangement(len(pictures), rng)
    final = scorer.score(pictures, features)
    shuffled = scorer.score(pictures.take(order), take(features, order))
    summary = summarise(scorer.profile, ScoreSets(final, baselines={"shuffled_pictures": shuffled}), rng)
    above = {
        key: (final[key] - shuffled[key]) * (1 if metric.higher_is_better else -1)
        for key, metric in scorer.profile.metrics.items()
    }
    paired = {key: PictureScores(scores, final.left_out.get(key)) for key, scores in final.items()}
    return _Found(final, paired, above, summary)


def _compared(paired: Mapping[str, Mapping[str, PictureScores]], reference: str, seed: int) -> dict[str, Scored]:
    """Compare every other method with the reference on every metric; p values of all are adjusted together."""
    found = {
        (name, key): compare_paired(own, paired[reference][key], np.random.default_rng(seed))
        for name, scores in paired.items()
        for key, own in scores.items()
        if name != reference
    }
    adjusted = holm({pair: each.p for pair, each in found.items()})
    compared: dict[str, Scored] = {name: {} for name in paired if name != reference}
    for (name, key), each in found.items():
        compared[name][key] = {
            "difference": each.value,
            "ci95": [each.low, each.high],
            "p": each.p,
            "p_holm": adjusted[name, key],
        }
    return compared


def _chance_remarks(opened: OpenedMethods, found: Mapping[str, _Found], seed: int) -> list[str]:
    """Tell of methods whose pictures score no better with their own stimuli than with others, on any metric."""
    if len(opened.partners.names) < FEWEST_FOR_CHANCE:
        return []
    said = []
    for name, own in found.items():
        p = {
            key: sign_flip_p(above, np.random.default_rng(seed)) if above.mean() > 0 else 1.0
            for key, above in own.above_shuffled.items()
        }
        if p and min(holm(p).values()) > ALPHA:
            said.append(
                f"pictures of {opened.partners.labels[name]} score no better with their own stimuli than with others on any "
                f"metric (smallest p {min(p.values()):.2g}): are they in another order, or named after other stimuli? Look at a "
                "few beside what was seen"
            )
    return said


def _remembering(
    networks: Mapping[str, FeatureNetwork], cache: FeatureCache, folder: Path, device: str
) -> dict[str, FeatureNetwork]:
    """Keep features of the networks that are known by name."""
    facts = {name: network_facts(name, folder, device) for name in networks}
    return {
        name: network if (known := facts[name]) is None else cache.remembering(name, network, known)
        for name, network in networks.items()
    }


def _remarks(
    opened: Mapping[str, PictureReader], names: Sequence[str], seen: PictureInput, methods: Sequence[PictureInput]
) -> list[str]:
    """Tell of inputs that hold one picture many times, or some of one colour, and of those whose pictures are equal to others'.

    Args:
        opened: label of what was seen → its pictures, then those of methods.
        names: of the pictures.
        seen: what was seen.
        methods: the methods.

    Raises:
        RunError: if most pictures of an input are of one flat colour each.
    """
    n = len(names)
    flat: dict[str, list[str]] = {label: [] for label in opened}
    are_one, are_equal = dict.fromkeys(opened, True), dict.fromkeys(combinations(opened, 2), True)
    first: dict[str, Pictures] = {}
    for rows in batch_slices(n):
        blocks = {label: pictures[rows] for label, pictures in opened.items()}
        for label, block in blocks.items():
            flat[label] += [names[rows.start + place] for place in np.flatnonzero(are_flat(block))]
            are_one[label] &= not (block != first.setdefault(label, block[:1])).any()
        for (one, other), same in are_equal.items():
            are_equal[one, other] = same and np.array_equal(blocks[one], blocks[other])
    for label, of_one_colour in flat.items():
        if 2 * len(of_one_colour) > n:
            raise RunError(
                f"{len(of_one_colour)} of {n} pictures of {label} are of one flat colour each, so there is nothing to score: "
                "make them again"
            )
    said = [f"all pictures of {label} are the same picture" for label, same in are_one.items() if same]
    said += [
        f"{len(some)} of {n} pictures of {label} are of one flat colour each, such as {some[0]}"
        for label, some in flat.items()
        if some
    ]
    same_places = {method.label: method for method in methods if seen.is_same_as(method)}
    said += [
        f"{seen.label} and {label} are the same {'folder' if method.folder else 'stack'}"
        for label, method in same_places.items()
    ]
    said += [
        f"all pictures of {other} are equal to those of {one}: is one a copy of the other?"
        for (one, other), same in are_equal.items()
        if same and not {one, other} & (same_places.keys() - {seen.label})
    ]
    return said


def _check_sizes(sizes: Mapping[str, tuple[int, ...]], seen: str, profile: Profile) -> None:
    height, width = sizes[seen]
    if min(height, width) < SMALLEST_SIDE:
        raise RunError(f"pictures of {seen} are {height} × {width}: SSIM needs {SMALLEST_SIDE} pixels a side or more")
    must_be_square = profile.layers or len(set(sizes.values())) > 1
    for label, size in sizes.items():
        if must_be_square and size[0] != size[1]:
            raise RunError(
                f"pictures of {label} are {size[0]} × {size[1]} (height, width), and would be squashed: make all pictures "
                "square; others are scored only if they have one size, and by pixels alone (--profile pixels)"
            )
