"""Voxels to targets: ridge decoders, the choice of alpha, and the calibration of predictions.

- `solvers`: ridge as functions, from one eigendecomposition for all alphas and targets.
- `selection`: alpha by cross-validation, with repeats of a picture kept together.
- `ridge`: `Ridge` and `RidgeCV`, estimators in scikit-learn's manner.
- `calibration`: how predictions are rescaled, by name.
- `decoder`: a fitted decoder on disk.
"""

from braindiffuser.regression.calibration import Calibration
from braindiffuser.regression.decoder import Decoder, load_decoder, save_decoder
from braindiffuser.regression.ridge import Ridge, RidgeCV
from braindiffuser.regression.selection import CrossValidation, cross_validate
from braindiffuser.regression.solvers import Gram, ask, coefficients, gram, operator, solve
from braindiffuser.regression.streaming import apply_operators
from braindiffuser.regression.training import TrainingRows, operators

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
