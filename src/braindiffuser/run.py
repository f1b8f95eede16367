"""A run: an experiment and the folder that its results go to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.config import Experiment, flatten, identity
from braindiffuser.data.nsd import open_nsd, open_stimuli
from braindiffuser.data.recording import Recording
from braindiffuser.data.simulated import held_out_ids
from braindiffuser.errors import RunError
from braindiffuser.evaluation.metrics import PROFILES
from braindiffuser.evaluation.published_networks import NETWORKS, torchvision_folder
from braindiffuser.models.weights import hash_checkpoint
from braindiffuser.store import Store, environment
from braindiffuser.weight_files import weights_folder

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many parts of it are done, and how many there are."""

INFLUENCES = {
    "prepare": ("simulation", "data"),
    "extract": ("latents", "embeddings", "checkpoints.vdvae", "checkpoints.clip"),
    "fit": ("regression",),
    "reconstruct": ("seed", "low_level", "diffusion", "checkpoints.autoencoder", "checkpoints.unet"),
    "evaluate": ("evaluation",),
    "analyse": ("roi",),
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
    "evaluate": ("scores.json", "scores_held_out.json", "per_image.csv", "noise_ceiling.json"),
    "analyse": ("roi_maximisation.json", "reconstructions/roi", "reconstructions/roi_low_level"),
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
            RunError: if no experiment is given and the folder holds none, it holds stages of another one, or there is no GPU
                where the experiment wants one.
        """
        store = Store(folder)
        stored = store.manifest.get("experiment")
        if experiment is None:
            if stored is None:
                raise RunError(f"{folder} holds no run yet: name a preset or an experiment file")
            experiment = Experiment.model_validate(stored)
        if experiment.device.startswith("cuda") and not torch.cuda.is_available():
            raise RunError(
                f"the experiment runs on {experiment.device}, but torch sees no GPU: --device cpu does without"
            )
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
        if "evaluation" in wanted:
            content["evaluation.missing"] = self.missing_networks
        return identity(content)

    @property
    def missing_networks(self) -> list[str]:
        """Networks of the profile whose weights are not on this machine: when they come, scores are out of date."""
        names = sorted(PROFILES[self.experiment.evaluation.profile].layers.keys() & NETWORKS.keys())
        folders = weights_folder(), torchvision_folder()
        return [name for name in names if NETWORKS[name].file.find(*folders) is None]

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
        """Read stimuli."""
        return images.from_uint8(open_stimuli(self.nsd_root).pictures(stimulus_ids))
