"""A run: an experiment and the folder that its results go to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.config import WITHOUT_INFLUENCE, Experiment, flatten, identity
from braindiffuser.data.nsd import open_nsd, open_stimuli
from braindiffuser.data.recording import Recording
from braindiffuser.data.simulated import held_out_ids
from braindiffuser.errors import RunError
from braindiffuser.evaluation.published_networks import NETWORKS, torchvision_folder
from braindiffuser.models.weights import hash_checkpoint
from braindiffuser.regression.training import TrainingRows
from braindiffuser.store import Store, environment
from braindiffuser.weight_files import weights_folder

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many parts of it are done, and how many there are."""

INFLUENCES = {
    "prepare": ("simulation", "data"),
    "extract": ("seed", "latents", "embeddings", "checkpoints.vdvae", "checkpoints.clip"),
    "fit": ("regression",),
    "reconstruct": ("low_level", "diffusion", "checkpoints.autoencoder", "checkpoints.unet"),
    "evaluate": ("evaluation",),
    "analyse": ("roi",),
    "report": ("name",),
}
"""The entries of an experiment that each stage depends on, besides those of the stages it needs."""

_TO_PICTURES = ("prepare", "extract", "fit", "reconstruct")
NEEDS: Mapping[str, tuple[str, ...]] = {
    "prepare": (),
    "extract": ("prepare",),
    "fit": ("prepare", "extract"),
    "reconstruct": ("prepare", "extract", "fit"),
    "evaluate": _TO_PICTURES,
    "analyse": _TO_PICTURES,
    "report": (*_TO_PICTURES, "evaluate", "analyse"),
}
"""The stages whose results each stage needs, in order."""

OUTPUTS = {
    "prepare": (
        "arrays/responses",
        "arrays/stimuli",
        "arrays/ncsnr",
        "voxels.json",
        "sums.npz",
        "rois.npz",
        "trials.csv",
    ),
    "extract": ("arrays/targets", "arrays/truth", "arrays/null"),
    "fit": ("decoders", "arrays/predictions"),
    "reconstruct": ("reconstructions",),
    "evaluate": ("scores.json", "scores_held_out.json", "per_image.csv", "noise_ceiling.json"),
    "analyse": ("roi_maximisation.json", "reconstructions/roi", "reconstructions/roi_low_level"),
    "report": ("report",),
}
"""What each stage writes in the run's folder."""

SCORES_FILES = {"test": "scores.json", "held_out": "scores_held_out.json"}
"""Where the scores of each test set are."""


NETWORK_NAMES = ("vdvae", "clip", "autoencoder", "unet")
"""The networks of an experiment, as `checkpoints` names them."""


def stored_experiment(folder: Path) -> Experiment:
    """Read the experiment that a run's folder was made by.

    Raises:
        RunError: if the folder holds no run.
    """
    stored = Store(folder).manifest.get("experiment")
    if stored is None:
        raise RunError(f"{folder} holds no run yet: name a preset or an experiment file")
    return Experiment.model_validate(stored)


def check_device(device: str) -> None:
    """Check that networks can run on a device.

    Raises:
        RunError: if there is no such device on this machine.
    """
    try:
        index, kind = torch.device(device).index or 0, torch.device(device).type
    except RuntimeError as error:
        raise RunError(f"there is no device {device!r}: choose cpu, cuda, cuda:1 …") from error
    if kind == "cuda" and index >= torch.cuda.device_count():
        raise RunError(
            f"networks are to run on {device}, but torch sees {torch.cuda.device_count()} GPUs: --device cpu does without"
        )


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
            RunError: if no experiment is given and the folder holds none, it holds stages of another one, or a network's
                checkpoint folder is missing.
        """
        store = Store(folder)
        experiment = stored_experiment(folder) if experiment is None else experiment
        for network in NETWORK_NAMES:
            if not (experiment.checkpoints.folder(network) / "model.safetensors").is_file():
                raise RunError(
                    f"checkpoints.{network} names {experiment.checkpoints.folder(network)}, which is not a checkpoint folder: "
                    "name one that holds config.json and model.safetensors; for published weights see `braindiffuser weights`"
                )
        run = cls(experiment, store, progress or (lambda label, done, total: None))
        run._discard_stale(overwrite)
        content = experiment.model_dump(mode="json")
        store.update_manifest(uid=experiment.uid, experiment=content, seed=experiment.seed, **environment())
        store.write_text("experiment.yaml", experiment.to_yaml())
        return run

    def stage_uid(self, stage: str) -> str:
        """Eight hexadecimal digits of all that a stage's result depends on, its networks' files among them."""
        wanted = [entry for name in (*NEEDS[stage], stage) for entry in INFLUENCES[name]]
        flat = flatten(self.experiment.in_force)
        content = {k: v for k, v in flat.items() if any(k == entry or k.startswith(f"{entry}.") for entry in wanted)}
        content["data.simulated"] = self.experiment.data.root is None
        for network in NETWORK_NAMES:
            if f"checkpoints.{network}" in wanted:
                content[f"checkpoints.{network}"] = hash_checkpoint(self.experiment.checkpoints.folder(network))
        return identity(content, without=() if stage == "report" else WITHOUT_INFLUENCE)

    def _discard_incomplete_scores(self) -> None:
        """Forget scores that left out networks whose weights have come since; the pictures stay."""
        if not self.store.is_finished("evaluate"):
            return
        left_out = self.store.read_json("scores.json").get("missing", {})
        folders = weights_folder(), torchvision_folder()
        if any(name in NETWORKS and NETWORKS[name].file.find(*folders) for name in left_out):
            self.store.discard({stage: OUTPUTS[stage] for stage in ("evaluate", "report")})

    def _discard_stale(self, overwrite: bool) -> None:
        begun = self.store.manifest.get("stages", {})
        stale = [stage for stage in INFLUENCES if stage in begun and begun[stage]["uid"] != self.stage_uid(stage)]
        if stale and not overwrite:
            raise RunError(
                f"{self.store.folder} holds {', '.join(stale)} of a run with other settings or networks: choose another "
                "folder, or overwrite what changed (--overwrite)"
            )
        outputs = {stage: OUTPUTS[stage] for stage in stale}
        stored = self.store.manifest.get("experiment", {})
        if "prepare" in stale and stored.get("simulation") != self.experiment.model_dump(mode="json")["simulation"]:
            outputs["prepare"] = (*OUTPUTS["prepare"], "nsd")
        self.store.discard(outputs)
        self._discard_incomplete_scores()

    @property
    def nsd_root(self) -> Path:
        """Folder of the recording, in NSD's layout."""
        return self.experiment.data.root or self.store.folder / "nsd"

    def recording(self) -> Recording:
        """Open the recording.

        Raises:
            RecordingError: if a file is missing or does not fit; names it.
        """
        data = self.experiment.data
        return open_nsd(
            self.nsd_root, data.subject, sessions=data.sessions, betas_version=data.betas_version, mask=data.mask
        )

    @property
    def fingerprint(self) -> str:
        """Of the voxels that decoders are fitted to."""
        return str(self.store.read_json("voxels.json")["fingerprint"])

    def training_rows(self) -> TrainingRows:
        """Read what decoders are fitted to."""
        if self.experiment.data.rows == "trials":
            stimuli = self.store.read_array("stimuli/of_trials")
            return TrainingRows(self.store.read_array("responses/trials"), stimuli)
        repeats = self.experiment.regression.weights == "repeats"
        weights = self.store.read_array("responses/n_repeats_train").astype(np.float64) if repeats else None
        return TrainingRows(self.store.read_array("responses/train"), weights=weights)

    def stimulus_ids(self, split: str) -> Int[np.ndarray, " n"]:
        """0-based stimulus ids of a split, in the order of every array; in "test", held-out photographs come last."""
        return self.store.read_array(f"stimuli/{split}_ids")

    @property
    def test_sets(self) -> dict[str, slice]:
        """Rows of the test stimuli that are scored together: "test", and "held_out" where the recording has such."""
        ids = self.stimulus_ids("test")
        n_test = len(ids) - int(np.isin(ids, held_out_ids(self.nsd_root)).sum())
        sets = {"test": slice(0, n_test), "held_out": slice(n_test, len(ids))}
        return {name: rows for name, rows in sets.items() if rows.stop > rows.start}

    def pictures(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read stimuli by their 0-based ids, (n, 3, height, width)."""
        return images.from_uint8(open_stimuli(self.nsd_root).pictures(stimulus_ids))
