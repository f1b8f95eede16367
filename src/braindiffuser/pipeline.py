"""The order of stages: prepare → extract → fit → reconstruct → evaluate → analyse → report.

Every stage reads what earlier ones stored, computes the blocks that are not there yet, and stores them. A finished stage is
not run again; a killed one goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.analysis.roi import maximise, roi_patterns
from braindiffuser.config import Experiment
from braindiffuser.data.noise_ceiling import noise_ceiling, summarise_regions
from braindiffuser.data.nsd import open_captions
from braindiffuser.data.recording import Recording
from braindiffuser.data.responses import ResponseAccumulator, Responses, trial_responses
from braindiffuser.data.rois import MAXIMISED_REGIONS
from braindiffuser.data.simulated import held_out_ids, simulate
from braindiffuser.data.voxel_selection import select_voxels, selected_fingerprint
from braindiffuser.errors import RunError
from braindiffuser.features.clip import extract_text_tokens, extract_vision_tokens, null_tokens
from braindiffuser.features.vdvae import extract_latents
from braindiffuser.models.weights import (
    build_autoencoder,
    build_empty,
    load_autoencoder,
    load_clip,
    load_unet,
    load_vdvae,
    read_config,
)
from braindiffuser.reconstruction.diffusion import DiffusionNetworks, Embeddings
from braindiffuser.reconstruction.diffusion import reconstruct as diffuse
from braindiffuser.reconstruction.low_level import reconstruct_low_level
from braindiffuser.reconstruction.placement import place, torch_dtype
from braindiffuser.regression.decoders import Decoders, fit_decoders, load_decoders, save_decoders
from braindiffuser.regression.streaming import TargetArray
from braindiffuser.report.gallery import render_gallery
from braindiffuser.report.html import render_page
from braindiffuser.report.tables import scores_markdown
from braindiffuser.run import NEEDS, SCORES_FILES, Progress, Run, check_device
from braindiffuser.run_summary import summarise_run
from braindiffuser.scoring import evaluate_run

Network = TypeVar("Network")

FeatureMaker = Callable[[Int[np.ndarray, " n"]], np.ndarray]
"""Stimulus ids (n,) to their targets (n, …)."""

TARGETS = ("latents", "vision", "text")
"""Groups of targets, each with a decoder of its own."""

PRECISION = {"targets": "float16", "truth": "float32"}
"""How features are stored. Training targets are many and enter decoders only as sums over stimuli, where rounding of
half precision (5e-4 of a value) averages out."""

PICTURE_SOURCES = {
    "final": ("predictions", True),
    "from_true_features": ("truth", True),
    "without_low_level": ("predictions", False),
}
"""Each kind of reconstruction: whose features it is made from, and whether it starts from the low-level picture."""

ON_DEVICE = ("extract", "fit", "reconstruct", "evaluate", "analyse")
"""Stages that compute on the device."""

STAGES: dict[str, Callable[[Run], None]] = {}
"""The stages in their order."""


def _stage(work: Callable[[Run], None]) -> Callable[[Run], None]:
    """Make a stage of a function: after the earlier ones, once only, with its time and memory in the manifest."""
    name = work.__name__

    @wraps(work)
    def guarded(run: Run) -> None:
        unfinished = [stage for stage in NEEDS[name] if not run.store.is_finished(stage)]
        if unfinished:
            first = unfinished[0]
            command = "analyse roi" if first == "analyse" else first
            raise RunError(f"{name} needs {first} first: braindiffuser {command} --out {run.store.folder}")
        if run.store.is_finished(name):
            run.progress(f"{name} (finished before)", 1, 1)
            return
        if name in ON_DEVICE:
            check_device(run.experiment.device)
        with run.store.stage(name, run.stage_uid(name)):
            work(run)

    STAGES[name] = guarded
    return guarded


def run_all(run: Run) -> Path:
    """Run every stage that is not finished and return the page."""
    if not run.store.is_finished("analyse"):
        check_device(run.experiment.device)
    for stage in STAGES:
        STAGES[stage](run)
    return run.store.folder / "report" / "index.html"


def run_demo(folder: Path | str = "runs/demo", progress: Progress | None = None) -> Path:
    """Simulate a subject, decode it with the bundled networks, and return the page."""
    return run_all(Run.open(Experiment.load("demo"), Path(folder), progress=progress))


@_stage
def prepare(run: Run) -> None:
    """Betas → responses: averaged over repeats, normalised by the training set."""
    simulation, store = run.experiment.simulation, run.store
    if run.experiment.data.root is None:
        if simulation is None:
            raise RunError("the experiment has neither data.root nor a simulation: name NSD's folder (--nsd PATH)")
        subject = run.experiment.data.subject
        simulate(run.nsd_root, simulation.model_copy(update={"subject": subject}), run.progress)
    recording = run.recording()
    responses = _accumulate(run, recording).finish()
    n_train, n_folds = len(responses.train_ids), run.experiment.regression.n_folds
    if n_train < n_folds:
        raise RunError(f"regression.n_folds is {n_folds}, but there are {n_train} training stimuli: use fewer folds")
    chosen = _choose_voxels(run, recording, responses)
    if run.experiment.data.rows == "trials":
        trials, stimuli = trial_responses(recording, responses, run.experiment.data.normalisation)
        store.write_array("responses/trials", trials[:, chosen])
        store.write_array("stimuli/of_trials", stimuli)
    store.write_array("responses/train", responses.train[:, chosen])
    held_out_last = np.argsort(np.isin(responses.test_ids, held_out_ids(run.nsd_root)), kind="stable")
    store.write_array("responses/test", responses.test[held_out_last][:, chosen])
    store.write_array("responses/n_repeats_train", responses.n_repeats_train)
    store.write_array("responses/n_repeats_test", responses.n_repeats_test[held_out_last])
    store.write_array("stimuli/train_ids", responses.train_ids)
    store.write_array("stimuli/test_ids", responses.test_ids[held_out_last])
    store.write_array("ncsnr", responses.ncsnr[chosen])
    store.write_bundle("rois.npz", {name: mask[chosen] for name, mask in recording.roi_masks.items()})
    store.write_table("trials.csv", recording.trials)


def _choose_voxels(run: Run, recording: Recording, responses: Responses) -> Bool[np.ndarray, " n_voxels"]:
    data = run.experiment.data
    ceilings = np.full(recording.n_voxels, np.nan)
    if responses.training_ncsnr is not None:
        ceilings = noise_ceiling(responses.training_ncsnr, responses.n_repeats_train)
    chosen = select_voxels(recording.roi_masks, ceilings, data.rois, data.min_noise_ceiling)
    choice = {
        "rois": list(data.rois),
        "min_noise_ceiling": data.min_noise_ceiling,
        "n_analysed": recording.n_voxels,
        "n_chosen": int(chosen.sum()),
        "fingerprint": selected_fingerprint(recording.fingerprint, chosen),
    }
    run.store.write_json("voxels.json", choice)
    run.store.update_manifest(voxels=choice)
    return chosen


def _accumulate(run: Run, recording: Recording) -> ResponseAccumulator:
    sums, normalisation = "sums.npz", run.experiment.data.normalisation
    if run.store.path(sums).exists():
        accumulator = ResponseAccumulator.from_state(recording.trials, run.store.read_bundle(sums))
    else:
        by_ceiling = run.experiment.data.min_noise_ceiling > 0
        accumulator = ResponseAccumulator(recording.trials, recording.n_voxels, normalisation, by_ceiling)
    total = len(recording.session_numbers)
    for session, betas in recording.sessions(skip=accumulator.sessions_done):
        accumulator.add(session, betas)
        run.store.write_bundle(sums, accumulator.state())
        run.progress("averaging sessions", len(accumulator.sessions_done), total)
    return accumulator


def _load(run: Run, network: str, load: Callable[[Path], Network]) -> Network:
    folder = run.experiment.checkpoints.folder(network)
    try:
        return load(folder)
    except (OSError, ValueError) as error:
        raise RunError(
            f"checkpoints.{network} cannot be used: {error}. Name a whole checkpoint folder, or install braindiffuser again"
        ) from error


@_stage
def extract(run: Run) -> None:
    """Stimuli and captions → targets. Those of test stimuli go to `truth`, which only the ceiling is made from."""
    store, device = run.store, run.experiment.device
    vdvae = _load(run, "vdvae", load_vdvae).to(device)
    clip = _load(run, "clip", load_clip)
    clip.model.to(device)
    captions = open_captions(run.nsd_root)

    def latents(ids: Int[np.ndarray, " n"]) -> np.ndarray:
        return extract_latents(vdvae, run.pictures(ids), ids, run.experiment.latents, run.experiment.seed)

    def vision(ids: Int[np.ndarray, " n"]) -> np.ndarray:
        return extract_vision_tokens(clip, run.pictures(ids), run.experiment.embeddings.resizing)

    def text(ids: Int[np.ndarray, " n"]) -> np.ndarray:
        return extract_text_tokens(clip, [captions.captions(int(stimulus_id)) for stimulus_id in ids])

    null_vision, null_text = null_tokens(clip, run.experiment.embeddings.resizing)
    store.write_array("null/vision", null_vision)
    store.write_array("null/text", null_text)
    for split, folder in (("train", "targets"), ("test", "truth")):
        ids = run.stimulus_ids(split)
        for name, make in {"latents": latents, "vision": vision, "text": text}.items():

            def make_rows(rows: slice, make: FeatureMaker = make, ids: Int[np.ndarray, " n"] = ids) -> np.ndarray:
                return make(ids[rows])

            shape = (len(ids), *make(ids[:1]).shape[1:])
            store.fill(f"{folder}/{name}", shape, make_rows, _labelled(run, f"{split} {name}"), PRECISION[folder])


@_stage
def fit(run: Run) -> None:
    """Training responses and targets → decoders → predictions for the test responses."""
    store, config = run.store, run.experiment.regression
    path = store.path("decoders/decoders.safetensors")
    if path.exists():
        decoders = _decoders(run)
    else:
        decoders = fit_decoders(
            run.training_rows(),
            _training_targets(run),
            config.alphas.model_dump(),
            run.fingerprint,
            calibration=config.calibration,
            n_folds=config.n_folds,
            device=run.experiment.device,
            progress=lambda done, total: run.progress("choosing alpha and calibration", done, total),
        )
        save_decoders(path, decoders)
    told = partial(run.progress, "predicting features of the test stimuli")
    for name, made in decoders.predict(store.read_array("responses/test"), told):
        apart = [made.calibration.apply(made.values[rows]) for rows in run.test_sets.values()]
        decoded = np.concatenate(apart).astype(np.float32)  # apart also where a calibration looks at the whole set
        store.write_array(f"predictions/{name}", decoded.reshape(-1, *decoders.targets[name].shape[1:]))


def _training_targets(run: Run) -> dict[str, TargetArray]:
    return {name: run.store.open_array(f"targets/{name}") for name in TARGETS}


def _decoders(run: Run) -> Decoders:
    path = run.store.path("decoders/decoders.safetensors")
    return load_decoders(path, run.training_rows(), _training_targets(run), run.fingerprint, run.experiment.device)


LowLevelMaker = Callable[[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]], Pictures]
"""Latents and picture ids to low-level pictures, of the size that the second stage starts from."""


def _low_level_maker(run: Run) -> LowLevelMaker:
    """Load the first stage's network, which goes when this function is dropped: before the second stage's are loaded."""
    vdvae = _load(run, "vdvae", load_vdvae).to(run.experiment.device)
    autoencoder = _load(run, "autoencoder", lambda folder: build_empty(build_autoencoder, read_config(folder)))
    size = int(autoencoder.config.sample_size)

    def make(latents: Float[np.ndarray, "n d"], picture_ids: Int[np.ndarray, " n"]) -> Pictures:
        config, seed = run.experiment.low_level, run.experiment.seed
        return images.resize(reconstruct_low_level(vdvae, latents, picture_ids, config, seed), size)

    return make


def _diffusion_networks(run: Run) -> DiffusionNetworks:
    device, config = run.experiment.device, run.experiment.diffusion
    dtype = torch_dtype(config.precision, device)
    unet = _load(run, "unet", lambda folder: load_unet(folder, dtype))
    autoencoder = _load(run, "autoencoder", lambda folder: load_autoencoder(folder, dtype))
    return DiffusionNetworks(place(unet, device, config.offload), place(autoencoder, device, config.offload), device)


@_stage
def reconstruct(run: Run) -> None:
    """Predictions → low-level pictures → reconstructions; the same from true features, and without the low level."""
    _make_low_level_pictures(run)
    ids, store, networks = run.stimulus_ids("test"), run.store, _diffusion_networks(run)
    null = Embeddings(store.read_array("null/vision"), store.read_array("null/text"))
    for kind, (source, from_low_level) in PICTURE_SOURCES.items():
        embeddings = Embeddings(store.read_array(f"{source}/vision"), store.read_array(f"{source}/text"))
        start = store.read_pictures(LOW_LEVEL_OF[source], len(ids)) if from_low_level else None

        def denoise(rows: list[int], embeddings: Embeddings = embeddings, start: Pictures | None = start) -> Pictures:
            chosen = Embeddings(embeddings.vision[rows], embeddings.text[rows])
            low_level = None if start is None else start[rows]
            config = run.experiment.diffusion
            return diffuse(networks, low_level, chosen, null, ids[rows], config, run.experiment.seed)

        _make_pictures(run, kind, len(ids), denoise)


LOW_LEVEL_OF = {"predictions": "low_level", "truth": "low_level_from_true_features"}


def _make_low_level_pictures(run: Run) -> None:
    ids, make = run.stimulus_ids("test"), _low_level_maker(run)
    for source, kind in LOW_LEVEL_OF.items():
        latents = run.store.read_array(f"{source}/latents")

        def generate(rows: list[int], latents: Float[np.ndarray, "n d"] = latents) -> Pictures:
            return make(latents[rows], ids[rows])

        _make_pictures(run, kind, len(ids), generate)


def _make_pictures(run: Run, kind: str, n: int, make: Callable[[list[int]], Pictures]) -> None:
    batch = run.experiment.diffusion.batch_size
    for first in range(0, n, batch):
        rows = list(range(first, min(first + batch, n)))
        if all(run.store.picture_path(kind, number).exists() for number in rows):
            continue
        for number, picture in zip(rows, make(rows), strict=True):
            run.store.write_picture(kind, number, picture[None])
        run.progress(f"reconstructing: {kind.replace('_', ' ')}", rows[-1] + 1, n)


@_stage
def evaluate(run: Run) -> None:
    """Pictures → scores with intervals, beside the ceiling, three baselines and two ablations.

    Stimuli of held-out photographs are scored apart, among themselves. Metrics whose network's weights are not on this
    machine are left out, and said so.
    """
    ids, store = run.stimulus_ids("test"), run.store
    for number in store.missing_pictures("seen", len(ids)):
        store.write_picture("seen", number, run.pictures(ids[number : number + 1]))
    scores, per_image = evaluate_run(run, lambda: _load(run, "clip", load_clip))
    for name, summary in scores.items():
        store.write_json(SCORES_FILES[name], summary)
    ceilings = noise_ceiling(store.read_array("ncsnr"), store.read_array("responses/n_repeats_test"))
    store.write_json("noise_ceiling.json", summarise_regions(ceilings, store.read_bundle("rois.npz")))
    store.write_table("per_image.csv", per_image)


@_stage
def analyse(run: Run) -> None:
    """Patterns of regions → targets → through both stages, the picture that each region wants to see."""
    store, lengths = run.store, run.experiment.roi.lengths
    rois = store.read_bundle("rois.npz")
    masks = {name: rois[name] for name in MAXIMISED_REGIONS if name in rois and rois[name].any()}
    regions = [{"name": name, "n_voxels": int(mask.sum())} for name, mask in masks.items()]
    if masks:
        if lengths == "as-published" and len(masks) < 2:
            raise RunError(
                f"roi.lengths 'as-published' compares regions, and only {next(iter(masks))} has voxels: choose 'from-training'"
            )
        patterns, _ = roi_patterns(masks)
        targets = {
            name: maximise(name, made.values, made.intercept, made.training_mean, made.training_std, lengths)
            for name, made in _decoders(run).project(patterns)
        }
        one_noise = np.zeros(len(patterns), np.int64)  # for all regions, so that pictures differ by region alone
        low_level = _low_level_maker(run)(targets["latents"], one_noise)
        null = Embeddings(store.read_array("null/vision"), store.read_array("null/text"))
        embeddings = Embeddings(
            *(targets[name].reshape(-1, *store.read_array(f"null/{name}").shape[1:]) for name in ("vision", "text"))
        )
        made = diffuse(
            _diffusion_networks(run),
            low_level,
            embeddings,
            null,
            one_noise,
            run.experiment.diffusion,
            run.experiment.seed,
            lambda done, total: run.progress("drawing what regions want to see", done, total),
        )
        for number in range(len(regions)):
            store.write_picture("roi_low_level", number, low_level[number : number + 1])
            store.write_picture("roi", number, made[number : number + 1])
    store.write_json("roi_maximisation.json", {"lengths": lengths, "regions": regions})


@_stage
def report(run: Run) -> None:
    """Stored numbers and pictures → one page; its gallery and its table also as files of their own."""
    summary, store = summarise_run(run), run.store
    store.write_image("report/gallery.png", render_gallery(summary))
    store.write_text("report/scores.md", scores_markdown(summary.scores) + "\n")
    store.write_text("report/index.html", render_page(summary))


def _labelled(run: Run, label: str) -> Callable[[int, int], None]:
    return lambda done, total: run.progress(f"extracting: {label}", done, total)
