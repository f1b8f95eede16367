"""Stimuli and captions → features: those of training stimuli are the targets.

Features of test stimuli are called truth: the ceiling is drawn from them, and analyses may read them; decoders and
reconstructions never see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from braindiffuser.batches import Batches
from braindiffuser.datasets.plausible_pictures import picture_doubts
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.plain_data import hash_json
from braindiffuser.real_numbers import Sides, real_numbers
from braindiffuser.report.sections import Section, Text
from braindiffuser.stages import Stage, StageContext, Step, changed_while
from braindiffuser.store.draft import Draft
from braindiffuser.store.shared_rows import SharedRows, open_shared_rows
from braindiffuser.targets.target import Features, Stimuli, Target

ARRAYS = {"train": "targets", "test": "truth"}
"""Split → name of its arrays."""


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    _look_at_pictures(context, drafts)
    for group, draft in drafts.items():
        context.networks.keep(context.experiment.targets[group].checkpoints.values())
        with _shared_rows(context, group) as shared:
            _extract(context, group, draft, shared)
        _refuse_constant(draft, group)
        yield group


def _extract(context: StageContext, group: str, draft: Draft, shared: SharedRows | None) -> None:
    target = context.experiment.targets[group]
    null, side_of = _begin(context, group, shared)
    sides = set()
    for split, name in ARRAYS.items():
        dtype, n = (
            target.stored_as if split == "train" else "float32",
            len(context.results.read_array(f"stimuli/{split}_ids")),
        )
        shape = draft.shape_of(f"{name}/{group}") or (n, *side_of[split])
        sides.add(shape[1:])
        _refuse_several(sides, target)
        if null is not None:
            unconditional = _checked(target, "null", null, (1, *shape[1:]))
            draft.fill(f"null/{group}", unconditional.shape, unconditional.__getitem__)
        make = partial(_block, group=group, split=split, shared=shared)
        made = partial(context.each if shared is None else context.here, make)
        draft.fill_blocks(f"{name}/{group}", shape, made, context.progress, f"extracting: {split} {group}", dtype)


def _begin(
    context: StageContext, group: str, shared: SharedRows | None
) -> tuple[Features | None, dict[str, tuple[int, ...]]]:
    """Return the features of nothing, if the target has any, and the shape of a row of each split."""
    if shared is None:
        return next(made for _, made in context.each(_null_and_sides, [group]))
    target = context.experiment.targets[group]
    null, side = shared.null(partial(_null, context, target)), shared.shape()
    return null, _sides(context, target) if side is None else dict.fromkeys(ARRAYS, side)


def _null_and_sides(context: StageContext, group: str) -> tuple[Features | None, dict[str, tuple[int, ...]]]:
    target = context.experiment.targets[group]
    context.networks.keep(target.checkpoints.values())
    return _null(context, target), _sides(context, target)


def _sides(context: StageContext, target: Target) -> dict[str, tuple[int, ...]]:
    return {split: _row_shape(context, target, context.results.read_array(f"stimuli/{split}_ids")) for split in ARRAYS}


def _block(context: StageContext, rows: slice, group: str, split: str, shared: SharedRows | None) -> Features:
    """Extract some rows of one split."""
    target = context.experiment.targets[group]
    context.networks.keep(target.checkpoints.values())
    ids_of = [context.results.read_array(f"stimuli/{name}_ids") for name in ARRAYS]
    first = 0 if split == "train" else len(ids_of[0])
    batches = context.batches(f"extract.{group}", target.batch_size)
    return _features(context, target, batches, np.roll(np.concatenate(ids_of), -first), shared, rows)


def _null(context: StageContext, target: Target) -> Features | None:
    null = target.null(context.networks)
    return None if null is None else _checked(target, "null", null, (1, ...))


def _shared_rows(context: StageContext, group: str) -> AbstractContextManager[SharedRows | None]:
    """Open the rows of a target group that this run shares with others; None if it shares none."""
    if context.shared is None:
        return nullcontext()
    why_not = why_not_shared(context.experiment)
    if why_not:
        raise RunError(why_not)
    recording = context.open_recording()

    def wait() -> None:
        context.progress(f"waiting for another run that extracts {group} to {context.shared}", 1, 1)

    said = changed_while(Step(STAGE.name, group))
    return open_shared_rows(context.shared, _facts_of_rows(context, group), recording.names, wait, said)


def _facts_of_rows(context: StageContext, group: str) -> Callable[[], dict[str, Any]]:
    """Return what looks up all that the features of one stimulus depend on besides its id and name.

    How stimuli are divided is no part. Where stimuli have numbers alone, files of the design may tell which pictures these are.
    """
    experiment, hashes, recording = context.experiment, context.hashes, context.open_recording()
    step, dataset = Step(STAGE.name, group), experiment.dataset.without_split()
    first = context.results.read_array("stimuli/train_ids")[:1]
    unchanging = {
        "dataset": dataset.influences_of("design", experiment.device),
        "made": context.finished().get("prepare.recording", {}).get("uid"),
        "side": recording.pictures(first).shape[-1] if "stimuli" in _roles(experiment, group) else None,
    }
    telling = () if recording.names else tuple(dataset.files().get("design", {}))

    def look_up() -> dict[str, Any]:
        own = {name.removeprefix(f"targets.{group}"): value for name, value in context.settings(step).items()}
        return {
            "settings": {name: value for name, value in own.items() if name != ".stored_as"},
            "contents": _contents(context, group)
            | ({"design": hashes.digests_of("design", telling)} if telling else {}),
            **unchanging,
        }

    return look_up


def _contents(context: StageContext, group: str) -> dict[str, Mapping[str, str]]:
    """Return the hashes of all that the features of a group are made from: role → file → hash."""
    reads = context.experiment.targets[group].reads
    return {role: context.hashes.digests(role) or _content(context, role) for role in reads}


def _content(context: StageContext, role: str) -> dict[str, str]:
    """Hash captions that have no file of their own, since they stand in a table of trials; {} of all other roles."""
    recording = context.open_recording()
    if role != "captions" or recording.captions is None:
        return {}
    ids = np.unique(recording.trials["stimulus_id"]).tolist()
    return {"": hash_json([[number, list(recording.captions(number))] for number in ids])}


def why_not_shared(experiment: Experiment) -> str:
    """Return why runs cannot share features of this experiment; "" if they can.

    What stimuli look like is known by the files that the dataset lists, or by its settings if it makes them. Of a dataset that
    does neither, the features of another recording might be taken for its own.
    """
    dataset = experiment.dataset
    reading = [group for group, target in experiment.targets.items() if "stimuli" in target.reads]
    if dataset.makes_files or not reading or dataset.files().get("stimuli"):
        return ""
    return (
        f"{dataset.kind} lists no files of the role stimuli, so features of {', '.join(reading)} cannot be shared between runs; "
        "see that they are there, let files() list them if the dataset is a class of yours, or leave --shared out"
    )


def _look_at_pictures(context: StageContext, drafts: Mapping[str, Draft]) -> None:
    """Check all pictures where targets read them; what is unusual is said, and on the page with the first such group."""
    looking = [group for group, target in context.experiment.targets.items() if "stimuli" in target.reads]
    if not drafts.keys() & set(looking):
        return
    ids = [context.results.read_array(f"stimuli/{split}_ids") for split in ARRAYS]
    said = picture_doubts(context.open_recording(), np.concatenate(ids))
    for sentence in said:
        context.progress(sentence, 1, 1)
    if said and looking[0] in drafts:
        section = Section(
            name="the-pictures",
            title="The pictures",
            blocks=tuple(Text(text=sentence, style="verdict") for sentence in said),
        )
        drafts[looking[0]].write_text("sections/extract.pictures.json", section.model_dump_json(indent=1) + "\n")


def _features(
    context: StageContext,
    target: Target,
    batches: Batches,
    ids: Int[np.ndarray, " n_all"],
    shared: SharedRows | None,
    rows: slice,
) -> Features:
    """Return the features of some rows of all stimuli, those of a split first.

    All batches have one size: the last of each block of rows is filled up with the stimuli that come next. So a stimulus has the
    same features, to the last bit, wherever a division of the recording puts it.
    """

    def extract(chosen: slice) -> Features:
        n, size = chosen.stop - chosen.start, min(batches.size, len(ids))
        following = np.roll(ids, -(rows.start + chosen.start))  # from the first that is wanted
        if shared is None:
            return _computed(context, target, following[:size])[:n]
        return shared.rows(following[:n], following[n:].tolist(), size, partial(_computed, context, target))

    parts = [features for _, features in batches.over(rows.stop - rows.start, extract, len(ids))]
    if shared is not None:
        shared.keep()
    _refuse_several({part.shape[1:] for part in parts}, target)
    return np.concatenate(parts)


def _computed(context: StageContext, target: Target, ids: Int[np.ndarray, " n"]) -> Features:
    recording = context.open_recording()
    pictures = recording.pictures if "stimuli" in target.reads else None
    captions = recording.captions if "captions" in target.reads else None
    made = target.extract(Stimuli(ids, pictures, captions), context.networks, context.experiment.seed)
    return _checked(target, "extract", made, (len(ids), None, ...))


def _row_shape(context: StageContext, target: Target, ids: Int[np.ndarray, " n_all"]) -> tuple[int, ...]:
    return _computed(context, target, ids[:1]).shape[1:]


def _checked(target: Target, method: str, made: Any, shape: Sides) -> Features:
    return real_numbers(made, f"{type(target).__name__}.{method}() returned", shape)


def _refuse_several(sides: set[tuple[int, ...]], target: Target) -> None:
    if len(sides) > 1:
        raise RunError(
            f"{type(target).__name__}.extract() returned rows of shapes {sorted(sides)}: a row must have the same for all stimuli"
        )


def _refuse_constant(draft: Draft, group: str) -> None:
    """Raise if features do not differ between training stimuli; the draft is deleted, so that what is mended is computed."""
    if draft.is_constant(f"targets/{group}"):
        draft.clear()
        raise RunError(
            f"features of {group} are the same for all training stimuli, so there is nothing to decode: check the checkpoint and "
            f"settings of targets.{group}, and that stimuli and captions differ"
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
    writes=("arrays/targets/**", "arrays/truth/**", "arrays/null/**", "sections/extract.pictures.json"),
    needs=("prepare",),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=_units,
    roles=_roles,
    checkpoints=_checkpoints,
    workers="all",
)
