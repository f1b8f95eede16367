"""Betas → responses: averaged over repeats, normalised by the training set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.files import UNFINISHED
from braindiffuser.images import SMALLEST_SIDE
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.store.draft import Draft

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from braindiffuser.datasets.recording import Recording
    from braindiffuser.datasets.responses import ResponseAccumulator, SplitResponses

SUMS = "sums.npz"
"""Partial sums to resume from."""


def _units(experiment: Experiment) -> tuple[str, ...]:
    made = ("recording",) if experiment.dataset.makes_files else ()
    return (*made, "stimuli", "responses")


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    before = {"recording": (), "stimuli": ("recording",), "responses": ("recording", "stimuli")}[unit]
    return tuple(Step("prepare", name) for name in before if name in _units(experiment))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    split = experiment.split.influences(experiment.device)
    if unit == "responses":
        responses = experiment.responses.influences(experiment.device)
        dataset = experiment.dataset.influences_of("betas", experiment.device)
        return {"dataset": dataset, "split": split, "responses": responses}
    if unit == "stimuli":
        return {"dataset": experiment.dataset.influences_of("design", experiment.device), "split": split}
    return {"dataset": experiment.dataset.influences(experiment.device)}


def _checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    return {f"dataset.{name}": folder for name, folder in experiment.dataset.checkpoints.items()}


def _roles(experiment: Experiment, unit: str) -> tuple[str, ...]:
    pictures = ("stimuli",) if experiment.split.reads_pictures else ()
    return {"recording": (), "stimuli": ("design", *pictures), "responses": ("regions", "betas")}[unit]


def _roles_by_name(experiment: Experiment, unit: str) -> tuple[str, ...]:
    return ("betas",) if unit == "stimuli" else ()


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    compute = {"recording": _make_recording, "stimuli": _list_stimuli, "responses": _average}
    for unit, draft in drafts.items():
        compute[unit](context, draft)
        yield unit


def _make_recording(context: StageContext, draft: Draft) -> None:
    """Generate the recording's files, each noted as finished; if one was damaged, all are generated again."""
    if draft.lost:
        draft.clear()
    folder = draft.folder / "nsd"

    def note() -> None:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(UNFINISHED))
        names = [path.relative_to(draft.folder).as_posix() for path in files]
        draft.note([name for name in names if not draft.is_as_noted(name)])

    def progress(label: str, done: int, total: int) -> None:
        note()
        context.progress(label, done, total)

    context.experiment.dataset.make(folder, progress)
    note()


def _list_stimuli(context: StageContext, draft: Draft) -> None:
    """Training stimuli ascending; test stimuli test set by test set."""
    from braindiffuser.datasets.splits import stimuli_of
    from braindiffuser.errors import RunError

    recording = context.open_recording()
    train_ids, sets = stimuli_of(recording.trials, "train")[0], recording.test_sets
    if not sets:
        raise RunError("the recording has no test stimuli, so nothing could be scored: read more sessions")
    single = [name for name, ids in sets.items() if len(ids) < 2]
    if single:
        raise RunError(
            f"the test set {single[0]} has one stimulus, and scores compare two or more: give it more, or read more sessions"
        )
    _check_stimuli(context, recording, np.concatenate([train_ids, *sets.values()]))
    ends = np.cumsum([len(ids) for ids in sets.values()]).tolist()
    draft.write_array("stimuli/train_ids", train_ids)
    draft.write_array("stimuli/test_ids", np.concatenate(list(sets.values())))
    rows = {name: [end - len(ids), end] for (name, ids), end in zip(sets.items(), ends, strict=True)}
    draft.write_json("test_sets.json", rows)
    draft.write_json("subject.json", {"subject": recording.subject, "simulated": recording.simulated})


def _check_stimuli(context: StageContext, recording: Recording, stimulus_ids: Int[np.ndarray, " n"]) -> None:
    """Read one picture, and all captions if targets are made of them, so that faults are known before betas are read."""
    side = recording.pictures(stimulus_ids.max()[None]).shape[-1]
    if side < SMALLEST_SIDE:
        raise RecordingError(f"stimuli are {side} pixels wide, expected {SMALLEST_SIDE} or more, which SSIM takes")
    if recording.captions is not None and any("captions" in t.reads for t in context.experiment.targets.values()):
        for stimulus_id in stimulus_ids:
            recording.captions(int(stimulus_id))


def _average(context: StageContext, draft: Draft) -> None:
    from braindiffuser.datasets.recording import TRIAL_COLUMNS
    from braindiffuser.datasets.responses import trial_responses
    from braindiffuser.datasets.voxel_selection import check_regions

    recording, config, results = context.open_recording(), context.experiment.responses, context.results
    check_regions(recording.roi_masks, config.rois)
    context.experiment.regression.check_stimuli(len(results.read_array("stimuli/train_ids")))
    responses = _accumulate(context, draft, recording).finish()
    chosen = _choose_voxels(context, draft, recording, responses)
    _describe(context, draft, recording, responses, int(chosen.sum()))
    if config.rows == "trials":
        trials, stimuli = trial_responses(recording, responses, config.normalisation)
        draft.write_array("responses/trials", trials[:, chosen])
        draft.write_array("responses/stimulus_of_trial", stimuli)
    in_sets = np.searchsorted(responses.test_ids, results.read_array("stimuli/test_ids"))
    draft.write_array("responses/train", responses.train[:, chosen])
    draft.write_array("responses/test", responses.test[in_sets][:, chosen])
    draft.write_array("responses/n_repeats_train", responses.n_repeats_train)
    draft.write_array("responses/n_repeats_test", responses.n_repeats_test[in_sets])
    ncsnr = responses.ncsnr if recording.ncsnr is None else recording.ncsnr
    draft.write_array("ncsnr", ncsnr[chosen].astype(np.float32), may_be_nan=True)
    draft.write_bundle("rois.npz", {name: mask[chosen] for name, mask in recording.roi_masks.items()})
    draft.write_table("trials.csv", recording.trials[list(TRIAL_COLUMNS)])


def _describe(
    context: StageContext, draft: Draft, recording: Recording, responses: SplitResponses, n_chosen: int
) -> None:
    """Write the section on the recording, and report what is unusual."""
    from braindiffuser.datasets.plausibility import compare_sessions, doubts
    from braindiffuser.datasets.recording_facts import facts_of, notes_on
    from braindiffuser.datasets.trial_normalisation import normalisation_doubts, spread_doubts
    from braindiffuser.report.recording_section import recording_section

    normalisation = context.experiment.responses.normalisation
    unusual = [
        *notes_on(recording),
        *normalisation_doubts(recording.trials, normalisation),
        *doubts(responses.sessions),
        *(spread_doubts(responses.train) if normalisation == "none" else ()),
    ]
    beside = compare_sessions(responses.sessions)
    for sentence in unusual:
        context.progress(sentence, 1, 1)
    chosen = f", {n_chosen:,} of them chosen" if n_chosen < recording.n_voxels else ""
    facts = facts_of(recording)
    facts["Voxels"] += chosen
    rows = [
        {
            "session": number,
            "n_trials": len(recording.trials_of(number)),
            "spread": own.spread,
            "offset": beside[number].offset,
            "lost": beside[number].lost,
            "outlier": own.outlier,
        }
        for number, own in responses.sessions.items()
    ]
    section = recording_section(facts, unusual, rows)
    draft.write_text("sections/prepare.recording.json", section.model_dump_json(indent=1) + "\n")


def _choose_voxels(
    context: StageContext, draft: Draft, recording: Recording, responses: SplitResponses
) -> Bool[np.ndarray, " n_voxels"]:
    from braindiffuser.datasets.noise_ceiling import noise_ceiling
    from braindiffuser.datasets.voxel_selection import select_voxels, selected_fingerprint

    config = context.experiment.responses
    ceilings = np.full(recording.n_voxels, np.nan)
    if responses.training_ncsnr is not None:
        ceilings = noise_ceiling(responses.training_ncsnr, responses.n_repeats_train)
    chosen = select_voxels(recording.roi_masks, ceilings, config.rois, config.min_noise_ceiling)
    facts = {
        "rois": list(config.rois),
        "min_noise_ceiling": config.min_noise_ceiling,
        "n_analysed": recording.n_voxels,
        "n_chosen": int(chosen.sum()),
        "fingerprint": selected_fingerprint(recording.fingerprint, chosen),
    }
    draft.write_json("voxels.json", facts)
    return chosen


def _accumulate(context: StageContext, draft: Draft, recording: Recording) -> ResponseAccumulator:
    """Sum sessions one after the other; resume from stored sums if session files are unchanged."""
    accumulator = _resumed(context, draft, recording)
    numbers, read = recording.session_numbers, _hashes(context, recording, accumulator.sessions_done)
    for session in numbers:
        if session in accumulator.sessions_done:
            continue
        read += _hashes(context, recording, [session])
        betas = recording.betas_of(session)
        try:
            accumulator.add(session, betas)
        except RecordingError as error:
            named = ", ".join(recording.session_files(session))
            raise RecordingError(f"session {session} ({named or recording.subject}): {error}") from error
        draft.write_bundle(SUMS, accumulator.state() | {"files": np.array(read, dtype=str)})
        context.progress("averaging sessions", len(accumulator.sessions_done), len(numbers))
    if read != _hashes(context, recording, accumulator.sessions_done):
        raise RecordingError("sessions were changed while they were averaged: run the same command again to start over")
    return accumulator


def _resumed(context: StageContext, draft: Draft, recording: Recording) -> ResponseAccumulator:
    from braindiffuser.datasets.responses import ResponseAccumulator

    config = context.experiment.responses
    if draft.holds(SUMS):
        state = draft.read_bundle(SUMS)
        accumulator = ResponseAccumulator.from_state(recording.trials, state)
        if state["files"].tolist() == _hashes(context, recording, accumulator.sessions_done):
            return accumulator
    draft.clear()  # what was made of other sums
    by_ceiling = config.min_noise_ceiling > 0
    return ResponseAccumulator(
        recording.trials, recording.n_voxels, config.normalisation, by_ceiling, config.noise_ceiling
    )


def _hashes(context: StageContext, recording: Recording, sessions: Iterable[int]) -> list[str]:
    """Hash the files of some sessions as they are now; sessions may share a file."""
    files, listed = [recording.session_files(session) for session in sessions], context.hashes.files.get("betas")
    new = [name for names in files for name in names if listed is not None and name not in listed]
    if new:
        raise RecordingError(f"betas file {new[0]} was added after this run was opened: run the same command again")
    return [digest for names in files for digest in context.hashes.digests_of("betas", names).values()]


STAGE = Stage(
    name="prepare",
    does="average betas over repeats and normalise them by the training set",
    reads="design, betas, ROIs",
    writes=(
        "nsd/**",
        "arrays/stimuli/**",
        "test_sets.json",
        "subject.json",
        "sums.npz",
        "arrays/responses/**",
        "arrays/ncsnr/**",
        "rois.npz",
        "trials.csv",
        "voxels.json",
        "sections/prepare.recording.json",
    ),
    needs=(),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=_units,
    checkpoints=_checkpoints,
    roles=_roles,
    roles_while_reading=("betas",),
    roles_by_name=_roles_by_name,
    on_device=False,
)
