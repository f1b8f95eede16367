"""The base: what every regressor has, and what one of another lab must write itself."""

import subprocess
import sys

import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.part import as_part, known_kinds
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.regressor import Regressor
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows


class Mean(Regressor):
    """Decodes the training mean, whatever the responses."""

    scale: float = 1.0

    def fit(self, rows, targets, device, progress=None):
        """Keep each group's mean."""
        return {name: FittedDecoder({"mean": values.mean(axis=0).ravel()}, {}) for name, values in targets.items()}

    def decode(self, fitted, rows, targets, responses, device, progress=None):
        """Repeat it."""
        for group, (arrays, _) in fitted.items():
            mean = self.scale * arrays["mean"].astype(np.float32)
            yield group, {name: np.tile(mean, (len(values), 1)) for name, values in responses.items()}


def test_a_regressor_of_fit_and_decode_alone_is_whole():
    part, rows = Mean(), TrainingRows(np.zeros((4, 3)))
    targets = {"depth": np.ones((4, 2, 2), np.float32)}
    made = dict(part.decode(part.fit(rows, targets, "cpu"), rows, targets, {"test": np.zeros((5, 3))}, "cpu"))
    assert made["depth"]["test"].tolist() == [[1.0] * 4] * 5
    assert not part.linear
    assert not part.weighs_repeats
    assert part.influences_of("depth", "cpu") == part.influences("cpu") == {"kind": part.kind, "scale": 1.0}
    part.check_groups(["depth"])
    part.check_stimuli(1)


def test_what_is_not_linear_refuses_patterns_at_once():
    with pytest.raises(RunError, match=r":Mean is not linear, so voxel patterns cannot be projected: use ridge"):
        Mean().project({}, TrainingRows(np.zeros((4, 3))), {}, np.zeros((1, 3)), "cpu")


def test_what_has_no_coefficients_refuses_maps_at_once():
    rows = TrainingRows(np.zeros((4, 3)))
    with pytest.raises(RunError, match=r":Mean gives no coefficients, so voxels have no weights: use ridge"):
        Mean().weight_norms({}, rows, {}, "cpu")
    with pytest.raises(RunError, match=r":Mean gives no coefficients, so directions have no weights: use ridge"):
        Mean().direction_weights({}, rows, {}, {}, "cpu")


def test_fit_and_decode_must_be_written():
    with pytest.raises(TypeError, match="abstract"):
        Regressor()


def test_ridge_is_the_kind_that_comes_with_the_package():
    assert known_kinds(Regressor) == ("ridge",)
    assert as_part(Regressor, {"kind": "ridge", "n_folds": 3}) == RidgeRegression(n_folds=3)


def test_parts_are_light_to_import():
    heavy = ("torch", "scipy", "sklearn", "zarr", "pandas", "matplotlib", "timm", "diffusers", "transformers")
    code = f"import sys, braindiffuser.regression.ridge; print(*[name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == []
