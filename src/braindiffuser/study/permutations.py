"""Permutations within each subject: scores of reconstructions compared with other pictures' stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from braindiffuser.images import PictureReader
from braindiffuser.progress import Progress, silent
from braindiffuser.spacing import evenly_spaced
from braindiffuser.study.members import Member
from braindiffuser.study.steps import Steps
from braindiffuser.study.subject_average import made_pictures, seen_pictures

if TYPE_CHECKING:
    from braindiffuser.metrics.metric import FeatureNetwork
    from braindiffuser.metrics.profiles import Profile
    from braindiffuser.metrics.scorer import NetworkFeatures
    from braindiffuser.metrics.study_summary import Permuted
    from braindiffuser.store.draft import Draft

PAIRED = 100
"""Pictures of which all pairs are compared one by one, such as by SSIM; of more it would take hours."""


def permute_members(
    members: Sequence[Member],
    steps: Steps,
    *,
    n_permutations: int = 1000,
    device: str | None = None,
    progress: Progress = silent,
) -> list[dict[str, Permuted]]:
    """Draw permutations of each subject's test pictures, and score them; what is finished is read.

    Identification and correlation distances take all pictures. Metrics on pixels take `PAIRED` at most, evenly spaced in test
    order, since all pairs of them are compared; so do metrics of which no short way to all pairs is known. Their observed score
    is then that of these pictures alone.

    Args:
        members: runs of one profile.
        steps: of the study's folder.
        n_permutations: drawn for each metric and subject.
        device: where scoring networks compute; None: where the first run's did.
        progress: called as progress(label, done, total).

    Returns:
        Of each member: metric → permutations. Metrics whose network is not on this machine are left out.

    Raises:
        RunError: permutations of other runs are in the folder, or a network gives what it must not.
    """
    from braindiffuser.metrics.feature_networks import available_networks

    scoring = _Scoring(members[0], device)
    networks = list(available_networks(members[0].experiment.evaluation.all_metrics().layers))
    found = []
    for number, member in enumerate(members):
        inputs = {
            "scores": member.uid,
            "n_permutations": n_permutations,
            "pairs compared one by one": PAIRED,
            "networks": networks,
        }
        file = f"permutations/subject-{number}.npz"
        progress("permuting test pictures", number, len(members))
        seeds = member.experiment.seed, number
        write = partial(_write, scoring, member, file, n_permutations, seeds)
        steps.finish(f"permutations.subject-{number}", inputs, write, ["networks"])
        found.append(_read(steps, file))
    progress("permuting test pictures", len(members), len(members))
    return found


class _Scoring:
    """Networks of the first run's profile, and features of stimuli; both are made when first asked for, once."""

    def __init__(self, member: Member, device: str | None) -> None:
        self._whole = member.experiment.evaluation.all_metrics()
        self._device = device or member.experiment.device
        self._seen: dict[tuple[str, ...], NetworkFeatures] = {}

    @cached_property
    def _loaded(self) -> tuple[Profile, Mapping[str, FeatureNetwork]]:
        from braindiffuser.machine import check_device
        from braindiffuser.metrics.feature_networks import load_networks
        from braindiffuser.networks.checkpoint_folders import downloads_folder

        check_device(self._device)
        networks, missing = load_networks(self._whole, downloads_folder(), self._device)
        return self._whole.without(missing), networks

    @property
    def profile(self) -> Profile:
        """Metrics whose networks are here."""
        return self._loaded[0]

    def features_of(self, pictures: PictureReader) -> NetworkFeatures:
        """Compute the features of pictures that the profile needs."""
        from braindiffuser.metrics.scorer import extract_features

        return extract_features(pictures, self.profile, self._loaded[1])

    def features_seen(self, member: Member) -> NetworkFeatures:
        """Compute the features of a member's stimuli, once for members that saw the same."""
        key = tuple(member.seen_hashes("test"))
        if key not in self._seen:
            self._seen = {key: self.features_of(seen_pictures(member, "test"))}
        return self._seen[key]


def _write(
    scoring: _Scoring, member: Member, file: str, n_permutations: int, seeds: tuple[int, int], draft: Draft
) -> None:
    from braindiffuser.metrics.all_pairs import has_short_way, scores_of_all_pairs
    from braindiffuser.metrics.inference import exchanged_means
    from braindiffuser.metrics.metric import FeatureMetric, PixelMetric

    seen, made = seen_pictures(member, "test"), made_pictures(member, "test")
    seen_features, made_features = scoring.features_seen(member), scoring.features_of(made)
    few = evenly_spaced(len(seen), PAIRED)
    pixels = seen.take(few)[:], made.take(few)[:]
    arrays: dict[str, np.ndarray] = {}
    for place, (key, metric) in enumerate(scoring.profile.metrics.items()):
        if isinstance(metric, FeatureMetric):
            chosen = np.arange(len(seen)) if has_short_way(metric) else few
            layers = (own[metric.network][metric.layer][chosen] for own in (seen_features, made_features))
            scores = scores_of_all_pairs(metric, *layers)
        elif isinstance(metric, PixelMetric):
            scores = scores_of_all_pairs(metric, *metric.as_compared(*pixels))
        rng = np.random.default_rng([*seeds, place])
        arrays |= {
            f"{key}.observed": np.array(np.diagonal(scores).mean()),
            f"{key}.null": exchanged_means(scores, rng, n_permutations),
            f"{key}.n_images": np.array(len(scores)),
        }
    draft.write_bundle(file, arrays)


def _read(steps: Steps, file: str) -> dict[str, Permuted]:
    from braindiffuser.metrics.study_summary import Permuted

    arrays = steps.store.read_bundle(file)
    keys = [name.removesuffix(".null") for name in arrays if name.endswith(".null")]
    return {
        key: Permuted(float(arrays[f"{key}.observed"]), arrays[f"{key}.null"], int(arrays[f"{key}.n_images"]))
        for key in keys
    }
