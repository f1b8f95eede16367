"""A tiny simulated subject that the whole chain runs on, with the bundled networks."""

import sys
from pathlib import Path

import jaxtyping
import pytest

from braindiffuser.datasets.simulation.simulate import simulate
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.experiment import Experiment

sys.path.append(str(Path(__file__).parent))  # for `fakes`, whose classes experiments name as fakes:Class

SUBJECT = SimulatedSubject(
    n_train=50,
    n_test=10,
    n_held_out=4,
    n_repeats=3,
    trials_per_session=48,
    n_early=160,
    n_higher=120,
    grid=(12, 14, 10),
)


WITHOUT_CHECKS = (
    "test_run",
    "test_hostile",
    "test_fold_runs",
    "test_extend",
    "test_implausible_recordings",
    "test_study",
    "test_shared_features",
    "test_ablated_pictures",
    "test_reproduction",
    "test_curves",
    "test_layouts",
    "test_any_recording",
    "test_nsd_further",
    "test_pictures_of_some",
    "test_workers",
)
"""Modules that run the chain again and again, as users do: without checks of shapes, which take a quarter of the time. The others
check them."""


@pytest.fixture(scope="module", autouse=True)
def shapes_are_checked_once(request):
    unchecked = request.module.__name__.rpartition(".")[2] in WITHOUT_CHECKS
    jaxtyping.config.update("jaxtyping_disable", unchecked)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def recording_root(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("recording"), SUBJECT)


@pytest.fixture(scope="session")
def experiment(recording_root):
    return Experiment.load("demo").changed(
        {
            "name": "tiny",
            "dataset": {"kind": "nsd", "root": str(recording_root)},
            "regression": {"n_folds": 3},
            "generator": {"diffusion": {"n_steps": 4}, "batch_size": 4},
            "pictures": {"n_recovered": 0, "n_random_responses": 0, "n_samples": 1},  # tests of their own draw them
            "evaluation": {"n_resamples": 200},
            "analyses": [{"kind": "roi_maximisation", "measured": False}],  # what is measured has one test of its own
        }
    )
