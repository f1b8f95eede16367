"""Betas → responses: averaged over repeats, normalised by the training set."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser.datasets.subject_names import of_subject
from braindiffuser.errors import RecordingError, RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.files import UNFINISHED
from braindiffuser.stages import Stage, StageContext, Step
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from braindiffuser.arrays import Betas
    from braindiffuser.datasets.recording import Recording
    from braindiffuser.datasets.region_expressions import Expression
    from braindiffuser.datasets.responses import ResponseAccumulator, SplitResponses

NAMES_SHOWN = 3
"""Files of a session that messages name."""
MADE = "nsd"
"""Folder of a recording that is made, in a run's folder."""
SUMS = "sums.npz"
"""Partial sums to resume from."""
LONG, READ_PER_STORE = 1.0, 9.0
"""Partial sums that take more seconds to store than this are stored once sessions were read for so many times as long."""
VOXELS = "voxels.json"
"""Which voxels decoders are fitted to."""
PLACES = "places"
"""Entry of VOXELS: hash of where all analysed voxels lie, whoever they are of."""


def ceilings_of_tests(results: Results) -> Float[np.ndarray, " n_voxels"]:
    """Return the noise ceilings of test responses, in percent of their variance, without those of test sets apart."""
    from braindiffuser.datasets.noise_ceiling import noise_ceiling

    repeats, apart = (
        results.read_array("responses/n_repeats_test"),
        results.read_json("subject.json").get("sets_apart", []),
    )
    if apart:
        rows = [slice(*own) for name, own in results.read_json("test_sets.json").items() if name not in apart]
        repeats = np.concatenate([repeats[own] for own in rows]) if rows else repeats
    return noise_ceiling(results.read_array("ncsnr"), repeats)


def chosen_voxels(experiment: Experiment, recording: Recording, results: Results) -> Bool[np.ndarray, " n_analysed"]:
    """Choose voxels as this stage did; noise ceilings of training trials are those of its stored sums.

    Raises:
        RunError: they are not those that responses were written for.
    """
    from braindiffuser.datasets.responses import ResponseAccumulator
    from braindiffuser.datasets.voxel_selection import select_voxels, selected_fingerprint, selection_ceilings

    config = experiment.responses
    training_ncsnr, n_repeats = None, np.ones(1, np.int64)
    if config.min_noise_ceiling > 0:
        averaged = ResponseAccumulator.from_state(
            recording.trials, results.read_bundle(SUMS), recording.stimuli_apart
        ).finish()
        training_ncsnr, n_repeats = averaged.training_ncsnr, averaged.n_repeats_train
    ceilings, _ = selection_ceilings(recording, training_ncsnr, n_repeats, config.voxel_choice)
    chosen = select_voxels(recording.known_regions, ceilings, config.rois, config.min_noise_ceiling)
    if selected_fingerprint(recording.fingerprint, chosen) != results.read_json(VOXELS)["fingerprint"]:
        raise RunError(
            f"the recording has other voxels than the responses in {results.folder}: run "
            f"{command_line('run', '--out', results.folder)} first"
        )
    return chosen


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
    of_responses = ("regions", "maps", "betas") if _may_name_maps(experiment) else ("regions", "betas")
    return {"recording": (), "stimuli": ("design", *pictures), "responses": of_responses}[unit]


def _may_name_maps(experiment: Experiment) -> bool:
    """Whether responses may depend on label volumes of the experiment's, or on maps."""
    aliases = [text for own in experiment.dataset.roi_aliases.values() for text in own]
    named = [*experiment.responses.rois, *aliases]
    return bool(named and experiment.dataset.label_volumes) or any(set(text) & set("<>:") for text in named)


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
    folder = draft.folder / MADE

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
    from braindiffuser.datasets.stimulus_checks import check_stimuli, used_stimuli
    from braindiffuser.splits.split import check_sides

    recording, experiment = context.open_recording(), context.experiment
    check_sides(recording, remedy=experiment.dataset.more_stimuli)
    train_ids, sets = stimuli_of(recording.trials, "train")[0], recording.test_sets
    check_stimuli(recording, used_stimuli(recording), experiment.reads_captions)
    ends = np.cumsum([len(ids) for ids in sets.values()]).tolist()
    draft.write_array("stimuli/train_ids", train_ids)
    draft.write_array("stimuli/test_ids", np.concatenate(list(sets.values())))
    rows = {name: [end - len(ids), end] for (name, ids), end in zip(sets.items(), ends, strict=True)}
    draft.write_json("test_sets.json", rows)
    facts: dict[str, Any] = {"subject": recording.subject, "simulated": recording.simulated}
    draft.write_json("subject.json", facts | _facts_of_further(recording))


def _facts_of_further(recording: Recording) -> dict[str, Any]:
    """Return what is known of further test sets; of each fact only if there is any.

    `sets_apart` enter no noise ceiling, `imagined` were imagined, `notes` are title and text for the page, and `trained` lists
    the stimuli whose picture file is equal to one that trains.
    """
    from braindiffuser.datasets.equal_pictures import trained_pictures

    further = [name for name in recording.test_sets if name != "test"]
    trained = trained_pictures(recording) if further else {}
    facts = {
        "sets_apart": recording.sets_apart,
        "imagined": [name for name in recording.imagined if name in further],
        "notes": {name: list(recording.notes[name]) for name in further if name in recording.notes},
        "trained": {name: list(trained[name]) for name in further if name in trained},
    }
    return {name: known for name, known in facts.items() if known}


def _average(context: StageContext, draft: Draft) -> None:
    from braindiffuser.datasets.recording import TRIAL_COLUMNS
    from braindiffuser.datasets.responses import trial_responses
    from braindiffuser.datasets.voxel_selection import check_choice

    recording, config, results = context.open_recording(), context.experiment.responses, context.results
    check_named_regions(recording, context.experiment)
    check_named_columns(recording, context.experiment)
    check_choice(recording, config.voxel_choice, config.min_noise_ceiling)
    context.experiment.regression.check_stimuli(len(results.read_array("stimuli/train_ids")))
    accumulator, refuse_changes = _accumulate(context, draft, recording)
    responses = accumulator.finish()
    chosen, said = _choose_voxels(context, draft, recording, responses)
    _describe(context, draft, recording, responses, (int(chosen.sum()), said))
    if config.rows == "trials":
        trials, stimuli = trial_responses(recording, responses, config.normalisation)
        refuse_changes()  # sessions were read again
        _write_chosen(draft, "responses/trials", trials, chosen)
        draft.write_array("responses/stimulus_of_trial", stimuli)
    in_sets = np.searchsorted(responses.test_ids, results.read_array("stimuli/test_ids"))
    _write_chosen(draft, "responses/train", responses.train, chosen)
    draft.write_array("responses/test", responses.test[in_sets][:, chosen])
    draft.write_array("responses/n_repeats_train", responses.n_repeats_train)
    draft.write_array("responses/n_repeats_test", responses.n_repeats_test[in_sets])
    ncsnr = responses.ncsnr if recording.ncsnr is None else recording.ncsnr
    draft.write_array("ncsnr", ncsnr[chosen].astype(np.float32), may_be_nan=True)
    draft.write_bundle("rois.npz", {name: mask[chosen] for name, mask in recording.roi_masks.items()})
    draft.write_table("trials.csv", recording.trials[list(TRIAL_COLUMNS)])
    refuse_changes()  # the record will list sessions by what they are now


def _write_chosen(draft: Draft, name: str, values: Betas, chosen: Bool[np.ndarray, " n_voxels"]) -> None:
    """Write the columns of chosen voxels, without a copy of all of them in memory."""
    draft.fill(name, (len(values), int(chosen.sum())), lambda rows: values[rows][:, chosen])


def _describe(
    context: StageContext,
    draft: Draft,
    recording: Recording,
    responses: SplitResponses,
    choice: tuple[int, tuple[str, ...]],
) -> None:
    """Write the section on the recording, with the number of chosen voxels and how they were chosen; report what is unusual."""
    from braindiffuser.datasets.plausibility import compare_sessions, doubts, unit_doubts
    from braindiffuser.datasets.recording_facts import facts_of, notes_on
    from braindiffuser.datasets.trial_normalisation import normalisation_doubts, spread_doubts
    from braindiffuser.report.recording_section import recording_section

    normalisation, (n_chosen, how) = context.experiment.responses.normalisation, choice
    beside = compare_sessions(responses.sessions)
    unusual = [
        *notes_on(recording),
        *how,
        *normalisation_doubts(recording.trials, normalisation),
        *unit_doubts(responses.sessions, recording.unit),
        *doubts(responses.sessions, beside),
        *(spread_doubts(responses.train) if normalisation == "none" else ()),
    ]
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


def check_named_regions(recording: Recording, experiment: Experiment) -> dict[str, tuple[Expression, ...]]:
    """Look up all regions that responses and analyses name, before anything is computed; no label volume or map is read.

    Returns:
        Entry → its expressions.

    Raises:
        RecordingError: naming all that are not there, and those that are; or an expression cannot be read.
    """
    from braindiffuser.datasets.region_expressions import read_expressions

    of_analyses = {
        f"analyses.{analysis.label}.regions": list(analysis.region_expressions.values())
        for analysis in experiment.analyses
    }
    return read_expressions({"responses.rois": experiment.responses.rois, **of_analyses}, recording.known_regions)


def check_named_columns(recording: Recording, experiment: Experiment) -> None:
    """Check that the table of stimuli has the columns that analyses name, before anything is computed.

    Raises:
        RunError: an analysis names one that is not there.
    """
    if recording.stimuli is None and recording.described is not None:
        return  # is looked up, perhaps from pictures, only when an analysis asks
    columns = [] if recording.stimuli is None else list(map(str, recording.stimuli.columns))
    for analysis in experiment.analyses:
        analysis.check_columns(columns)


def _choose_voxels(
    context: StageContext, draft: Draft, recording: Recording, responses: SplitResponses
) -> tuple[Bool[np.ndarray, " n_voxels"], tuple[str, ...]]:
    """Return the voxels that decoders are fitted to, how they were chosen, if by noise ceilings, and what is odd of maps."""
    from braindiffuser.datasets.region_expressions import doubts
    from braindiffuser.datasets.voxel_selection import (
        check_regions,
        select_voxels,
        selected_fingerprint,
        selection_ceilings,
    )

    config = context.experiment.responses
    ceilings, said = selection_ceilings(
        recording, responses.training_ncsnr, responses.n_repeats_train, config.voxel_choice
    )
    known = recording.known_regions
    chosen = select_voxels(known, ceilings, config.rois, config.min_noise_ceiling)
    odd = doubts(check_regions(known, config.rois), known)
    facts = {
        "rois": list(config.rois),
        "min_noise_ceiling": config.min_noise_ceiling,
        "n_analysed": recording.n_voxels,
        "n_chosen": int(chosen.sum()),
        "fingerprint": selected_fingerprint(recording.fingerprint, chosen),
        PLACES: hashlib.sha256(recording.voxels.fingerprint).hexdigest()[:16],
    }
    draft.write_json(VOXELS, facts)
    return chosen, (*((said,) if config.min_noise_ceiling > 0 else ()), *odd)


def _accumulate(
    context: StageContext, draft: Draft, recording: Recording
) -> tuple[ResponseAccumulator, Callable[[], None]]:
    """Sum sessions one after the other; resume from stored sums if session files are unchanged.

    Where sums of many stimuli take long to store, they are stored after some of the sessions and after the last.

    Returns:
        The sums, and what raises if files of sessions are not what they were when they were read.
    """
    accumulator = _resumed(context, draft, recording)
    numbers = recording.session_numbers
    read = {session: _hashes(context, recording, [session]) for session in accumulator.sessions_done}

    def refuse_changes(sessions: Iterable[int] = read) -> None:
        chosen = list(sessions)
        if _hashes(context, recording, chosen) != [digest for session in chosen for digest in read[session]]:
            draft.clear()  # or it would go on from these sums, if the files are put back
            raise RecordingError(
                "sessions were changed while they were averaged: run the same command again to start over"
            )

    store_from = time.monotonic()
    for session in numbers:
        if session in accumulator.sessions_done:
            continue
        read[session] = _hashes(context, recording, [session])
        without = _leaving_out(context, recording, session)
        try:
            betas = recording.betas_of(session)
        except RecordingError as error:
            raise RecordingError(f"{error}{without}") from error
        try:
            accumulator.add(session, betas)
        except RecordingError as error:
            named = _short_list(recording.session_files(session))
            which = f" ({named})" if named else of_subject(recording.subject)
            raise RecordingError(f"session {session}{which}: {error}{without}") from error
        refuse_changes([session])
        begun = time.monotonic()
        if begun >= store_from or len(accumulator.sessions_done) == len(numbers):
            files = [digest for digests in read.values() for digest in digests]
            draft.write_bundle(SUMS, accumulator.state() | {"files": np.array(files, dtype=str)})
            stored = time.monotonic()
            store_from = stored + (READ_PER_STORE * (stored - begun) if stored - begun > LONG else 0)
        context.progress("averaging sessions", len(accumulator.sessions_done), len(numbers))
    refuse_changes()
    return accumulator, refuse_changes


def _leaving_out(context: StageContext, recording: Recording, session: int) -> str:
    """Say how to leave a session out, if the reader has a way and others stay."""
    if session in recording.apart:  # is no session that a list of sessions chooses
        return ""
    others = [number for number in recording.session_numbers if number != session and number not in recording.apart]
    remedy = context.experiment.dataset.leaving_out(others) if others else ""
    return f"; or leave the session out: {remedy}" if remedy else ""


def _short_list(names: Sequence[str]) -> str:
    """List the first names, and how many there are more."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}"


def _resumed(context: StageContext, draft: Draft, recording: Recording) -> ResponseAccumulator:
    from braindiffuser.datasets.responses import ResponseAccumulator

    config = context.experiment.responses
    by_ceiling = config.min_noise_ceiling > 0 and config.voxel_choice == "inductive"
    new = ResponseAccumulator(
        recording.trials,
        recording.n_voxels,
        config.normalisation,
        by_ceiling,
        config.noise_ceiling,
        recording.stimuli_apart,
    )
    if draft.holds(SUMS):
        state = draft.read_bundle(SUMS)
        if not {*new.state(), "files"} <= state.keys():
            context.progress(
                "Partial sums of an earlier version lack what is checked now: sessions are read again.", 1, 1
            )
        else:
            accumulator = ResponseAccumulator.from_state(recording.trials, state, recording.stimuli_apart)
            if state["files"].tolist() == _hashes(context, recording, accumulator.sessions_done):
                return accumulator
    draft.clear()  # what was made of other sums
    return new


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
        f"{MADE}/**",
        "arrays/stimuli/**",
        "test_sets.json",
        "subject.json",
        SUMS,
        "arrays/responses/**",
        "arrays/ncsnr/**",
        "rois.npz",
        "trials.csv",
        VOXELS,
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
