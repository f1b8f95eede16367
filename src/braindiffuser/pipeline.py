"""The order of stages: prepare → extract → fit → reconstruct → evaluate → report.

Every stage reads what earlier ones stored, computes the blocks that are not there yet, and stores them. A finished stage is
not run again; a killed one goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.config import Experiment, flatten, identity
from braindiffuser.data.noise_ceiling import noise_ceiling, summarise_regions
from braindiffuser.data.nsd import open_captions, open_nsd, open_stimuli
from braindiffuser.data.recording import Recording
from braindiffuser.data.responses import ResponseAccumulator
from braindiffuser.data.simulated import simulate
from braindiffuser.errors import RunError
from braindiffuser.evaluation.metrics import DEMO, Scorer
from braindiffuser.evaluation.networks import load_efficientnet_lite0
from braindiffuser.evaluation.trust import ScoreSets, mean_image, summarise
from braindiffuser.features.clip import embed_pictures, extract_text_tokens, extract_vision_tokens, null_tokens
from braindiffuser.features.vdvae import extract_latents
from braindiffuser.models.weights import hash_checkpoint, load_autoencoder, load_clip, load_unet, load_vdvae
from braindiffuser.reconstruction.diffusion import DiffusionNetworks, Embeddings
from braindiffuser.reconstruction.diffusion import reconstruct as diffuse
from braindiffuser.reconstruction.low_level import reconstruct_low_level
from braindiffuser.regression.decoder import Decoder, load_decoder, save_decoder
from braindiffuser.regression.ridge import RidgeCV
from braindiffuser.report.gallery import render_gallery
from braindiffuser.report.html import RunSummary, render_page
from braindiffuser.report.tables import scores_markdown
from braindiffuser.store import Store, environment

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many parts of it are done, and how many there are."""

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

INFLUENCES = {
    "prepare": ("simulation", "data"),
    "extract": ("latents", "checkpoints.vdvae", "checkpoints.clip"),
    "fit": ("regression",),
    "reconstruct": ("seed", "low_level", "diffusion", "checkpoints.autoencoder", "checkpoints.unet"),
    "evaluate": ("evaluation",),
    "report": ("name",),
}
"""The entries of an experiment that each stage depends on, besides those of the stages before it."""

OUTPUTS = {
    "prepare": (
        "arrays/responses",
        "arrays/stimuli",
        "arrays/ncsnr",
        "sums.npz",
        "rois.npz",
        "trials.csv",
    ),
    "extract": ("arrays/targets", "arrays/truth", "arrays/null"),
    "fit": ("decoders", "arrays/predictions"),
    "reconstruct": ("reconstructions",),
    "evaluate": ("scores.json", "per_image.csv", "noise_ceiling.json"),
    "report": ("report",),
}
"""What each stage writes in the run's folder."""


@dataclass(frozen=True)
class Run:
    """An experiment and the folder that its results go to."""

    experiment: Experiment
    store: Store
    progress: Progress

    @classmethod
    def open(
        cls, experiment: Experiment | None, folder: Path, overwrite: bool = False, progress: Progress | None = None
    ) -> Run:
        """Open a run's folder, new or begun.

        Args:
            experiment: what to run; None takes the one that the folder holds.
            folder: where results go.
            overwrite: discard finished stages whose settings differ from the experiment's; else they are an error.
            progress: told what is being done.

        Raises:
            RunError: if no experiment is given and the folder holds none, or it holds stages of another one.
        """
        store = Store(folder)
        stored = store.manifest.get("experiment")
        if experiment is None:
            if stored is None:
                raise RunError(f"{folder} holds no run yet: name a preset or an experiment file")
            experiment = Experiment.model_validate(stored)
        run = cls(experiment, store, progress or (lambda label, done, total: None))
        run._discard_stale(overwrite)
        content = experiment.model_dump(mode="json")
        store.update_manifest(uid=experiment.uid, experiment=content, seed=experiment.seed, **environment())
        store.write_text("experiment.yaml", experiment.to_yaml())
        return run

    def stage_uid(self, stage: str) -> str:
        """Eight hexadecimal digits of all that a stage's result depends on, its networks' files among them."""
        stages = list(INFLUENCES)
        wanted = [entry for name in stages[: stages.index(stage) + 1] for entry in INFLUENCES[name]]
        flat = flatten(self.experiment.model_dump(mode="json"))
        content = {k: v for k, v in flat.items() if any(k == entry or k.startswith(f"{entry}.") for entry in wanted)}
        for network in ("vdvae", "clip", "autoencoder", "unet"):
            if f"checkpoints.{network}" in wanted:
                content[f"checkpoints.{network}"] = hash_checkpoint(self.experiment.checkpoints.folder(network))
        return identity(content)

    def _discard_stale(self, overwrite: bool) -> None:
        begun = self.store.manifest.get("stages", {})
        stale = [stage for stage in INFLUENCES if stage in begun and begun[stage]["uid"] != self.stage_uid(stage)]
        if stale and not overwrite:
            raise RunError(
                f"{self.store.folder} holds {', '.join(stale)} of a run with other settings or networks: choose another "
                "folder, or overwrite what changed (--overwrite)"
            )
        self.store.discard({stage: OUTPUTS[stage] for stage in stale})

    @property
    def nsd_root(self) -> Path:
        """Folder of the recording, in NSD's layout."""
        return self.experiment.data.root or self.store.folder / "nsd"

    def recording(self) -> Recording:
        """Open the recording."""
        data = self.experiment.data
        return open_nsd(
            self.nsd_root, data.subject, sessions=data.sessions, betas_version=data.betas_version, mask=data.mask
        )

    def stimulus_ids(self, split: str) -> Int[np.ndarray, " n"]:
        """0-based stimulus ids of a split, in the order of every array."""
        return self.store.read_array(f"stimuli/{split}_ids")

    def pictures(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read stimuli."""
        return images.from_uint8(open_stimuli(self.nsd_root).pictures(stimulus_ids))


STAGES: dict[str, Callable[[Run], None]] = {}
"""The stages in their order."""


def _stage(work: Callable[[Run], None]) -> Callable[[Run], None]:
    """Make a stage of a function: after the earlier ones, once only, with its time and memory in the manifest."""
    name, earlier = work.__name__, tuple(STAGES)

    @wraps(work)
    def guarded(run: Run) -> None:
        unfinished = [stage for stage in earlier if not run.store.is_finished(stage)]
        if unfinished:
            first = unfinished[0]
            raise RunError(f"{name} needs {first} first: braindiffuser {first} --out {run.store.folder}")
        if run.store.is_finished(name):
            run.progress(f"{name} (finished before)", 1, 1)
            return
        with run.store.stage(name, run.stage_uid(name)):
            work(run)

    STAGES[name] = guarded
    return guarded


def run_all(run: Run) -> Path:
    """Run every stage that is not finished and return the page."""
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
            raise RunError("the experiment has neither data.root nor a simulation: set one of them")
        simulate(run.nsd_root, simulation, run.progress)
    recording = run.recording()
    responses = _accumulate(run, recording).finish()
    store.write_array("responses/train", responses.train)
    store.write_array("responses/test", responses.test)
    store.write_array("responses/n_repeats_test", responses.n_repeats_test)
    store.write_array("stimuli/train_ids", responses.train_ids)
    store.write_array("stimuli/test_ids", responses.test_ids)
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


@_stage
def extract(run: Run) -> None:
    """Stimuli and captions → targets. Those of test stimuli go to `truth`, which only the ceiling is made from."""
    checkpoints, store, device = run.experiment.checkpoints, run.store, run.experiment.device
    vdvae = load_vdvae(checkpoints.folder("vdvae")).to(device)
    clip = load_clip(checkpoints.folder("clip"))
    clip.model.to(device)
    captions = open_captions(run.nsd_root)

    def latents(ids: Int[np.ndarray, " n"]) -> np.ndarray:
        return extract_latents(vdvae, run.pictures(ids), ids, run.experiment.latents, run.experiment.seed)

    def vision(ids: Int[np.ndarray, " n"]) -> np.ndarray:
        return extract_vision_tokens(clip, run.pictures(ids))

    def text(ids: Int[np.ndarray, " n"]) -> np.ndarray:
        return extract_text_tokens(clip, [captions.captions(int(stimulus_id)) for stimulus_id in ids])

    null_vision, null_text = null_tokens(clip)
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
        decoded = decoder.decode(responses["test"]).astype(np.float32)
        store.write_array(f"predictions/{name}", decoded.reshape(-1, *targets.shape[1:]))
    run.progress("fitting decoders", len(TARGETS), len(TARGETS))


@_stage
def reconstruct(run: Run) -> None:
    """Predictions → low-level pictures → reconstructions; the same from true features, and without the low level."""
    ids, store, checkpoints = run.stimulus_ids("test"), run.store, run.experiment.checkpoints
    device = run.experiment.device
    vdvae = load_vdvae(checkpoints.folder("vdvae")).to(device)
    networks = DiffusionNetworks(
        load_unet(checkpoints.folder("unet")).to(device), load_autoencoder(checkpoints.folder("autoencoder")).to(device)
    )
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
    """Pictures → scores with intervals, beside the ceiling, three baselines and two ablations."""
    ids, store, config = run.stimulus_ids("test"), run.store, run.experiment.evaluation
    clip = load_clip(run.experiment.checkpoints.folder("clip"))
    networks = {
        "efficientnet_lite0": load_efficientnet_lite0(run.experiment.device),
        "clip_demo": lambda pictures: {"embedding": embed_pictures(clip, pictures)},
    }
    seen = run.pictures(ids)
    for number in store.missing_pictures("seen", len(ids)):
        store.write_picture("seen", number, seen[number : number + 1])
    rng = np.random.default_rng([run.experiment.seed, len(ids)])
    scorer = Scorer(seen, DEMO, networks)
    made = {kind: store.read_pictures(kind, len(ids)) for kind in (*PICTURE_SOURCES, "low_level")}
    made |= _baseline_pictures(run, made["final"], rng)
    scores = {}
    for number, (kind, pictures) in enumerate(made.items()):
        run.progress("scoring", number, len(made))
        scores[kind] = scorer.score(pictures)
    run.progress("scoring", len(made), len(made))
    sets = ScoreSets(
        final=scores["final"],
        ceiling=scores["from_true_features"],
        baselines={name: scores[name] for name in ("mean_image", "random_train_image", "shuffled_responses")},
        ablations={"low_level_only": scores["low_level"], "without_low_level": scores["without_low_level"]},
    )
    ceilings = noise_ceiling(store.read_array("ncsnr"), store.read_array("responses/n_repeats_test"))
    store.write_json("noise_ceiling.json", summarise_regions(ceilings, store.read_bundle("rois.npz")))
    store.write_table(
        "per_image.csv", pd.DataFrame({"number": range(len(ids)), "stimulus_id": ids} | dict(scores["final"]))
    )
    store.write_json("scores.json", summarise(DEMO, sets, rng, config.n_resamples, config.level))


def _baseline_pictures(run: Run, final: Pictures, rng: np.random.Generator) -> dict[str, Pictures]:
    """Pictures of three decoders that know nothing of the stimulus.

    Every reconstruction is made from its own responses alone, so shuffling responses among the stimuli shuffles the
    reconstructions: that baseline is the reconstructions, each moved to another stimulus.
    """
    train_ids = run.stimulus_ids("train")
    blocks = np.array_split(train_ids, max(1, len(train_ids) // 256))
    mean = sum(run.pictures(block).sum(axis=0, dtype=np.float64) for block in blocks) / len(train_ids)
    drawn = rng.choice(train_ids, size=len(final), replace=len(final) > len(train_ids))
    shift = int(rng.integers(1, len(final))) if len(final) > 1 else 0
    order = rng.permutation(len(final))
    shuffled = np.empty_like(final)
    shuffled[order] = final[np.roll(order, shift)]
    return {
        "mean_image": mean_image(mean.astype(np.float32)[None], len(final)),
        "random_train_image": run.pictures(drawn),
        "shuffled_responses": shuffled,
    }


@_stage
def report(run: Run) -> None:
    """Stored numbers and pictures → one page; its gallery and its table also as files of their own."""
    store = run.store
    per_image = store.read_table("per_image.csv")
    kinds = ("seen", "low_level", "final", "from_true_features", "without_low_level")
    size = int(store.read_pictures("final", 1).shape[-1])
    summary = RunSummary(
        subject=f"subj{run.experiment.data.subject:02d}",
        simulated=(run.nsd_root / "simulated.json").exists(),
        manifest=store.manifest,
        scores=store.read_json("scores.json"),
        per_image=per_image,
        noise_ceiling=store.read_json("noise_ceiling.json"),
        pictures={kind: images.resize(store.read_pictures(kind, len(per_image)), size) for kind in kinds},
    )
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
