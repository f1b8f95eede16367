import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.analyses.roi_maximisation import (
    maximise,
    maximise_from_training,
    maximise_latents_as_published,
    roi_patterns,
    set_length,
    training_length,
)

N_ROIS, N_TARGETS = 5, 30


@pytest.fixture
def parts():
    """Projections, intercept, mean and std of a made-up decoder."""
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((N_ROIS, N_TARGETS)),
        rng.standard_normal(N_TARGETS),
        rng.standard_normal(N_TARGETS),
        rng.uniform(0.5, 2, N_TARGETS),
    )


def test_a_pattern_is_its_region():
    rois = {"V1": np.array([True, False, True]), "V2": np.array([False, True, False])}
    np.testing.assert_array_equal(roi_patterns(rois), [[1, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize("rois", [{}, {"V1": np.ones(3, bool), "faces": np.zeros(3, bool)}])
def test_without_a_voxel_there_is_no_pattern(rois):
    with pytest.raises(
        ValueError, match=f"regions without a voxel have no pattern.*got {'faces' if rois else 'no region'}"
    ):
        roi_patterns(rois)


def test_lengths_that_the_authors_did_not_give_are_asked_for(parts):
    with pytest.raises(ValueError, match="no length for colours, only for latents, vision, text"):
        maximise("colours", *parts, "as-published")
    assert maximise("colours", *parts, "from-training").shape == (N_ROIS, N_TARGETS)


@given(st.floats(1e-3, 1e3), st.floats(0.1, 100.0), st.integers(0, 99))
def test_length_is_set_whatever_it_was(scale, length, seed):
    rows = np.random.default_rng(seed).standard_normal((4, 7))
    np.testing.assert_allclose(np.linalg.norm(set_length(rows * scale, length), axis=1), length)
    np.testing.assert_allclose(set_length(rows * scale, length), set_length(rows, length))


def test_training_length_is_the_rms_distance_from_the_mean():
    targets = np.random.default_rng(0).normal(3, [1, 2, 5], (500, 3))
    distances = np.linalg.norm(targets - targets.mean(0), axis=1)
    assert training_length(targets.std(0)) == pytest.approx(np.sqrt(np.square(distances).mean()))


def test_from_training_a_region_stands_alone(parts):
    projections, _, mean, std = parts
    together = maximise_from_training(projections, mean, std)
    for k in range(N_ROIS):
        np.testing.assert_array_equal(maximise_from_training(projections[k : k + 1], mean, std)[0], together[k])
    np.testing.assert_allclose(np.linalg.norm(together - mean, axis=1), training_length(std))


def test_as_published_latents_depend_on_the_other_regions(parts):
    projections, intercept, mean, std = parts
    together = maximise_latents_as_published(projections, intercept, mean, std)
    fewer = maximise_latents_as_published(projections[:4], intercept, mean, std)
    assert np.abs(together[:4] - fewer).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 80)


def test_as_published_latents_need_two_regions(parts):
    projections, intercept, mean, std = parts
    with pytest.raises(ValueError, match="got 1: ask for two regions or more"):
        maximise_latents_as_published(projections[:1], intercept, mean, std)


@pytest.mark.parametrize("lengths", ["from-training", "as-published"])
@pytest.mark.parametrize("group", ["latents", "vision", "text"])
def test_size_of_the_pattern_and_order_of_the_regions_do_not_matter(group, lengths, parts):
    projections, *rest = parts
    made = maximise(group, projections, *rest, lengths)
    np.testing.assert_allclose(maximise(group, 7 * projections, *rest, lengths), made)
    order = [3, 1, 4, 0, 2]
    np.testing.assert_allclose(maximise(group, projections[order], *rest, lengths), made[order])


@pytest.mark.parametrize(("group", "length"), [("vision", 15), ("text", 9)])
def test_as_published_embeddings_lie_at_a_typed_in_distance_from_the_intercept(group, length, parts):
    projections, intercept, mean, std = parts
    made = maximise(group, projections, intercept, mean, std, "as-published")
    np.testing.assert_allclose(np.linalg.norm(made - intercept, axis=1), length)


@pytest.mark.parametrize("length", [np.nan, np.inf, -1.0])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(ValueError, match=f"a length is a finite number ≥ 0, got {length}"):
        set_length(np.ones((2, 3)), length)
