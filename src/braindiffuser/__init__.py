"""Reconstruct what a person saw from their fMRI (Ozcelik & VanRullen 2023, doi 10.1038/s41598-023-42891-8).

    import braindiffuser

    page = braindiffuser.run_demo()                     # simulate a subject, decode it, write the page
    experiment = braindiffuser.Experiment.load("demo")  # or a YAML file of your own
    run = braindiffuser.Run.open(experiment, "runs/mine")
    run.do("prepare")                                   # … extract, fit, reconstruct, evaluate; or run.run_all()

Names load what they need when they are first used, so importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braindiffuser.data.nsd import open_nsd
    from braindiffuser.data.simulated import simulate
    from braindiffuser.data.simulated_subject import SimulatedSubject
    from braindiffuser.evaluation.scorer import Scorer
    from braindiffuser.experiment import Experiment
    from braindiffuser.regression.ridge import Ridge, RidgeCV
    from braindiffuser.run import Run, run_demo

__version__ = "0.1.0.dev0"

_HOMES = {
    "Experiment": "experiment",
    "Ridge": "regression.ridge",
    "RidgeCV": "regression.ridge",
    "Run": "run",
    "Scorer": "evaluation.scorer",
    "SimulatedSubject": "data.simulated_subject",
    "open_nsd": "data.nsd",
    "run_demo": "run",
    "simulate": "data.simulated",
}

__all__ = [
    "Experiment",
    "Ridge",
    "RidgeCV",
    "Run",
    "Scorer",
    "SimulatedSubject",
    "__version__",
    "open_nsd",
    "run_demo",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
