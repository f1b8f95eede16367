"""How well features are decoded, before any picture is drawn: R² and correlation of each feature over test stimuli."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from braindiffuser.metrics._correlation import FeatureRows
from braindiffuser.metrics.inference import permutation_p_value
from braindiffuser.real_numbers import real_numbers

COLUMNS_AT_ONCE = 4096
"""Features that are widened to float64 at a time."""
FEWEST_STIMULI = 3
"""Test stimuli below which a correlation says nothing: of two it is always 1 or -1."""


class Estimated(NamedTuple):
    """A mean over features with what chance gives.

    Attributes:
        value: mean over the features that vary.
        low: lower end of its 95 % interval over test stimuli.
        high: upper end.
        null: 2.5 % and 97.5 % quantiles of the means after exchanging test stimuli; NaN without exchanges.
        p: (1 + number of exchanges with as much or more) / (1 + number of exchanges); NaN without exchanges.
    """

    value: float
    low: float
    high: float
    null: tuple[float, float]
    p: float


@dataclass(frozen=True)
class FeatureAccuracy:
    """Accuracy of decoded features over the stimuli of one test set.

    Attributes:
        r2: 1 - Σ_i (y_i - ŷ_i)² / Σ_i (y_i - ȳ)² of each feature; NaN of one that does not vary over the stimuli.
        correlation: Pearson's, of each feature; NaN as above, 0 where a prediction does not vary.
        mean_r2: over features, as scikit-learn's `Ridge.score` gives it.
        mean_correlation: over features.
        n_stimuli: number of test stimuli.
    """

    r2: Float64[np.ndarray, " n_features"]
    correlation: Float64[np.ndarray, " n_features"]
    mean_r2: Estimated
    mean_correlation: Estimated
    n_stimuli: int

    @property
    def varies(self) -> Bool[np.ndarray, " n_features"]:
        """Which features vary over the stimuli; the others have no accuracy."""
        varies: Bool[np.ndarray, " n_features"] = ~np.isnan(self.r2)
        return varies

    @property
    def best_scaled_r2(self) -> float:
        """Mean adjusted R² of the regression of y on ŷ (one predictor).

        r² - (1 - r²) / (n - 2), 0 where r < 0
        """
        r = self.correlation[self.varies]
        return float(np.where(r > 0, r**2 - (1 - r**2) / max(self.n_stimuli - 2, 1), 0).mean())


def feature_accuracy(
    truth: FeatureRows, predicted: FeatureRows, rng: np.random.Generator, n_permutations: int = 1000
) -> FeatureAccuracy:
    """Compare predicted features with the stimuli's own.

        R²_j = 1 - Σ_i (y_ij - ŷ_ij)² / Σ_i (y_ij - ȳ_j)²,    r_j = Σ_i (y_ij - ȳ_j)(ŷ_ij - ŷ̄_j) / √(…)

    Of all predictions with correlation r, the best scaled reach R² = r²; none has more. Predictions that were stretched to the
    spread of the features have R² = 2r - 1.

    Intervals of the means are jackknife intervals over stimuli (Efron & Tibshirani 1993, chapter 11), m ± t √((n - 1)/n
    Σ_i (m_(i) - m̄_(·))²) with m_(i) the mean without stimulus i. The null exchanges whole stimuli, so that features keep their
    dependence: both means are then the trace of a permuted n × n matrix.

    Args:
        truth: features y of the stimuli (n, n_features).
        predicted: ŷ, in the same order.
        rng: source of the exchanges.
        n_permutations: number of exchanges; with 0 they cost nothing.

    Raises:
        ValueError: if shapes differ, a value is not finite, there are fewer than 3 stimuli, or no feature varies.

    Examples:
        >>> y = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> made = feature_accuracy(y, 0.5 * y + 0.75, np.random.default_rng(0))
        >>> made.mean_r2.value, made.mean_correlation.value
        (0.75, 1.0)
    """
    _check(truth, predicted)
    n, n_features = truth.shape
    r2, correlation = np.full((2, n_features), np.nan)
    left_out, matrices, spread = np.zeros((2, n)), np.zeros((2, n, n)), 0.0
    for start in range(0, n_features, COLUMNS_AT_ONCE):
        columns = slice(start, start + COLUMNS_AT_ONCE)
        block = _Block.of(truth[:, columns], predicted[:, columns])
        r2[columns][block.varies], correlation[columns][block.varies] = block.r2(), block.correlation()
        left_out += block.left_out()
        spread += float(block.predicted_squares_per_variance().sum())
        if n_permutations:
            matrices += block.matrices()
    n_varying = int((~np.isnan(r2)).sum())
    if not n_varying:
        raise ValueError(f"none of {n_features} features varies over {n} stimuli, so there is nothing to predict")
    own = np.arange(n)
    drawn = np.empty((n_permutations, 2))
    for exchange in drawn:
        exchange[:] = matrices[:, rng.permutation(n), own].sum(axis=1)
    # 1 - Σ (y - ŷ)²/Σ(y - ȳ)² = 1 - (1 + Σ(ŷ - ȳ)²/Σ(y - ȳ)²) + 2 Σ (y - ȳ)(ŷ - ȳ)/Σ(y - ȳ)², and only the last part is exchanged
    nulls = ((2 * drawn[:, 0] - spread) / n_varying, drawn[:, 1] / n_varying)
    mean_r2, mean_correlation = (
        _estimated(float(np.nanmean(values)), left / n_varying, null)
        for values, left, null in zip((r2, correlation), left_out, nulls, strict=True)
    )
    return FeatureAccuracy(r2, correlation, mean_r2, mean_correlation, n)


def _estimated(
    value: float, left_out: Float64[np.ndarray, " n"], null: Float64[np.ndarray, " n_permutations"]
) -> Estimated:
    from scipy.stats import t

    n = len(left_out)
    error = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum())
    half = float(t.ppf(0.975, n - 1) * error)
    low, high = np.quantile(null, [0.025, 0.975]) if len(null) else (np.nan, np.nan)
    p = permutation_p_value(value, null) if len(null) else np.nan
    return Estimated(value, value - half, value + half, (float(low), float(high)), p)


@dataclass(frozen=True)
class _Block:
    """Some features that vary, in float64: y - ȳ and ŷ - ȳ, with ȳ the mean over stimuli."""

    varies: Bool[np.ndarray, " n_block"]
    y: Float64[np.ndarray, "n n_varying"]
    p: Float64[np.ndarray, "n n_varying"]
    yy: Float64[np.ndarray, " n_varying"]

    @classmethod
    def of(cls, truth: FeatureRows, predicted: FeatureRows) -> _Block:
        """Centre a block by the means of its features, without those that do not vary."""
        y = truth.astype(np.float64)
        mean = y.mean(axis=0)
        y -= mean
        yy = np.einsum("ij,ij->j", y, y)
        varies = np.sqrt(yy / len(y)) > np.finfo(np.float32).eps * np.abs(mean)
        return cls(varies, y[:, varies], (predicted.astype(np.float64) - mean)[:, varies], yy[varies])

    @property
    def centred(self) -> Float64[np.ndarray, "n n_varying"]:
        """Predictions less their own mean."""
        centred: Float64[np.ndarray, "n n_varying"] = self.p - self.p.mean(axis=0)
        return centred

    def r2(self) -> Float64[np.ndarray, " n_varying"]:
        r2: Float64[np.ndarray, " n_varying"] = 1 - np.square(self.y - self.p).sum(axis=0) / self.yy
        return r2

    def correlation(self) -> Float64[np.ndarray, " n_varying"]:
        q = self.centred
        return _ratio(np.einsum("ij,ij->j", self.y, q), self.yy * np.einsum("ij,ij->j", q, q))

    def left_out(self) -> Float64[np.ndarray, "2 n"]:
        """Return sums over features of R² and r without each stimulus.

        Leaving out x_i takes n/(n - 1) (x_i - x̄)² from Σ (x - x̄)², and likewise from products.
        """
        n = len(self.y)
        grown = n / (n - 1)
        errors = np.square(self.y - self.p)
        yy = self.yy - grown * np.square(self.y)
        r2 = 1 - np.divide(errors.sum(axis=0) - errors, yy, out=np.zeros_like(yy), where=yy > 1e-12 * self.yy)
        q = self.centred
        qq = np.einsum("ij,ij->j", q, q)
        products = np.einsum("ij,ij->j", self.y, q) - grown * self.y * q
        r = _ratio(products, yy.clip(0) * (qq - grown * np.square(q)).clip(0))
        return np.stack([r2.sum(axis=1), r.sum(axis=1)])

    def predicted_squares_per_variance(self) -> Float64[np.ndarray, " n_varying"]:
        """Return Σ (ŷ - ȳ)² / Σ (y - ȳ)² of each feature."""
        ratios: Float64[np.ndarray, " n_varying"] = np.einsum("ij,ij->j", self.p, self.p) / self.yy
        return ratios

    def matrices(self) -> Float64[np.ndarray, "2 n n"]:
        """Return Σ_j of y_ij (ŷ_kj - ȳ_j) / Σ y² and of the correlations' terms; their traces are those of true pairs."""
        q = self.centred
        norms = np.sqrt(self.yy * np.einsum("ij,ij->j", q, q))
        scale = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
        return np.stack([(self.y / self.yy) @ self.p.T, (self.y * scale) @ q.T])


def _ratio(
    products: Float64[np.ndarray, "*any n_varying"], squares: Float64[np.ndarray, "*any n_varying"]
) -> Float64[np.ndarray, "*any n_varying"]:
    """Divide by the root, with 0 where it is 0."""
    norms = np.sqrt(squares)
    found: Float64[np.ndarray, "*any n_varying"] = np.divide(
        products, norms, out=np.zeros_like(norms), where=norms > 0
    ).clip(-1, 1)
    return found


def chance_correlation(n: int) -> float:
    """Return the correlation that one of twenty unrelated features exceeds over n stimuli (one-sided).

        t / √(n - 2 + t²),  t the 95 % quantile of Student's t with n - 2 degrees of freedom

    >>> round(chance_correlation(982), 3)
    0.053
    """
    from scipy.stats import t

    quantile = float(t.ppf(0.95, n - 2))
    return quantile / float(np.sqrt(n - 2 + quantile**2))


def _check(truth: FeatureRows, predicted: FeatureRows) -> None:
    if truth.shape != predicted.shape:
        raise ValueError(
            f"features have shape {truth.shape} and predictions {predicted.shape}, expected (n, n_features) of both"
        )
    if len(truth) < FEWEST_STIMULI:
        raise ValueError(f"got {len(truth)} stimuli, expected {FEWEST_STIMULI} or more to correlate over")
    for name, values in (("features", truth), ("predictions", predicted)):
        real_numbers(values, f"{name} came as", (None, None), error=ValueError)
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold a value that is not finite")
