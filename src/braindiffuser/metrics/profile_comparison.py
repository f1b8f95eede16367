"""The same reconstructions under several profiles: how far the way of scoring alone moves each number."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource
from braindiffuser.metrics.blend import Blend
from braindiffuser.metrics.metric import FeatureMetric, FeatureNetwork, Metric
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scored_pictures import ScoredPictures
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.metrics.summary import facts_of, interval_of
from braindiffuser.progress import Progress, silent

LoadNetworks: TypeAlias = Callable[[Profile], tuple[Mapping[str, FeatureNetwork], Mapping[str, str]]]
"""Loads the networks of a profile: those that are here by name, and for the others how to get their files."""

PROSE = ("label", "description", "citation")
"""Entries of a metric that do not change what is computed."""


@dataclass(frozen=True)
class ProfileScores:
    """What one profile says of the reconstructions.

    Attributes:
        profile: with the metrics that were computed.
        scores: key → scores of each picture (n,), with what intervals of identification need.
        missing: network → how to get its file, of metrics that are left out.
        too_few: labels of metrics that are left out since they need more pictures.
        without_blend: whether it is left out whole, since there are no blurry pictures for its blend.
    """

    profile: Profile
    scores: ScoredPictures
    missing: Mapping[str, str]
    too_few: tuple[str, ...] = ()
    without_blend: bool = False


class Moved(NamedTuple):
    """How far profiles move what papers print under one name.

    Attributes:
        name: as tables print it.
        low: profile with the smallest value.
        high: profile with the largest.
        difference: of the two values.
        half_width: of the two 95 % intervals, on average.
    """

    name: str
    low: str
    high: str
    difference: float
    half_width: float


def compare_profiles(
    profiles: Sequence[Profile],
    seen: PictureSource,
    made: PictureSource,
    blurry: PictureSource | None,
    load: LoadNetworks,
    progress: Progress = silent,
) -> dict[str, ProfileScores]:
    """Score the same reconstructions under every profile; what several profiles share is computed once.

    One network is in memory at a time, with the features of its own metrics.

    Args:
        profiles: with different names.
        seen: stimuli (n, 3, height, width) in [0, 1].
        made: their reconstructions, in the same order.
        blurry: blurry reconstructions of the same stimuli, for profiles that score a blend; None: there are none.
        load: loads the networks of a profile.
        progress: called as progress(label, done, total).

    Returns:
        Name of each profile → what it says.

    Raises:
        ValueError: if one key means two computations.
        RunError: what `Scorer` raises.
    """
    _check_keys(profiles)
    inputs: dict[Blend | None, PictureSource] = {}
    for blend in dict.fromkeys(profile.blend for profile in profiles):
        if blend is None:
            inputs[blend] = made
        elif blurry is not None:
            inputs[blend] = blend.of(made, blurry)
    wanted = {
        blend: {
            key: metric
            for profile in profiles
            if profile.blend == blend
            for key, metric in profile.metrics.items()
            if metric.fewest_pictures <= len(seen)
        }
        for blend in inputs
    }
    every = {key: metric for metrics in wanted.values() for key, metric in metrics.items()}
    scores = {blend: ScoredPictures() for blend in inputs}
    missing: dict[str, str] = {}
    groups = _by_network(every)
    for done, (network, keys) in enumerate(groups.items()):
        progress("scoring under every profile", done, len(groups))
        part = Profile(name="comparison", metrics={key: every[key] for key in keys})
        networks, absent = load(part) if network else ({}, {})
        if absent:
            missing |= absent
            continue
        scorer = Scorer(seen, part, networks)
        for blend, pictures in inputs.items():
            asked = [key for key in keys if key in wanted[blend]]
            if asked:
                scores[blend] = scores[blend].joined(scorer.limited_to(asked).score(pictures))
    progress("scoring under every profile", len(groups), len(groups))
    return {profile.name: _of_profile(profile, scores, missing, len(seen)) for profile in profiles}


def _of_profile(
    profile: Profile, scores: Mapping[Blend | None, ScoredPictures], missing: Mapping[str, str], n: int
) -> ProfileScores:
    found = scores.get(profile.blend)
    if found is None:
        return ProfileScores(profile.limited_to(()), ScoredPictures(), {}, without_blend=True)
    kept = profile.limited_to(found)
    return ProfileScores(
        kept,
        found.limited_to(kept.metrics),
        {network: missing[network] for network in profile.layers if network in missing},
        tuple(metric.label for metric in profile.metrics.values() if metric.fewest_pictures > n),
    )


def _by_network(metrics: Mapping[str, Metric]) -> dict[str, list[str]]:
    """Return network → keys of its metrics; those of pixels under ""."""
    groups: dict[str, list[str]] = {}
    for key, metric in metrics.items():
        groups.setdefault(metric.network if isinstance(metric, FeatureMetric) else "", []).append(key)
    return groups


def computed(metric: Metric) -> str:
    """Return all that decides the scores of a metric, as text: equal for two metrics that compute the same."""
    return json.dumps({k: v for k, v in metric.influences("cpu").items() if k not in PROSE}, sort_keys=True)


def _check_keys(profiles: Sequence[Profile]) -> None:
    known: dict[str, str] = {}
    for profile in profiles:
        for key, metric in profile.metrics.items():
            if known.setdefault(key, computed(metric)) != computed(metric):
                raise ValueError(
                    f"profile {profile.name} computes {key} otherwise than another profile: give it its own key"
                )


def comparison_facts(compared: Mapping[str, ProfileScores]) -> dict[str, Any]:
    """Put the values of all profiles together, with their intervals, ready to be written as JSON.

    Args:
        compared: as `compare_profiles` returns it.

    Returns:
        "n_images"; "profiles": name → "metrics" (key → facts, "value", "ci95"), "prints" (printed name → key), "notes", "blend"
        (null or "blurry_share", "size"), "missing", "too_few" and "without_blend"; and "moved", a list of what `moved` returns.

    Raises:
        RunError: if no profile has a metric that can be computed here.
    """
    facts = {
        name: {
            "metrics": _entries(own),
            "prints": own.profile.printed,
            "notes": dict(own.profile.notes),
            "blend": None if own.profile.blend is None else own.profile.blend.model_dump(),
            "missing": dict(own.missing),
            "too_few": list(own.too_few),
            "without_blend": own.without_blend,
        }
        for name, own in compared.items()
    }
    sizes = {len(scores) for own in compared.values() for scores in own.scores.values()}
    if not sizes:
        raise RunError(
            f"no metric of the profiles {', '.join(compared)} can be computed on this machine: get their networks with "
            "`braindiffuser checkpoints --download`, or name other profiles"
        )
    return {"n_images": sizes.pop(), "profiles": facts, "moved": [found._asdict() for found in moved(facts)]}


def _entries(own: ProfileScores) -> dict[str, Any]:
    return {
        key: {
            **facts_of(own.profile.metrics[key]),
            "value": float(scores.mean()),
            "ci95": interval_of(own.profile.metrics[key], key, own.scores),
        }
        for key, scores in own.scores.items()
    }


def moved(profiles: Mapping[str, Mapping[str, Any]]) -> list[Moved]:
    """Return how far profiles move what is printed under one name, those first that move most intervals.

    Names that one profile prints alone are left out, as are those under which two profiles print numbers of different chance or
    direction.

    Args:
        profiles: name → "metrics" and "prints", as in `comparison_facts`.
    """
    found = []
    for name in printed_names(profiles):
        entries = {
            profile: own["metrics"][own["prints"][name]] for profile, own in profiles.items() if name in own["prints"]
        }
        if len(entries) < 2 or len({(own["chance"], own["higher_is_better"]) for own in entries.values()}) > 1:
            continue
        low, high = (pick(entries, key=lambda profile: entries[profile]["value"]) for pick in (min, max))
        widths = [(entries[profile]["ci95"][1] - entries[profile]["ci95"][0]) / 2 for profile in (low, high)]
        found.append(Moved(name, low, high, entries[high]["value"] - entries[low]["value"], float(np.mean(widths))))
    return sorted(found, key=lambda own: -(own.difference / own.half_width if own.half_width else own.difference * 1e9))


def printed_names(profiles: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names that tables print, those of several profiles first, in order of appearance."""
    counts: dict[str, int] = {}
    for own in profiles.values():
        for name in own["prints"]:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: counts[name] < 2)
