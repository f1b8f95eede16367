import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.simulation import brain as brains
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RecordingError
from braindiffuser.images import from_uint8


@pytest.fixture(scope="module")
def brain():
    return brains.draw_brain((22, 24, 20), 1800, 1800, np.random.default_rng(0))


@pytest.fixture(scope="module")
def pictures():
    return from_uint8(compose_scenes(6, seed=3)[0])


def test_brain_has_the_voxels_asked_for_in_c_order(brain):
    assert brain["kind"].value_counts()[["early", "higher"]].tolist() == [1800, 1800]
    assert np.all(np.diff(np.ravel_multi_index(brain[["x", "y", "z"]].to_numpy().T, (22, 24, 20))) > 0)
    assert brain.loc[brain["nsdgeneral"] > 0, "cortex"].all()
    assert set(brain["hemisphere"]) == {"lh", "rh"}


def test_too_small_a_grid_says_so():
    with pytest.raises(RecordingError, match="make the grid larger"):
        brains.draw_brain((6, 6, 6), 100, 100, np.random.default_rng(0))


def test_hemispheres_see_the_opposite_half_field(brain):
    early = brain[brain["kind"] == "early"]
    assert (early.loc[early["hemisphere"] == "lh", "prf_x"] >= -1e-9).all()
    assert (early.loc[early["hemisphere"] == "rh", "prf_x"] <= 1e-9).all()


def test_dorsal_areas_see_below_and_ventral_areas_above(brain):
    v1v_v2v_v3v, v1d_v2d_v3d = (brain[brain["prf-visualrois"].isin(labels)] for labels in ([1, 3, 5], [2, 4, 6]))
    assert (v1v_v2v_v3v["prf_y"] >= -1e-9).all()
    assert (v1d_v2d_v3d["prf_y"] <= 1e-9).all()


def test_position_angle_and_eccentricity_agree(brain):
    early = brain[brain["kind"] == "early"]
    np.testing.assert_allclose(np.hypot(early["prf_x"], early["prf_y"]), early["prf_eccentricity"])
    angle = np.rad2deg(np.arctan2(early["prf_y"], early["prf_x"])) % 360
    np.testing.assert_allclose(np.cos(np.deg2rad(angle - early["prf_angle"])), 1)


def test_bands_tell_the_true_eccentricity(brain):
    early = brain[brain["kind"] == "early"]
    limits = np.array([0, 0.5, 1, 2, 4, np.inf])
    band = early["prf-eccrois"].to_numpy()
    assert set(band) == {1, 2, 3, 4, 5}
    assert np.all(early["prf_eccentricity"] > limits[band - 1])
    assert np.all(early["prf_eccentricity"] <= limits[band])
    assert (brain.loc[brain["kind"] != "early", "prf-eccrois"] == 0).all()


def test_prf_size_grows_with_eccentricity_and_area(brain):
    sizes = brain[brain["kind"] == "early"].groupby(["prf-visualrois", "prf-eccrois"])["prf_size"].mean().unstack()
    assert (np.diff(sizes, axis=1) > 0).all()
    assert (np.diff(sizes.loc[[1, 3, 5, 7]], axis=0) > 0).all()


def test_category_regions_are_disjoint_and_faces_and_words_are_empty(brain):
    regions = brain[["floc-places", "floc-bodies", "floc-food"]] > 0
    assert (regions.sum(axis=1) <= 1).all()
    assert (regions.sum() > 50).all()
    assert not brain[["floc-faces", "floc-words"]].to_numpy().any()
    assert (brain.loc[brain["kind"] == "higher", "streams"] >= 2).all()


def test_noise_ceilings_follow_from_the_amplitudes(brain):
    voxels = brain[brain["nsdgeneral"] > 0]
    ncsnr = voxels["signal_sd"] / voxels["noise_sd"]
    np.testing.assert_allclose(100 * ncsnr**2 / (ncsnr**2 + 1 / 3), voxels["noise_ceiling"])
    assert 35 < voxels["noise_ceiling"].median() < 45
    assert voxels["noise_ceiling"].between(3, 82).all()
    assert (brain.loc[brain["nsdgeneral"] == 0, "signal_sd"] == 0).all()


def test_grey_screen_gives_no_signal_in_any_channel():
    maps = brains.channel_maps(np.full((1, 3, 64, 64), 0.5, np.float32))
    assert maps.shape == (1, brains.N_CHANNELS, brains.MAP_SIZE, brains.MAP_SIZE)
    np.testing.assert_allclose(maps, 0, atol=1e-5)


@settings(deadline=None, max_examples=12)
@given(number=st.integers(0, brains.N_ORIENTATIONS - 1), scale=st.integers(0, 2), phase=st.floats(0, 6.28))
def test_grating_drives_its_own_orientation_and_scale_whatever_its_phase(number, scale, phase):
    rows, columns = np.mgrid[:64, :64]
    theta, frequency = np.pi * number / brains.N_ORIENTATIONS, 1 / brains.WAVELENGTHS[scale]
    wave = np.cos(2 * np.pi * frequency * (columns * np.cos(theta) + rows * np.sin(theta)) + phase)
    picture = np.broadcast_to(0.5 + 0.2 * wave, (1, 3, 64, 64)).astype(np.float32)
    centre = brains.channel_maps(picture)[0, 3:, 20:28, 20:28].mean((1, 2))
    assert centre.argmax() == scale * brains.N_ORIENTATIONS + number


def test_channels_do_not_depend_on_the_batch(pictures):
    together = brains.channel_maps(pictures)
    alone = np.concatenate([brains.channel_maps(pictures[k : k + 1]) for k in reversed(range(6))])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_pooling_is_a_weighted_mean_centred_on_the_prf():
    x, y, size = np.array([1.5, -2.0]), np.array([2.0, -0.5]), np.array([0.3, 0.6])
    pooling = brains.prf_pooling(x, y, size).astype(float)
    np.testing.assert_allclose(pooling.sum(0), 1, rtol=1e-5)
    step = 2 * brains.FIELD_OF_VIEW / brains.BANK_SIZE
    degrees = (np.arange(brains.MAP_SIZE) - (brains.MAP_SIZE - 1) / 2) * step
    down, across = np.meshgrid(-degrees, degrees, indexing="ij")
    np.testing.assert_allclose(across.ravel() @ pooling, x, atol=1e-3)
    np.testing.assert_allclose(down.ravel() @ pooling, y, atol=1e-3)
    spread = np.sqrt([((across.ravel() - x[k]) ** 2) @ pooling[:, k] for k in range(2)])
    np.testing.assert_allclose(spread, size, rtol=1e-2)


def test_voxel_answers_to_a_change_inside_its_prf_and_not_far_outside(pictures):
    pooling = brains.prf_pooling(np.array([2.0]), np.array([2.0]), np.array([0.4]))
    pixel = 64 / brains.FIELD_OF_VIEW
    column, row = round(32 + 2 * pixel), round(32 - 2 * pixel)  # 2° right, 2° up
    inside, outside = pictures.copy(), pictures.copy()
    inside[:, :, row - 5 : row + 6, column - 5 : column + 6] = (
        1 - inside[:, :, row - 5 : row + 6, column - 5 : column + 6]
    )
    outside[:, :, 42:53, 11:22] = 1 - outside[:, :, 42:53, 11:22]
    before, near, far = (brains.pooled_channels(shown, pooling)[..., 0] for shown in (pictures, inside, outside))
    assert np.all(np.abs(near - before).max(0) > 20 * np.abs(far - before).max(0))
    np.testing.assert_allclose(far[:3], before[:3], atol=1e-5)


def test_signals_are_linear_in_the_channel_weights(pictures):
    rng = np.random.default_rng(1)
    pooling = brains.prf_pooling(rng.normal(0, 2, 5), rng.normal(0, 2, 5), np.full(5, 0.7))
    pooled = brains.pooled_channels(pictures, pooling)
    one, other = (brains.draw_channel_weights(5, rng) for _ in range(2))
    together = brains.weigh_channels(pooled, one + other, 6)
    np.testing.assert_allclose(
        together, brains.weigh_channels(pooled, one, 6) + brains.weigh_channels(pooled, other, 6), atol=1e-4
    )


def test_channel_weights_have_length_one_and_positive_energy():
    weights = brains.draw_channel_weights(200, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(weights, axis=0), 1, rtol=1e-5)
    assert (weights[brains.N_COLOURS :] >= 0).all()
    assert 0.3 < (weights[: brains.N_COLOURS] > 0).mean() < 0.7


def test_selective_voxels_prefer_their_category_and_others_are_at_chance():
    rng = np.random.default_rng(0)
    shown = rng.random(400) < 0.3
    features = rng.standard_normal((400, 120)).astype(np.float32)
    features[:, :40] += 0.5 * shown[:, None]
    features = brains.standardise_by_first(features, 400)
    prefers = ["animal"] * 100 + [""] * 100 + ["never shown"] * 100
    weights = brains.draw_feature_weights(
        features, {"animal": shown, "never shown": np.zeros(400, bool)}, prefers, np.random.default_rng(2)
    )
    signals = brains.standardise_by_first(features @ weights, 400)
    contrast = signals[shown].mean(0) - signals[~shown].mean(0)
    assert (contrast[:100] > 0.3).all()
    assert abs(contrast[100:].mean()) < 0.2
    assert ((weights != 0).sum(0) == brains.FEATURES_PER_VOXEL).all()
