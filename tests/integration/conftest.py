"""A tiny simulated subject that the whole chain runs on, with the bundled networks."""

import pytest

from braindiffuser.config import Experiment
from braindiffuser.data.simulated import SimulatedSubject, simulate

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
    demo = Experiment.load("demo")
    return demo.model_copy(
        update={
            "name": "tiny",
            "simulation": None,
            "data": demo.data.model_copy(update={"root": recording_root}),
            "regression": demo.regression.model_copy(update={"n_folds": 3}),
            "diffusion": demo.diffusion.model_copy(update={"n_steps": 4, "batch_size": 4}),
            "evaluation": demo.evaluation.model_copy(update={"n_resamples": 200}),
        }
    )
