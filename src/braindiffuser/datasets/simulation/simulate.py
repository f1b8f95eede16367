"""A simulated subject: composed scenes, a brain whose truth is known, and the recording, written as NSD writes its own.

The folder has NSD's file names, shapes, number types and numbering, so NSD's reader reads it. What only a simulation
can know lies beside it in `truth/`:

| file | holds |
|---|---|
| `scenes.csv` | one row per stimulus: object, category, background, box, split |
| `voxels.csv` | one row per voxel of the brain mask, in C order: see `simulation.brain.draw_brain` |
| `responses.safetensors` | `responses` without noise: rows by 0-based stimulus id, columns nsdgeneral in C order |
| `files.json` | size of every file, in bytes, so that a lost or cut one is noticed |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from enum import IntEnum
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32
from safetensors.numpy import load_file, save_file
from scipy.ndimage import gaussian_filter

from braindiffuser.arrays import Matrix, RawPictures, Responses
from braindiffuser.datasets.nsd_layout import SCENES, SIMULATED, betas_folder
from braindiffuser.datasets.simulation import brain as brains
from braindiffuser.datasets.simulation import nsd_files as files
from braindiffuser.datasets.simulation.scenes import Scene, compose_scenes
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.errors import RecordingError, reason
from braindiffuser.files import alone_in, replacing, state_of
from braindiffuser.images import from_uint8
from braindiffuser.networks.efficientnet_lite import load_efficientnet_lite
from braindiffuser.plain_data import read_json, write_json
from braindiffuser.progress import Progress, silent

FILES = Path("truth") / "files.json"
"""Size of every file of a complete recording, so that a lost or cut one is noticed."""
TOPS = ("nsddata", "nsddata_betas", "nsddata_stimuli", "annots", "truth")
"""Folders that a recording is written to."""
NOISE_WIDTH = 0.5
"""Standard deviation in voxels of the Gaussian that correlates the noise of neighbours (0.26 between the nearest)."""
DRIFT_OFFSET, DRIFT_GAIN = 0.3, 0.1
"""Standard deviations over sessions of a voxel's offset (percent signal change) and of the logarithm of its gain."""
PICTURES_AT_ONCE = 256


class _Purpose(IntEnum):
    """Each purpose has its own random numbers, seeded by (seed, purpose, number)."""

    SCENES = 1
    DESIGN = 2
    BRAIN = 3
    WEIGHTS = 4
    DROPOUT = 5
    BEHAVIOUR = 6
    DRIFT = 7
    NOISE = 8


def _rng(config: SimulatedSubject, purpose: _Purpose, number: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, purpose, number])


def simulate(folder: Path, config: SimulatedSubject, progress: Progress = silent, *, is_locked: bool = False) -> Path:
    """Write a simulated recording, while other processes are kept out.

    An interrupted simulation resumes from the files that it noted as written, and yields the same files.

    Args:
        folder: becomes the root of the recording (`nsddata`, `nsddata_betas`, … under it); made if it does not exist.
        config: what to simulate.
        progress: called as progress(label, done, total).
        is_locked: whether the caller keeps other processes out.

    Returns:
        `folder`.

    Raises:
        RecordingError: if `folder` holds a recording with other settings, one that was not simulated, or a file that was
            changed; or if the grid is too small for the voxels.
        RunError: if another process works there.
        DependencyError: if the package with EfficientNet-Lite2's checkpoint is missing.
    """
    folder = Path(folder)
    if not _is_complete(folder, config):
        folder.mkdir(parents=True, exist_ok=True)
        with nullcontext() if is_locked else alone_in(folder):
            _write(folder, config, progress)
    return folder


def _write(folder: Path, config: SimulatedSubject, progress: Progress) -> None:
    _write_summary(folder, config, complete=False, written=_noted(folder))
    design = files.draw_design(
        config.n_shared,
        config.n_pictures,
        config.n_repeats,
        config.trials_per_session,
        _rng(config, _Purpose.DESIGN, 0),
    )
    brain = brains.draw_brain(
        config.grid, config.n_early, config.n_higher, _rng(config, _Purpose.BRAIN, config.subject)
    )
    raw, scenes, held_out = _compose_stimuli(config, design)
    _write_stimuli(folder, config, design, raw, scenes, held_out)
    _write_anatomy(folder, config, brain)
    responses = _noiseless_responses(folder, config, design, brain, raw, scenes, progress)
    _write_sessions(folder, config, design, brain, responses, progress)
    files.write_ncsnr(folder, config.subject, _session_paths(folder, config), design, brain)
    write_json(folder / FILES, _bytes_of_files(folder))
    _write_summary(folder, config, complete=True)


def _is_complete(folder: Path, config: SimulatedSubject) -> bool:
    """Return whether a folder holds the whole recording.

    Raises:
        RecordingError: if it holds another recording, or files that were changed.
    """
    summary_path = folder / SIMULATED
    if not summary_path.exists():
        foreign = [name for name in TOPS if (folder / name).exists()]
        if foreign:
            raise RecordingError(f"{folder} holds {foreign[0]}, which was not simulated: choose an empty folder")
        return False
    try:
        summary = json.loads(summary_path.read_bytes())
    except (ValueError, RecursionError):
        summary = None
    if not isinstance(summary, dict) or not isinstance(summary.get("config"), dict):
        raise RecordingError(f"{summary_path} is damaged, or not of a simulated recording: choose an empty folder")
    wanted = config.model_dump(mode="json")
    if summary["config"] != wanted:
        others = [f"{key} {summary['config'].get(key)}" for key in wanted if summary["config"].get(key) != wanted[key]]
        raise RecordingError(
            f"{folder} holds a simulated recording with other settings ({', '.join(others)}):"
            " remove it or choose another folder"
        )
    if not summary.get("complete"):
        return False
    listed = folder / FILES
    if not listed.is_file():  # simulated before files were listed
        return all(path.exists() for path in _session_paths(folder, config))
    try:
        sizes = {str(name): int(size) for name, size in read_json(listed).items()}
    except (ValueError, TypeError) as error:
        raise RecordingError(
            f"{listed} is damaged ({reason(error)}): remove this file, and the recording is written again"
        ) from error
    changed = [name for name in sizes if (folder / name).is_file() and (folder / name).stat().st_size != sizes[name]]
    if changed:
        raise RecordingError(
            f"{folder / changed[0]} was changed since it was written: remove this file, or choose another folder"
        )
    return all((folder / name).is_file() for name in sizes)


def _session_paths(folder: Path, config: SimulatedSubject) -> list[Path]:
    betas = betas_folder(folder, config.subject)
    return [betas / f"betas_session{number:02}.{config.betas_format}" for number in range(1, config.n_sessions + 1)]


def _write_summary(
    folder: Path, config: SimulatedSubject, *, complete: bool, written: Mapping[str, str] | None = None
) -> None:
    summary = {
        "config": config.model_dump(mode="json"),
        "complete": complete,
        "sizes": {
            "n_pictures": config.n_pictures,
            "n_shared": config.n_shared,
            "n_designed_sessions": config.n_designed_sessions,
            "n_sessions": config.n_sessions,
            "n_trials": config.n_sessions * config.trials_per_session,
            "n_voxels": config.n_early + config.n_higher,
        },
        **({"written": dict(written)} if written else {}),
    }
    write_json(folder / SIMULATED, summary)


def _noted(folder: Path) -> dict[str, str]:
    """Return the hashes of the files that take long to make, noted while the recording is incomplete."""
    summary = read_json(folder / SIMULATED) if (folder / SIMULATED).exists() else {}
    written = summary.get("written")
    return dict(written) if isinstance(written, dict) else {}


def _is_as_noted(folder: Path, path: Path) -> bool:
    return path.is_file() and state_of(path).sha256 == _noted(folder).get(path.relative_to(folder).as_posix())


def _note(folder: Path, config: SimulatedSubject, path: Path) -> None:
    named = {path.relative_to(folder).as_posix(): state_of(path).sha256}
    _write_summary(folder, config, complete=False, written=_noted(folder) | named)


def _bytes_of_files(folder: Path) -> dict[str, int]:
    paths = [path for top in TOPS for path in sorted((folder / top).rglob("*"))]
    files_there = [
        path for path in paths if path.is_file() and not path.name.startswith(".") and path != folder / FILES
    ]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files_there}


def _compose_stimuli(config: SimulatedSubject, design: files.Design) -> tuple[RawPictures, list[Scene], set[int]]:
    """Compose all stimuli by 0-based id; some of the shared ones show held-out photographs."""
    chosen = _rng(config, _Purpose.SCENES, 0).choice(design.shared, config.n_held_out, replace=False)
    held_out = {int(stimulus) - 1 for stimulus in chosen}
    # a large number, unlike the seeds that networks are trained with, so that no network has seen a stimulus
    seed = int(np.random.SeedSequence([config.seed, _Purpose.SCENES]).generate_state(1)[0])
    raw, scenes = compose_scenes(config.n_pictures, seed, config.size)
    for stimulus in held_out:
        picture, scene = compose_scenes(1, seed, config.size, "held_out", stimulus)
        raw[stimulus], scenes[stimulus] = picture[0], scene[0]
    return raw, scenes, held_out


def _write_stimuli(
    folder: Path,
    config: SimulatedSubject,
    design: files.Design,
    raw: RawPictures,
    scenes: list[Scene],
    held_out: set[int],
) -> None:
    files.write_design(folder, design)
    files.write_stimuli(folder, raw, [scene.captions for scene in scenes])
    rng = _rng(config, _Purpose.BEHAVIOUR, config.subject)
    n_trials = config.n_sessions * config.trials_per_session
    files.write_behaviour(folder, config.subject, design, n_trials, rng)
    rows = [
        {
            "stimulus_id": number,
            "object": scene.object_name,
            "category": scene.category,
            "background": scene.background_name,
            "background_category": scene.background_category,
            **dict(zip(("left", "top", "right", "bottom"), scene.box, strict=True)),
            "split": "held_out" if number in held_out else "test" if number + 1 in design.shared else "train",
        }
        for number, scene in enumerate(scenes)
    ]
    with replacing(folder / SCENES) as path:
        pd.DataFrame(rows).to_csv(path, index=False)


def _write_anatomy(folder: Path, config: SimulatedSubject, brain: pd.DataFrame) -> None:
    files.write_anatomy(folder, config.subject, config.grid, brain, brains.ROI_LABELS)
    dropouts = _dropouts(config, brain)
    for number in range(1, config.n_sessions + 1):
        valid = np.isin(brain.index, [voxel for voxel, session in dropouts.items() if session == number], invert=True)
        files.write_validity(folder, config.subject, config.grid, brain, valid.astype(np.int16), number)
    share = np.ones(len(brain), np.float32)
    share[list(dropouts)] -= np.float32(1 / config.n_sessions)
    files.write_validity(folder, config.subject, config.grid, brain, share)
    table = brain.assign(dropout_session=pd.Series(dropouts, dtype="Int64").reindex(brain.index))
    with replacing(folder / "truth" / "voxels.csv") as path:
        table.drop(columns="depth").to_csv(path, index=False)


def _dropouts(config: SimulatedSubject, brain: pd.DataFrame) -> dict[int, int]:
    """Map the rows of voxels that fail in one session to that session."""
    rng = _rng(config, _Purpose.DROPOUT, config.subject)
    voxels = rng.choice(np.flatnonzero(brain["nsdgeneral"]), config.n_dropouts, replace=False)
    return {int(voxel): int(rng.integers(1, config.n_sessions + 1)) for voxel in voxels}


def _noiseless_responses(
    folder: Path,
    config: SimulatedSubject,
    design: files.Design,
    brain: pd.DataFrame,
    raw: RawPictures,
    scenes: list[Scene],
    progress: Progress,
) -> Responses:
    """Compute or read the noiseless responses (n_pictures, voxels of nsdgeneral), in percent signal change."""
    path = folder / "truth" / "responses.safetensors"
    if _is_as_noted(folder, path):
        return load_file(path)["responses"]
    training_first = np.argsort(np.isin(np.arange(config.n_pictures) + 1, design.shared), kind="stable")
    responding = brain[brain["nsdgeneral"] > 0].reset_index(drop=True)
    signals = np.empty((config.n_pictures, len(responding)), np.float32)
    ordered = raw[training_first]
    rng = _rng(config, _Purpose.WEIGHTS, config.subject)
    is_early = (responding["kind"] == "early").to_numpy()
    signals[:, is_early] = _early_signals(config, responding[is_early], ordered, rng, progress)
    ordered_scenes = [scenes[number] for number in training_first]
    signals[:, ~is_early] = _higher_signals(config, responding[~is_early], ordered, ordered_scenes, rng, progress)
    signals = brains.standardise_by_first(signals, config.n_train)
    responses = np.empty_like(signals)
    mean, sd = (responding[name].to_numpy(np.float32) for name in ("mean", "signal_sd"))
    responses[training_first] = mean + sd * signals
    with replacing(path) as temporary:
        save_file({"responses": responses}, temporary)
    _note(folder, config, path)
    return responses


def _early_signals(
    config: SimulatedSubject, voxels: pd.DataFrame, raw: RawPictures, rng: np.random.Generator, progress: Progress
) -> Matrix:
    pooling = brains.prf_pooling(*(voxels[name].to_numpy() for name in ("prf_x", "prf_y", "prf_size")))
    weights = brains.draw_channel_weights(len(voxels), rng)
    pooled = np.empty((brains.N_CHANNELS, len(raw), len(voxels)), np.float32)
    for start in range(0, len(raw), PICTURES_AT_ONCE):
        block = slice(start, start + PICTURES_AT_ONCE)
        pooled[:, block] = brains.pooled_channels(from_uint8(raw[block]), pooling)
        progress("simulating early voxels", min(block.stop, len(raw)), len(raw))
    return brains.weigh_channels(pooled, weights, config.n_train)


def _higher_signals(
    config: SimulatedSubject,
    voxels: pd.DataFrame,
    raw: RawPictures,
    scenes: list[Scene],
    rng: np.random.Generator,
    progress: Progress,
) -> Matrix:
    network = load_efficientnet_lite("lite2", input_size=brains.NETWORK_INPUT)
    blocks = []
    for start in range(0, len(raw), PICTURES_AT_ONCE):
        blocks.append(brains.network_features(network, from_uint8(raw[start : start + PICTURES_AT_ONCE])))
        progress("simulating higher voxels", min(start + PICTURES_AT_ONCE, len(raw)), len(raw))
    features = brains.standardise_by_first(np.concatenate(blocks), config.n_train)
    training = scenes[: config.n_train]
    shows = {
        category: np.array([category in (scene.category, scene.background_category) for scene in training])
        for category in brains.PREFERENCES.values()
    }
    weights = brains.draw_feature_weights(features[: config.n_train], shows, voxels["prefers"].tolist(), rng)
    signals: Matrix = features @ weights
    return signals


def _write_sessions(
    folder: Path,
    config: SimulatedSubject,
    design: files.Design,
    brain: pd.DataFrame,
    responses: Responses,
    progress: Progress,
) -> None:
    trial_stimuli = design.trial_stimuli(config.subject)
    dropouts = _dropouts(config, brain)
    for number, path in enumerate(_session_paths(folder, config), 1):
        if not _is_as_noted(folder, path):
            first = (number - 1) * config.trials_per_session
            shown = responses[trial_stimuli[first : first + config.trials_per_session]]
            betas = _record_session(config, number, brain, shown)
            betas[:, [voxel for voxel, session in dropouts.items() if session == number]] = 0
            files.write_betas(path, betas, brain, config.grid)
            _note(folder, config, path)
        progress("recording sessions", number, config.n_sessions)


def _record_session(
    config: SimulatedSubject, number: int, brain: pd.DataFrame, shown: Float32[np.ndarray, "n_trials n_voxels"]
) -> Float32[np.ndarray, "n_trials n_brain"]:
    """Record the trials of one session: beta = offset + gain · (response + noise_sd · noise).

    Offset and gain drift from session to session, by voxel.

    Args:
        config: the subject.
        number: of the session, from 1.
        brain: table of the voxels of the brain.
        shown: noiseless responses (n_trials, voxels of nsdgeneral) to what the session shows.

    Returns:
        Percent signal change (n_trials, voxels of the brain).
    """
    drift = _rng(config, _Purpose.DRIFT, 100 * number + config.subject)
    offset = drift.normal(0, DRIFT_OFFSET, len(brain)).astype(np.float32)
    gain = np.exp(drift.normal(0, DRIFT_GAIN, len(brain))).astype(np.float32)
    noise = _spatial_noise(len(shown), config.grid, _rng(config, _Purpose.NOISE, 100 * number + config.subject))
    betas = noise[:, brain["x"], brain["y"], brain["z"]] * brain["noise_sd"].to_numpy(np.float32)
    betas[:, brain["nsdgeneral"] > 0] += shown
    recorded: Float32[np.ndarray, "n_trials n_brain"] = offset + gain * betas
    return recorded


def _spatial_noise(
    n_trials: int, grid: tuple[int, int, int], rng: np.random.Generator
) -> Float32[np.ndarray, "n_trials x y z"]:
    """Draw noise of variance 1 that neighbours share in part: white noise smoothed with a Gaussian of `NOISE_WIDTH`."""
    white = rng.standard_normal((n_trials, *grid), dtype=np.float32)
    impulse = np.zeros(33)
    impulse[16] = 1
    norm = np.linalg.norm(gaussian_filter(impulse, NOISE_WIDTH)) ** 3
    smooth: Float32[np.ndarray, "n_trials x y z"] = gaussian_filter(white, NOISE_WIDTH, mode="wrap", axes=(1, 2, 3))
    return smooth / np.float32(norm)
