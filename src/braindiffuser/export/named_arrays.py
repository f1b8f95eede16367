"""Responses and features of a run as `.npz` files, with the names of the stimuli that their rows belong to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from braindiffuser.export.finished_run import FinishedRun
from braindiffuser.export.written_files import Write, npz_file


def array_files(run: FinishedRun) -> dict[str, Write]:
    """Return the files of responses, and of each target group: name → what writes it."""
    files = {f"responses/{side}.npz": npz_file(partial(_responses, run, side)) for side in ("train", "test")}
    for group in run.groups:
        files[f"features/{group}_train.npz"] = npz_file(partial(_training_features, run, group))
        files[f"features/{group}_test.npz"] = npz_file(partial(_test_features, run, group))
    return files


def _responses(run: FinishedRun, side: str) -> Mapping[str, Any]:
    return {
        "responses": run.results.open_array(f"responses/{side}"),
        "n_repeats": run.results.read_array(f"responses/n_repeats_{side}"),
        "voxel_fingerprint": np.array([run.voxel_fingerprint]),
        **_stimuli(run, side),
    }


def _training_features(run: FinishedRun, group: str) -> Mapping[str, Any]:
    return {"true": run.results.open_array(f"targets/{group}"), **_stimuli(run, "train")}


def _test_features(run: FinishedRun, group: str) -> Mapping[str, Any]:
    decoded, true = (run.results.open_array(f"{name}/{group}") for name in ("predictions", "truth"))
    return {"decoded": decoded, "true": true, **_stimuli(run, "test")}


def _stimuli(run: FinishedRun, side: str) -> dict[str, Any]:
    named = {"stimulus_id": run.ids(side), "stimulus_name": run.names(side)}
    return named | ({"test_set": run.test_sets} if side == "test" else {})
