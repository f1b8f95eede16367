import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.evaluation.identification import correlation_distance, two_way_identification
from braindiffuser.evaluation.metrics import DEMO, PROFILES, Metric, Profile, Scorer, arrange, extract_features, score
from braindiffuser.evaluation.pixels import pixcorr, ssim_2d
from braindiffuser.images import BATCH, PictureReader, resize


def rows(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """A network whose layers are the picture's rows and columns, averaged."""
    return {"rows": pictures.mean(axis=3).reshape(len(pictures), -1), "all": pictures.reshape(len(pictures), -1)}


DISTANCE = Metric(
    key="distance",
    label="Distance",
    comparison="correlation_distance",
    description="Correlation distance of row means.",
    citation="none",
    bounds=(0.0, 2.0),
    higher_is_better=False,
    network="rows",
    layer="rows",
)
TWO_WAY = replace(
    DISTANCE,
    key="two_way",
    comparison="two_way_identification",
    bounds=(0.0, 1.0),
    higher_is_better=True,
    chance=0.5,
    direction="per_stimulus",
)
TOY = Profile("toy", (*DEMO.metrics[:2], DISTANCE, TWO_WAY))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def seen(rng) -> np.ndarray:
    return rng.random((8, 3, 16, 16), dtype=np.float32)


@pytest.fixture
def made(rng, seen) -> np.ndarray:
    return np.clip(seen + rng.normal(0, 0.3, seen.shape), 0, 1).astype(np.float32)


def test_each_metric_is_the_function_it_declares(seen, made):
    scores = score(seen, made, TOY, {"rows": rows})
    assert list(scores) == ["pixcorr", "ssim", "distance", "two_way"]
    layers = rows(seen)["rows"], rows(made)["rows"]
    np.testing.assert_array_equal(scores["pixcorr"], pixcorr(seen, made))
    np.testing.assert_array_equal(scores["ssim"], ssim_2d(seen, made))
    np.testing.assert_array_equal(scores["distance"], correlation_distance(*layers))
    np.testing.assert_array_equal(scores["two_way"], two_way_identification(*layers, "per_stimulus"))


def test_a_perfect_reconstruction_reaches_the_better_bound(seen):
    scores = score(seen, seen, TOY, {"rows": rows})
    for metric in TOY.metrics:
        best = metric.bounds[1] if metric.higher_is_better else metric.bounds[0]
        np.testing.assert_allclose(scores[metric.key], best, atol=1e-9)


def test_scores_stay_within_their_bounds(rng, seen):
    for made in (1 - seen, rng.random(seen.shape, dtype=np.float32), np.zeros_like(seen)):
        scores = score(seen, made, TOY, {"rows": rows})
        for metric in TOY.metrics:
            low, high = metric.bounds
            assert ((scores[metric.key] >= low) & (scores[metric.key] <= high)).all()


def test_unrelated_reconstructions_score_at_the_declared_chance(rng):
    seen, made = rng.random((2, 200, 3, 16, 16), dtype=np.float32)
    assert score(seen, made, Profile("one", (TWO_WAY,)), {"rows": rows})["two_way"].mean() == pytest.approx(
        0.5, abs=0.06
    )


def test_scores_follow_their_pictures(rng, seen, made):
    order = rng.permutation(len(seen))
    scores, permuted = (score(seen[k], made[k], TOY, {"rows": rows}) for k in (slice(None), order))
    for key in scores:
        np.testing.assert_allclose(permuted[key], scores[key][order], atol=1e-12)


def test_the_network_sees_stimuli_once(seen, made):
    calls = Counter()

    def counting(pictures):
        calls["stimuli" if np.shares_memory(pictures, seen) else "reconstructions"] += 1
        return rows(pictures)

    scorer = Scorer(seen, TOY, {"rows": counting})
    first, second = scorer.score(made), scorer.score(1 - made)
    assert calls == {"stimuli": 1, "reconstructions": 2}
    assert (first["pixcorr"] > second["pixcorr"]).all()


def test_known_features_are_not_computed_again(seen, made):
    scorer = Scorer(seen, TOY, {"rows": rows})
    features = extract_features(made, TOY, {"rows": rows})
    scorer.networks = {}
    np.testing.assert_array_equal(scorer.score(made, features)["distance"], scorer.score(made, features)["distance"])


@pytest.mark.parametrize("n", [2, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_scores_do_not_depend_on_batches_and_few_pictures_are_held(rng, n):
    seen, made = rng.random((2, n, 3, 16, 16), dtype=np.float32)
    most = Counter()

    def reader(name, pictures):
        def read(numbers):
            most[name] = max(most[name], len(numbers))
            return pictures[numbers]

        return PictureReader(np.arange(n), read)

    scores = score(reader("seen", seen), reader("made", made), TOY, {"rows": rows})
    layers = rows(seen)["rows"], rows(made)["rows"]
    np.testing.assert_array_equal(scores["pixcorr"], pixcorr(seen, made))
    np.testing.assert_array_equal(scores["ssim"], ssim_2d(seen, made))
    np.testing.assert_array_equal(scores["two_way"], two_way_identification(*layers, "per_stimulus"))
    assert max(most.values()) <= BATCH


def test_arranged_features_are_those_of_arranged_pictures(rng, seen):
    order = rng.integers(len(seen), size=12)
    moved = arrange(extract_features(seen, TOY, {"rows": rows}), order)
    np.testing.assert_array_equal(moved["rows"]["rows"], rows(seen[order])["rows"])


def test_only_needed_layers_are_kept(seen):
    assert Scorer(seen, TOY, {"rows": rows}).seen_features.keys() == {"rows"}
    assert Scorer(seen, TOY, {"rows": rows}).seen_features["rows"].keys() == {"rows"}


def test_reconstructions_of_another_size_are_resized_for_pixels(rng, seen):
    large = rng.random((8, 3, 40, 40), dtype=np.float32)
    scores = score(seen, large, Profile("pixels", DEMO.metrics[:2]), {})
    np.testing.assert_array_equal(scores["pixcorr"], pixcorr(seen, resize(large, 16)))


def test_stimuli_that_are_not_square_need_reconstructions_of_their_size(seen):
    with pytest.raises(ValueError, match=r"\(16, 16\) pixels cannot be resized to stimuli of \(16, 12\): not square"):
        score(seen[..., :12], seen, Profile("pixels", DEMO.metrics[:2]), {})


def test_as_many_reconstructions_as_stimuli(seen):
    with pytest.raises(ValueError, match="got 7 reconstructions of 8 stimuli"):
        Scorer(seen, TOY, {"rows": rows}).score(seen[:7])


def test_missing_networks_and_layers_are_named(seen):
    with pytest.raises(ValueError, match=r"toy needs the networks \['rows'\], got \['columns'\]"):
        Scorer(seen, TOY, {"columns": rows})
    with pytest.raises(ValueError, match=r"network rows has no layer \['rows'\], it has \['all'\]"):
        Scorer(seen, TOY, {"rows": lambda pictures: {"all": rows(pictures)["all"]}})


def test_profile_lists_each_layer_once():
    assert TOY.layers == {"rows": ("rows",)}
    assert DEMO.layers == {"efficientnet_lite0": ("early", "middle", "last"), "clip_demo": ("embedding",)}


def test_demo_profile_declares_its_keys_and_that_it_stands_in():
    assert PROFILES["demo"] is DEMO
    assert [metric.key for metric in DEMO.metrics] == [
        "pixcorr",
        "ssim",
        "efficientnet_lite0_early",
        "efficientnet_lite0_middle",
        "efficientnet_lite0_last",
        "clip_demo",
    ]
    for metric in DEMO.metrics[2:]:
        assert "Stand-in for" in metric.description
        assert metric.chance == 0.5
        assert metric.direction == "per_reconstruction"


def test_facts_must_not_contradict_one_another():
    with pytest.raises(ValueError, match="pixcorr needs no network and layer"):
        replace(DISTANCE, comparison="pixcorr")
    with pytest.raises(ValueError, match="correlation_distance needs a network and layer"):
        replace(DISTANCE, network=None, layer=None)
    with pytest.raises(ValueError, match="correlation_distance needs a network and layer"):
        replace(DISTANCE, layer=None)
    with pytest.raises(ValueError, match="a direction belongs to two_way_identification"):
        replace(DISTANCE, direction="per_stimulus")
    with pytest.raises(ValueError, match="a direction belongs to two_way_identification"):
        replace(TWO_WAY, direction=None)


def test_keys_of_a_profile_are_unique():
    with pytest.raises(ValueError, match="every metric needs its own key"):
        Profile("twice", (DISTANCE, DISTANCE))


def test_import_loads_no_torch():
    program = (
        "import sys, braindiffuser.evaluation.trust; assert not {'torch', 'timm', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
