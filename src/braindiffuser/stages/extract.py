"""Stimuli and captions → features: those of training stimuli are the targets.

Features of test stimuli are called truth: the ceiling is drawn from them, and analyses may read them; decoders and
reconstructions never see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from braindiffuser.batches import Batches
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.store.draft import Draft
from braindiffuser.targets.target import Features, Stimuli, Target

ARRAYS = {"train": "targets", "test": "truth"}
"""Split → name of its arrays."""


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    for group, draft in drafts.items():
        target = context.experiment.targets[group]
        context.networks.keep(target.checkpoints.values())
        null = target.null(context.networks)
        if null is not None:
            draft.write_array(f"null/{group}", null)
        sides, batches = set(), Batches(target.batch_size, context.progress)
        for split, name in ARRAYS.items():
            dtype = target.stored_as if split == "train" else "float32"
            ids = context.results.read_array(f"stimuli/{split}_ids")
            features = partial(_features, context, target, batches, ids)
            shape = draft.shape_of(f"{name}/{group}") or (len(ids), *features(slice(0, 1)).shape[1:])
            sides.add(shape[1:])
            if len(sides) > 1:
                raise RunError(
                    f"features of {group} have shapes {sorted(sides)}: a row must have the same for all stimuli"
                )
            draft.fill(f"{name}/{group}", shape, features, context.progress, f"extracting: {split} {group}", dtype)
        yield group


def _features(
    context: StageContext, target: Target, batches: Batches, ids: Int[np.ndarray, " n_all"], rows: slice
) -> Features:
    recording, own = context.open_recording(), ids[rows]
    pictures = recording.pictures if "stimuli" in target.reads else None
    captions = recording.captions if "captions" in target.reads else None

    def extract(chosen: slice) -> Features:
        stimuli = Stimuli(own[chosen], pictures, captions)
        features = np.asarray(target.extract(stimuli, context.networks, context.experiment.seed))
        _check(features, target)
        return features

    return np.concatenate([features for _, features in batches.over(len(own), extract)])


def _check(features: np.ndarray, target: Target) -> None:
    if features.dtype.kind not in "fiu" or features.ndim < 2 or not np.prod(features.shape[1:]):
        raise RunError(
            f"{type(target).__name__}.extract() returned {features.dtype} of shape {features.shape}, expected real numbers: "
            "a row of at least one per stimulus"
        )


def _units(experiment: Experiment) -> tuple[str, ...]:
    return tuple(experiment.targets)


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    made = (Step("prepare", "recording"),) if experiment.dataset.makes_files else ()
    return (*made, Step("prepare", "stimuli"))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    target = experiment.targets[unit]
    return {
        "seed": experiment.seed,
        f"targets.{unit}": target.influences(experiment.device),
        f"targets.{unit}.stored_as": target.stored_as,
    }


def _roles(experiment: Experiment, unit: str) -> tuple[str, ...]:
    return experiment.targets[unit].reads


def _checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    return {f"targets.{unit}.{name}": folder for name, folder in experiment.targets[unit].checkpoints.items()}


STAGE = Stage(
    name="extract",
    does="turn stimuli and captions into the features that decoders predict",
    reads="stimuli, captions",
    writes=("arrays/targets/**", "arrays/truth/**", "arrays/null/**"),
    needs=("prepare",),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=_units,
    roles=_roles,
    checkpoints=_checkpoints,
)
