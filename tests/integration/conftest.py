"""A tiny simulated subject that the whole chain runs on, with the bundled networks."""

import sys
from pathlib import Path

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
            "evaluation": {"n_resamples": 200},
        }
    )
