"""Profile comparison: the same reconstructions scored as each paper scores its own.

One name hides different computations: sizes, ways of resizing, layers, checkpoints, the direction of identification, and
blends of pictures before they are scored. Between papers their effect cannot be told from that of the methods. Here the pictures
are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.errors import RunError
from braindiffuser.images import PictureReader
from braindiffuser.metrics.profiles import Profile

PUBLISHED = ("brain-diffuser-2023", "mindeye-2023", "mindeye2-2024", "takagi-2023")
"""Profiles that follow a paper."""


class ProfileComparison(Analysis):
    """Score the reconstructions of the test pictures under several profiles.

    Facts, stored as `analyses/<label>.json`: `n_images`; `profiles`, name → its `metrics` (each with `value`, `ci95`), `prints`
    (name in the paper's table → key) and what is left out; `moved`, for each printed name the profiles with the smallest and the
    largest value and their difference, ordered by how many half-widths of an interval that is; `blurry`, the kind of pictures
    that a blend takes; `side`, the stimuli's in pixels.
    """

    needs: ClassVar[tuple[str, ...]] = ("reconstruct",)
    reads: ClassVar[tuple[str, ...]] = ("stimuli",)

    profiles: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        (*PUBLISHED, "recommended"),
        min_length=2,
        description="Profiles that are compared, in the order of the table's columns; metrics whose network is not here are left "
        "out.",
    )
    blurry: str | None = Field(
        "low_level",
        description="Kind of pictures that mindeye2-2024 mixes with the reconstructions, such as low_level; null: none, and the "
        "profile is left out.",
    )

    @model_validator(mode="after")
    def _known(self) -> ProfileComparison:
        try:
            self.loaded()
        except RunError as error:
            raise ValueError(str(error)) from error
        return self

    def loaded(self) -> list[Profile]:
        """Read the profiles.

        Raises:
            RunError: if one is not known.
        """
        return [Profile.load(name) for name in self.profiles]

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on, with the facts of every metric of the profiles."""
        metrics = {
            profile.name: {
                "blend": None if profile.blend is None else profile.blend.influences(device),
                "prints": dict(profile.prints),
                **{key: metric.influences(device) for key, metric in profile.metrics.items()},
            }
            for profile in self.loaded()
        }
        return {**super().influences(device), "metrics": metrics}

    @property
    def scoring_networks(self) -> tuple[str, ...]:
        """Networks of all profiles."""
        return tuple(dict.fromkeys(network for profile in self.loaded() for network in profile.layers))

    @property
    def checkpoints(self) -> dict[str, Path]:
        """Checkpoint folders of the networks that come with the package."""
        from braindiffuser.metrics.feature_networks import bundled_checkpoints

        return bundled_checkpoints(self.scoring_networks)

    def run(self, data: RunData) -> Outcome:
        """Score the first test set under every profile."""
        import pandas as pd

        from braindiffuser.metrics.feature_networks import load_networks
        from braindiffuser.metrics.profile_comparison import compare_profiles, comparison_facts
        from braindiffuser.networks.checkpoint_folders import downloads_folder
        from braindiffuser.report.profile_section import profile_section

        rows = data.test_sets["test"]
        seen, made = data.seen("test").take(rows), data.made("final").take(rows)
        compared = compare_profiles(
            self.loaded(),
            seen,
            made,
            self._blurry(data, rows),
            lambda profile: load_networks(profile, downloads_folder(), data.device),
            data.progress,
        )
        shown = {"blurry": self.blurry, "side": int(seen[:1].shape[-1])}
        facts = {**shown, **comparison_facts(compared)}
        ids = data.stimulus_ids("test")[rows]
        columns = {f"{name}_{key}": own for name, each in compared.items() for key, own in each.scores.items()}
        table = pd.DataFrame({"stimulus_id": ids, **columns})
        return Outcome(profile_section(self.label, facts), facts=facts, tables={"per_image": table})

    def _blurry(self, data: RunData, rows: slice) -> PictureReader | None:
        """Open the blurry pictures; None if the run has none of their kind."""
        if self.blurry is None or not any(profile.blend for profile in self.loaded()):
            return None
        try:
            return data.made(self.blurry).take(rows)
        except RunError as error:
            data.progress(f"no blend is scored: {error}", 1, 1)
            return None
