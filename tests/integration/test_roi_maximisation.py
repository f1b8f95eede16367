"""What early regions want to see lies where their receptive fields lie: the simulated subject knows where that is."""

import numpy as np
import pandas as pd
import pytest

from braindiffuser.analyses.roi_maximisation import maximise_from_training, roi_patterns
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.experiment import Experiment
from braindiffuser.generators.low_level import reconstruct_low_level
from braindiffuser.networks.checkpoints import load_vdvae
from braindiffuser.regression.estimators import Ridge
from braindiffuser.run import Run
from braindiffuser.targets.vdvae_latents import extract_latents

SUBJECT = SimulatedSubject(
    n_train=600, n_test=6, trials_per_session=606, n_early=900, n_higher=60, grid=(18, 20, 16), n_dropouts=0, seed=2
)
N_SHUFFLED = 100
DEGREES = 8.4  # side of the picture


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """The early voxels' truth, their ROI masks, and a function from patterns to the energy they add to the picture."""
    experiment = Experiment.load("demo").changed({"dataset": {"kind": "simulated", **SUBJECT.model_dump()}})
    run = Run.open(experiment, tmp_path_factory.mktemp("run"))
    run.do("prepare")
    vdvae = load_vdvae(experiment.checkpoints["targets.latents.checkpoint"])
    ids = run.results.read_array("stimuli/train_ids")
    latents = extract_latents(vdvae, run.recording().pictures(ids), ids, experiment.targets["latents"])
    decoder = Ridge(alpha=1000.0).fit(run.results.read_array("responses/train"), latents)

    def energy(patterns):
        patterns = np.concatenate([np.zeros((1, patterns.shape[1]), np.float32), patterns])
        targets = maximise_from_training(patterns @ decoder.coef_.T, decoder.target_mean_, decoder.target_std_)
        pictures = reconstruct_low_level(
            vdvae, targets, np.zeros(len(targets), np.int64), experiment.generator.low_level
        )
        added = np.square(pictures[1:] - pictures[0]).mean(axis=1)
        return added / added.sum(axis=(1, 2), keepdims=True)

    voxels = pd.read_csv(run.results.folder / "nsd" / "truth" / "voxels.csv")
    voxels = voxels[voxels["nsdgeneral"] > 0].reset_index(drop=True)
    return voxels, run.results.read_bundle("rois.npz"), energy


def shuffled(mask, among):
    """Masks of as many voxels, drawn from the early ones."""
    rng = np.random.default_rng(0)
    drawn = np.zeros((N_SHUFFLED, len(mask)), np.float32)
    for row in drawn:
        row[rng.choice(np.flatnonzero(among), mask.sum(), replace=False)] = 1
    return drawn


def test_half_a_visual_field_is_seen_on_its_side(early):
    voxels, _, energy = early
    is_early = (voxels["kind"] == "early").to_numpy()
    left = is_early & (voxels["prf_x"] < 0).to_numpy()

    def contrast(masks):
        """Share of the left half under each mask, less that under the mask's complement."""
        both = energy(np.concatenate([masks, is_early - masks]).astype(np.float32))
        shares = both[:, :, : both.shape[-1] // 2].sum(axis=(1, 2))
        return shares[: len(masks)] - shares[len(masks) :]

    found = contrast(left[None].astype(np.float32))[0]
    assert found > 0.3
    assert found > np.quantile(contrast(shuffled(left, is_early)), 0.95)


def test_eccentricity_bands_are_seen_at_their_eccentricity(early):
    voxels, rois, energy = early
    is_early = (voxels["kind"] == "early").to_numpy()
    inner = rois["ecc_0.5"] | rois["ecc_1"]
    patterns = roi_patterns({"inner": inner, "outer": rois["ecc_4+"]})

    def eccentricity(energies):
        side = energies.shape[-1]
        degrees = (np.arange(side) - (side - 1) / 2) * DEGREES / side
        return (energies * np.hypot(degrees[:, None], degrees)).sum(axis=(1, 2))

    near, far = eccentricity(energy(patterns))
    assert near < np.quantile(eccentricity(energy(shuffled(inner, is_early))), 0.05)
    assert far > np.quantile(eccentricity(energy(shuffled(rois["ecc_4+"], is_early))), 0.95)
