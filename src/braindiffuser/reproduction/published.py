"""What the paper prints (Ozcelik & VanRullen 2023, Scientific Reports 13:15666): numbers to hold a run against.

Metrics have the keys of the profile `brain-diffuser-2023`. Identification is a share of 1 here, where the paper prints percent.
"""

from __future__ import annotations

from collections.abc import Mapping

from braindiffuser.datasets.rois import CATEGORY_REGIONS, EARLY_REGIONS

Numbers = Mapping[str, float]
"""Metric's key → value."""

METRICS = ("pixcorr", "ssim_column_mean", "alexnet_2", "alexnet_5", "inception", "clip", "effnet", "swav")


def _row(*values: float) -> Numbers:
    return dict(zip(METRICS, values, strict=True))


TABLE_1: Mapping[str, Numbers] = {
    "Table 1": _row(0.254, 0.356, 0.942, 0.962, 0.872, 0.915, 0.775, 0.423),
    "Re-scored by later papers": {
        "pixcorr": 0.273,
        "ssim": 0.365,
        "alexnet_2": 0.944,
        "alexnet_5": 0.966,
        "inception": 0.913,
        "clip": 0.909,
        "effnet": 0.728,
        "swav": 0.421,
    },
}
"""Mean of subjects 1, 2, 5 and 7: as the paper prints it, and a second row that later papers print (MindEye2, Scotti et al. 2024,
and others), with another test set and other networks' weights. Its SSIM is the two-dimensional one."""
OTHER_WEIGHTS: Mapping[str, str] = {"effnet": "Re-scored by later papers"}
"""Metric's key → row whose value is of other weights of the same network (EfficientNet-B1, IMAGENET1K_V2), so that no run of the
profile is above or below it."""

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

GROUP_NAMES: Mapping[str, str] = {"latents": "VDVAE", "vision": "CLIP-Vision", "text": "CLIP-Text"}
"""Target group → the paper's name of the network whose features it holds."""
SIGNS: Mapping[str, int] = {**dict.fromkeys(EARLY_REGIONS, -1), **dict.fromkeys(CATEGORY_REGIONS, 1)}
"""Region → sign of how far the weights of CLIP exceed those of the VDVAE there (Figure 8)."""
