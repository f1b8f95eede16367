"""The order of stages: prepare → extract → fit → reconstruct → evaluate → analyse → report.

Every stage reads what earlier ones stored, computes the blocks that are not there yet, and stores them. A finished stage is
not run again; a killed one goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.analysis.roi import Lengths, maximise, roi_patterns
from braindiffuser.config import Experiment
from braindiffuser.data.noise_ceiling import noise_ceiling, summarise_regions
from braindiffuser.data.nsd import open_captions
from braindiffuser.data.recording import Recording
from braindiffuser.data.responses import ResponseAccumulator
from braindiffuser.data.rois import MAXIMISED_REGIONS
from braindiffuser.data.simulated import held_out_ids, simulate
from braindiffuser.errors import RunError
from braindiffuser.features.clip import extract_text_tokens, extract_vision_tokens, null_tokens
from braindiffuser.features.vdvae import extract_latents
from braindiffuser.models.vdvae import VDVAE
from braindiffuser.models.weights import load_autoencoder, load_clip, load_unet, load_vdvae
from braindiffuser.reconstruction.diffusion import DiffusionNetworks, Embeddings
from braindiffuser.reconstruction.diffusion import reconstruct as diffuse
from braindiffuser.reconstruction.low_level import reconstruct_low_level
from braindiffuser.regression.decoder import Decoder, load_decoder, save_decoder
from braindiffuser.regression.ridge import RidgeCV
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

PICTURE_SOURCES = {
    "final": ("predictions", True),
    "from_true_features": ("truth", True),
    "without_low_level": ("predictions", False),
}
"""Each kind of reconstruction: whose features it is made from, and whether it starts from the low-level picture."""

ON_DEVICE = ("extract", "reconstruct", "evaluate", "analyse")
"""Stages that run networks."""

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
    store.write_array("responses/train", responses.train)
    held_out_last = np.argsort(np.isin(responses.test_ids, held_out_ids(run.nsd_root)), kind="stable")
    store.write_array("responses/test", responses.test[held_out_last])
    store.write_array("responses/n_repeats_test", responses.n_repeats_test[held_out_last])
    store.write_array("stimuli/train_ids", responses.train_ids)
    store.write_array("stimuli/test_ids", responses.test_ids[held_out_last])
    store.write_array("ncsnr", responses.ncsnr)
    store.write_bundle("rois.npz", dict(recording.roi_masks))
    store.write_table("trials.csv", recording.trials)


def _accumulate(run: Run, recording: Recording) -> ResponseAccumulator:
    sums, normalisation = "sums.npz", run.experiment.data.normalisation
    if run.store.path(sums).exists():
        accumulator = ResponseAccumulator.from_state(recording.trials, run.store.read_bundle(sums))
    else:
        accumulator = ResponseAccumulator(recording.trials, recording.n_voxels, normalisation)
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
    for split, place in (("train", "targets"), ("test", "truth")):
        ids = run.stimulus_ids(split)
        for name, make in {"latents": latents, "vision": vision, "text": text}.items():

            def make_rows(rows: slice, make: FeatureMaker = make, ids: Int[np.ndarray, " n"] = ids) -> np.ndarray:
                return make(ids[rows])

            shape = (len(ids), *make(ids[:1]).shape[1:])
            store.fill(f"{place}/{name}", shape, make_rows, _labelled(run, f"{split} {name}"))


@_stage
def fit(run: Run) -> None:
    """Training responses and targets → decoders → predictions for the test responses."""
    store, config = run.store, run.experiment.regression
    responses = {split: store.read_array(f"responses/{split}") for split in ("train", "test")}
    fingerprint = run.recording().fingerprint
    for number, name in enumerate(TARGETS):
        run.progress("fitting decoders", number, len(TARGETS))
        targets = store.read_array(f"targets/{name}")
        path = store.path(f"decoders/{name}.safetensors")
        if path.exists():
            decoder = load_decoder(path, fingerprint)
        else:
            estimator = RidgeCV(getattr(config.alphas, name), n_folds=config.n_folds)
            estimator.fit(responses["train"], targets.reshape(len(targets), -1))
            decoder = Decoder.from_estimator(estimator, fingerprint, config.calibration, _fit_facts(name, estimator))
            save_decoder(path, decoder)
        apart = [decoder.decode(responses["test"][rows]) for rows in run.test_sets.values()]
        decoded = np.concatenate(apart).astype(np.float32)  # also where a calibration looks at the whole set
        store.write_array(f"predictions/{name}", decoded.reshape(-1, *targets.shape[1:]))
    run.progress("fitting decoders", len(TARGETS), len(TARGETS))


def _generators(run: Run) -> tuple[VDVAE, DiffusionNetworks]:
    device = run.experiment.device
    unet, autoencoder = _load(run, "unet", load_unet), _load(run, "autoencoder", load_autoencoder)
    return _load(run, "vdvae", load_vdvae).to(device), DiffusionNetworks(unet.to(device), autoencoder.to(device))


@_stage
def reconstruct(run: Run) -> None:
    """Predictions → low-level pictures → reconstructions; the same from true features, and without the low level."""
    ids, store = run.stimulus_ids("test"), run.store
    vdvae, networks = _generators(run)
    for kind, source in (("low_level", "predictions"), ("low_level_from_true_features", "truth")):
        latents = store.read_array(f"{source}/latents")

        def generate(rows: list[int], latents: Float[np.ndarray, "n d"] = latents) -> Pictures:
            small = reconstruct_low_level(
                vdvae, latents[rows], ids[rows], run.experiment.low_level, run.experiment.seed
            )
            return images.resize(small, int(networks.autoencoder.config.sample_size))

        _make_pictures(run, kind, len(ids), generate)
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
        targets = {name: _maximise(run, name, patterns, lengths) for name in TARGETS}
        vdvae, networks = _generators(run)
        one_noise = np.zeros(len(patterns), np.int64)  # for all regions, so that pictures differ by region alone
        small = reconstruct_low_level(
            vdvae, targets["latents"], one_noise, run.experiment.low_level, run.experiment.seed
        )
        low_level = images.resize(small, int(networks.autoencoder.config.sample_size))
        null = Embeddings(store.read_array("null/vision"), store.read_array("null/text"))
        embeddings = Embeddings(
            *(targets[name].reshape(-1, *store.read_array(f"null/{name}").shape[1:]) for name in ("vision", "text"))
        )
        made = diffuse(
            networks,
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


def _maximise(
    run: Run, name: str, patterns: Float[np.ndarray, "n_rois n_voxels"], lengths: Lengths
) -> Float[np.ndarray, "n_rois d"]:
    decoder = load_decoder(run.store.path(f"decoders/{name}.safetensors"), run.recording().fingerprint)
    mean, std = decoder.calibration.training_mean, decoder.calibration.training_std
    if mean is None or std is None:
        raise RunError(f"the decoder of {name} knows no training targets' mean and std: run fit again (--overwrite)")
    return maximise(name, decoder.project(patterns), decoder.intercept, mean, std, lengths)


@_stage
def report(run: Run) -> None:
    """Stored numbers and pictures → one page; its gallery and its table also as files of their own."""
    summary, store = summarise_run(run), run.store
    store.write_image("report/gallery.png", render_gallery(summary))
    store.write_text("report/scores.md", scores_markdown(summary.scores) + "\n")
    store.write_text("report/index.html", render_page(summary))


def _labelled(run: Run, label: str) -> Callable[[int, int], None]:
    return lambda done, total: run.progress(f"extracting: {label}", done, total)


def _fit_facts(name: str, estimator: RidgeCV) -> dict[str, Any]:
    return {
        "target_group": name,
        "alpha": float(estimator.best_alphas_[0]),
        "alpha_at_edge_of_grid": bool(estimator.at_edge_.any()) and np.size(estimator.alphas) > 1,
        "mean_cv_r2": float(np.nanmean(estimator.cv_scores_.max(axis=0))),
    }
