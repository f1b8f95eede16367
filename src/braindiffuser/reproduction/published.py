"""What the paper prints (Ozcelik & VanRullen 2023, Scientific Reports 13:15666): numbers to hold a run against.

Metrics have the keys of the profile `brain-diffuser-2023`. Identification is a share of 1 here, where the paper prints percent.
"""

from __future__ import annotations

from collections.abc import Mapping

Numbers = Mapping[str, float]
"""Metric's key → value."""

METRICS = ("pixcorr", "ssim_column_mean", "alexnet_2", "alexnet_5", "inception", "clip", "effnet", "swav")
LOW_LEVEL = (
    "pixcorr",
    "ssim",
    "ssim_column_mean",
    "alexnet_2",
    "alexnet_5",
    "efficientnet_lite0_early",
    "efficientnet_lite0_middle",
)
"""Metrics of layout, colour and shape: those that the paper calls low-level, and our stand-ins for them; all others are
high-level metrics, of what a picture shows."""


def _row(*values: float) -> Numbers:
    return dict(zip(METRICS, values, strict=True))


TABLE_1: Mapping[str, Numbers] = {
    "Table 1": _row(0.254, 0.356, 0.942, 0.962, 0.872, 0.915, 0.775, 0.423),
    "Re-scored by later papers": _row(0.273, 0.365, 0.944, 0.966, 0.913, 0.909, 0.728, 0.421),
}
"""Mean of subjects 1, 2, 5 and 7: as the paper prints it, and a second row that later papers print, with another test set and
other networks' weights."""

TABLE_2: Mapping[str, Numbers] = {
    "low_level_only": _row(0.358, 0.437, 0.977, 0.976, 0.770, 0.711, 0.906, 0.581),
    "without_low_level": _row(0.143, 0.302, 0.856, 0.930, 0.873, 0.926, 0.775, 0.414),
    "without_text": _row(0.279, 0.333, 0.956, 0.970, 0.879, 0.912, 0.796, 0.436),
    "without_vision": _row(0.327, 0.433, 0.939, 0.941, 0.847, 0.845, 0.821, 0.509),
    "full": _row(0.305, 0.367, 0.967, 0.974, 0.878, 0.925, 0.768, 0.415),
}
"""Subject 1: ablation → its scores, and those of the whole method."""

VOXELS: Mapping[str, int] = {"subj01": 15724, "subj02": 14278, "subj05": 13039, "subj07": 12682}
"""Subject of NSD → voxels of nsdgeneral."""
N_TRAIN, N_TEST, SESSIONS = 8859, 982, 37
"""Training and test pictures of each subject in NSD's first 37 sessions."""

EARLY = ("V1", "V2", "V3", "V4")
CATEGORIES = ("faces", "words", "places", "bodies")
"""The eight regions of Figure 8."""
SIGNS: Mapping[str, int] = {**dict.fromkeys(EARLY, -1), **dict.fromkeys(CATEGORIES, 1)}
"""Region → sign of how far the weights of CLIP exceed those of the VDVAE there (Figure 8)."""
