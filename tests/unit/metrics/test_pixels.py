import numpy as np
import pytest
from scipy.ndimage import correlate1d

from braindiffuser.metrics.pixcorr import pixcorr
from braindiffuser.metrics.ssim import ssim
from braindiffuser.metrics.ssim_column_mean import ssim_column_mean

ALL = pytest.mark.parametrize("metric", [pixcorr, ssim, ssim_column_mean])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def seen(rng) -> np.ndarray:
    return rng.random((6, 3, 20, 24), dtype=np.float32)


@pytest.fixture
def made(rng, seen) -> np.ndarray:
    return np.clip(seen + rng.normal(0, 0.2, seen.shape), 0, 1).astype(np.float32)


def plain_ssim(seen: np.ndarray, made: np.ndarray, axes: tuple[int, ...]) -> float:
    """Wang et al. (2004), equation 13, with the Gaussian window along `axes` alone."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window /= window.sum()

    def mean(x):
        for axis in axes:
            x = correlate1d(x, window, axis=axis, mode="reflect")
        return x

    s, m = (np.tensordot([0.2125, 0.7154, 0.0721], picture.astype(float), 1) for picture in (seen, made))
    mu_s, mu_m = mean(s), mean(m)
    var_s, var_m, cov = mean(s * s) - mu_s**2, mean(m * m) - mu_m**2, mean(s * m) - mu_s * mu_m
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mu_s * mu_m + c1) * (2 * cov + c2) / ((mu_s**2 + mu_m**2 + c1) * (var_s + var_m + c2))
    inner = tuple(slice(5, -5) if axis in axes else slice(None) for axis in (0, 1))
    return similarity[inner].mean()


@ALL
def test_a_perfect_reconstruction_scores_one(metric, seen):
    np.testing.assert_allclose(metric(seen, seen), 1, atol=1e-12)


@ALL
def test_unrelated_noise_scores_about_zero(metric, rng):
    seen, made = rng.random((2, 40, 3, 32, 32), dtype=np.float32)
    assert abs(metric(seen, made).mean()) < 0.05


@ALL
def test_scores_follow_their_pictures(metric, rng, seen, made):
    order = rng.permutation(len(seen))
    np.testing.assert_allclose(metric(seen[order], made[order]), metric(seen, made)[order], atol=1e-12)
    one_by_one = [metric(seen[k : k + 1], made[k : k + 1])[0] for k in range(len(seen))]
    np.testing.assert_allclose(one_by_one, metric(seen, made), atol=1e-12)


@ALL
def test_scores_are_symmetric_and_float64(metric, seen, made):
    scores = metric(seen, made)
    assert scores.dtype == np.float64
    assert scores.shape == (6,)
    np.testing.assert_allclose(scores, metric(made, seen), atol=1e-12)


@ALL
def test_more_noise_scores_lower(metric, rng, seen):
    noise = rng.normal(size=seen.shape)
    scores = [
        metric(seen, (seen + level * noise).clip(0, 1).astype(np.float32)).mean() for level in (0, 0.05, 0.2, 0.8)
    ]
    assert scores == sorted(scores, reverse=True)


@ALL
def test_pictures_of_another_size_are_refused(metric, seen):
    with pytest.raises(ValueError, match=r"\(6, 3, 20, 24\).*\(6, 3, 10, 24\).*resize the reconstructions first"):
        metric(seen, seen[:, :, ::2])


def test_pixcorr_is_pearson_over_all_values(seen, made):
    expected = [np.corrcoef(s.ravel(), m.ravel())[0, 1] for s, m in zip(seen, made, strict=True)]
    np.testing.assert_allclose(pixcorr(seen, made), expected, atol=1e-7)


def test_pixcorr_ignores_brightness_and_contrast(seen, made):
    np.testing.assert_allclose(pixcorr(seen, 0.5 * made + 0.2), pixcorr(seen, made), atol=1e-6)


def test_pixcorr_of_a_flat_picture_is_zero(seen):
    np.testing.assert_array_equal(pixcorr(seen, np.full_like(seen, 0.3)), 0)


def test_ssim_is_that_of_the_paper(seen, made):
    expected = [plain_ssim(s, m, axes=(0, 1)) for s, m in zip(seen, made, strict=True)]
    np.testing.assert_allclose(ssim(seen, made), expected, atol=1e-9)


def test_column_mean_compares_each_column_alone(seen, made):
    expected = [plain_ssim(s, m, axes=(0,)) for s, m in zip(seen, made, strict=True)]
    np.testing.assert_allclose(ssim_column_mean(seen, made), expected, atol=1e-9)


def test_only_the_true_ssim_sees_how_columns_lie(rng, seen, made):
    order = rng.permutation(seen.shape[-1])
    shuffled = seen[..., order], made[..., order]
    np.testing.assert_allclose(ssim_column_mean(*shuffled), ssim_column_mean(seen, made), atol=1e-12)
    assert np.abs(ssim(*shuffled) - ssim(seen, made)).max() > 1e-3


@pytest.mark.parametrize("metric", [ssim, ssim_column_mean])
def test_ssim_needs_room_for_its_window(metric):
    small = np.zeros((1, 3, 10, 30), np.float32)
    with pytest.raises(ValueError, match="at least 11 pixels a side"):
        metric(small, small)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("measure", [ssim, ssim_column_mean])
@pytest.mark.parametrize(
    "odd", [lambda p: (255 * p).astype(np.uint8), lambda p: 255 * p, lambda p: 2 * p - 1, lambda p: p / 0 * 0]
)
def test_structure_is_measured_on_one_scale_alone(measure, odd):
    """On another scale the constants of SSIM mean something else, and the score looks like one."""
    pictures = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    for pair in ((pictures, odd), (odd, pictures)):
        with np.errstate(divide="ignore", invalid="ignore"):
            seen, made = (one(pictures) if callable(one) else one for one in pair)
        with pytest.raises(ValueError, match=r"pictures came as .*: give floating-point numbers in \[0, 1\]"):
            measure(seen, made)


@pytest.mark.parametrize("measure", [ssim, ssim_column_mean])
@pytest.mark.parametrize("beyond", [5e-4, 2e-3])
@pytest.mark.parametrize("turned", [False, True])
def test_a_thousandth_outside_the_range_is_rounding(measure, beyond, turned):
    pictures = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    odd = pictures.copy()
    odd[0, 0, 0, 0] = 1 + beyond
    odd = 1 - odd if turned else odd
    if beyond < 1e-3:
        assert np.isfinite(measure(pictures, odd)).all()
    else:
        with pytest.raises(ValueError, match=r"give floating-point numbers in \[0, 1\]"):
            measure(pictures, odd)
