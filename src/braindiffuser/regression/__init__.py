"""Voxels to targets: ridge decoders, the choice of alpha, and the calibration of predictions.

- `rows`: what decoders are fitted to.
- `solvers`: ridge as functions, from one Gram matrix for all alphas and targets.
- `selection`: alpha by cross-validation, with repeats of a picture kept together.
- `ridge`: `Ridge` and `RidgeCV`, estimators in scikit-learn's manner.
- `decoders`: several groups of targets, without coefficients.
- `calibration`: how predictions are rescaled, by name.
- `decoder`: a fitted decoder on disk.

Names load what they need when they are first used, so importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braindiffuser.regression.calibration import Calibration
    from braindiffuser.regression.decoder import Decoder, load_decoder, save_decoder
    from braindiffuser.regression.ridge import Ridge, RidgeCV
    from braindiffuser.regression.rows import TrainingRows
    from braindiffuser.regression.selection import CrossValidation, cross_validate
    from braindiffuser.regression.solvers import Gram, ask, coefficients, gram, operator, solve
    from braindiffuser.regression.streaming import apply_operators
    from braindiffuser.regression.training import operators

_HOMES = {
    "Calibration": "calibration",
    "CrossValidation": "selection",
    "Decoder": "decoder",
    "Gram": "solvers",
    "Ridge": "ridge",
    "RidgeCV": "ridge",
    "TrainingRows": "rows",
    "apply_operators": "streaming",
    "ask": "solvers",
    "coefficients": "solvers",
    "cross_validate": "selection",
    "gram": "solvers",
    "load_decoder": "decoder",
    "operator": "solvers",
    "operators": "training",
    "save_decoder": "decoder",
    "solve": "solvers",
}

__all__ = [
    "Calibration",
    "CrossValidation",
    "Decoder",
    "Gram",
    "Ridge",
    "RidgeCV",
    "TrainingRows",
    "apply_operators",
    "ask",
    "coefficients",
    "cross_validate",
    "gram",
    "load_decoder",
    "operator",
    "operators",
    "save_decoder",
    "solve",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
