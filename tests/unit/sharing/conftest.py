"""A small shared decoder of random numbers, and a run of a lab's recording that is decoded."""

import numpy as np
import pytest

from braindiffuser.regression.reduced_fit import reduce_decoder
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.sharing import DecoderFacts, SharedDecoder
from braindiffuser.sharing.facts import (
    Estimate,
    GroupFacts,
    OfTargets,
    OnTestSet,
    Origin,
    PictureScore,
    PictureScores,
    ResponseFacts,
    Terms,
    VoxelFacts,
)
from braindiffuser.sharing.shared_decoder import Averages

from ..export.conftest import prepare, write_lab

N_VOXELS, N_STIMULI = 30, 24
SHAPES = {"vision": (3, 4), "latents": (7,)}
TERMS = Terms(licence="CC0", terms="cite the paper", page="https://example.org")


def small_decoder(precision="float16", mean_repeats=4.0, **origin):
    """A decoder of two groups, and responses that it was fitted to."""
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((N_STIMULI, N_VOXELS))
    responses = ((responses - responses.mean(axis=0)) / responses.std(axis=0)).astype(np.float32)
    groups, facts = {}, {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        targets = (
            (responses @ rng.standard_normal((N_VOXELS, int(np.prod(shape)))))
            .reshape(N_STIMULI, *shape)
            .astype(np.float32)
        )
        made = reduce_decoder(TrainingRows(responses), targets, 5.0, max_rank=4 + number, dtype=precision)
        groups[name] = made.decoder
        score = Estimate(value=0.9, ci95=(0.8, 0.95))
        facts[name] = GroupFacts(
            shape=shape,
            alpha=5.0,
            rank=made.decoder.rank,
            lost=made.lost,
            lost_of_targets=OfTargets(median=0.02, ninth_decile=0.05),
            wanted=0.01,
            limited=number == 0,
            test_sets={"test": OnTestSet(n_images=9, difference=0.012, whole=score, shared=score)},
        )
    entries = {
        "version": "0.1.0",
        "run": "abc",
        "name": "lab",
        "subject": "sub-07",
        "recording": "arrays",
        "simulated": False,
    }
    metric = PictureScore(
        label="PixCorr", is_share=False, higher_is_better=True, score=Estimate(value=0.3, ci95=(0.2, 0.4))
    )
    told = DecoderFacts(
        origin=Origin(**{**entries, "terms": TERMS, "licence": "unknown", **origin}),
        voxels=VoxelFacts(n=N_VOXELS, fingerprint="f" * 16, space="T1w", regions=("V1", "V2"), min_noise_ceiling=5),
        responses=ResponseFacts(
            normalisation="session", rows="averages", n_stimuli=N_STIMULI, mean_repeats=mean_repeats
        ),
        calibration="none",
        precision=precision,
        groups=facts,
        scores={"test": PictureScores(profile="demo", n_images=9, metrics={"pixcorr": metric})},
        generator=None,
        seed=0,
    )
    null = {"vision": rng.standard_normal((1, 3, 4)).astype(np.float32)}
    averages = Averages(
        *(values.astype(np.float32) for values in (np.linspace(-1, 1, N_VOXELS), np.linspace(1, 3, N_VOXELS)))
    )
    return SharedDecoder(told, groups, null, averages), responses


@pytest.fixture
def small():
    return small_decoder()


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """Folder of a run whose features are decoded."""
    folder = tmp_path_factory.mktemp("lab")
    run = prepare(write_lab(folder / "lab"), folder / "run", regression={"n_folds": 2})
    for stage in ("extract", "fit"):
        run.do(stage)
    return folder / "run"
