"""Networks that score pictures of a run, and scores of any pictures against its stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Vector
from braindiffuser.experiment import Experiment
from braindiffuser.images import PictureReader, PictureSource
from braindiffuser.stages import StageContext

if TYPE_CHECKING:
    from braindiffuser.metrics.metric import FeatureNetwork
    from braindiffuser.metrics.profiles import Profile
    from braindiffuser.metrics.scorer import Scorer


class RunScorers:
    """Scores pictures against the stimuli of a run's test sets, whose features are computed once."""

    def __init__(self, context: StageContext, test_sets: Mapping[str, slice]) -> None:
        """Remember the run; networks are loaded when the first pictures are scored."""
        self._context, self._sets = context, test_sets
        self._scorers: dict[tuple[str, bytes], Scorer] = {}

    def score(
        self, pictures: PictureSource, test_set: str = "test", chosen: Int[np.ndarray, " n"] | None = None
    ) -> Mapping[str, Vector]:
        """Score pictures (n, 3, height, width) of one test set, in its order: key of each metric → scores (n,).

        Metrics whose network is not on this machine are left out.

        Args:
            pictures: one for each stimulus that is scored.
            test_set: its name.
            chosen: places in the test set of the stimuli that the pictures are of, which are then identified among these alone;
                None: all.

        Raises:
            RunError: what `Scorer` raises.
        """
        key = test_set, b"" if chosen is None else chosen.tobytes()
        if key not in self._scorers:
            from braindiffuser.metrics.scorer import Scorer

            scoring = scoring_of(self._context)
            ids = self._context.results.read_array("stimuli/test_ids")[self._sets[test_set]]
            ids = ids if chosen is None else ids[chosen]
            seen = PictureReader(ids, self._context.open_recording().pictures)
            self._scorers[key] = Scorer(seen, scoring.profile, scoring.networks)
        return self._scorers[key].score(pictures)

    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is known of each metric, by its key, as `scores.json` says it."""
        from braindiffuser.metrics.summary import facts_of

        return {key: facts_of(metric) for key, metric in scoring_of(self._context).profile.metrics.items()}


class Scoring(NamedTuple):
    """What scores are computed with.

    Attributes:
        profile: the metrics whose networks are on this machine.
        networks: these networks.
        missing: the other networks, and where to get their files.
    """

    profile: Profile
    networks: Mapping[str, FeatureNetwork]
    missing: Mapping[str, str]


def scoring_of(context: StageContext) -> Scoring:
    """Load the networks that score the pictures of a run, once."""
    return context.last("scoring", "", partial(_load, context.experiment, context.networks.device))


def _load(experiment: Experiment, device: str) -> Scoring:
    from braindiffuser.metrics.feature_networks import load_networks
    from braindiffuser.networks.checkpoint_folders import downloads_folder

    whole = experiment.evaluation.all_metrics()
    networks, missing = load_networks(whole, downloads_folder(), device)
    return Scoring(whole.without(missing), networks, missing)


def scoring_checkpoints(experiment: Experiment) -> dict[str, Path]:
    """Return the checkpoint folders that scores depend on, by the name of their entry."""
    from braindiffuser.metrics.feature_networks import bundled_checkpoints

    whole = experiment.evaluation.all_metrics()
    own = {
        f"evaluation.metrics.{name}.{entry}": folder
        for name, metric in whole.metrics.items()
        for entry, folder in metric.checkpoints.items()
    }
    return own | {f"evaluation.{name}": folder for name, folder in bundled_checkpoints(whole.layers).items()}


def available_scoring(experiment: Experiment) -> tuple[str, ...]:
    """Return the scoring networks whose files are on this machine."""
    from braindiffuser.metrics.feature_networks import available_networks

    return available_networks(experiment.evaluation.all_metrics().layers)
