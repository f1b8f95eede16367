import subprocess
import sys
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.images import BATCH, PictureReader, resize, resize_without_antialias
from braindiffuser.metrics.correlation_distance import CorrelationDistance, correlation_distance
from braindiffuser.metrics.metric import FeatureMetric, PixelMetric
from braindiffuser.metrics.pixcorr import PixCorr, pixcorr
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer, extract_features, take
from braindiffuser.metrics.ssim import SSIM, ssim
from braindiffuser.metrics.two_way_identification import TwoWayIdentification, two_way_identification


def rows(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """A network whose layers are the picture's rows and columns, averaged."""
    return {"rows": pictures.mean(axis=3).reshape(len(pictures), -1), "all": pictures.reshape(len(pictures), -1)}


LAYER = {"network": "rows", "layer": "rows", "description": "Of row means."}
TWO_WAY = TwoWayIdentification(**LAYER, label="Two-way", direction="per_stimulus")
PIXELS = Profile(name="pixels", metrics={"pixcorr": PixCorr(), "ssim": SSIM()})
TOY = Profile(
    name="toy",
    metrics={**PIXELS.metrics, "distance": CorrelationDistance(**LAYER, label="Distance"), "two_way": TWO_WAY},
)


class Brightness(PixelMetric):
    """A metric of somebody else: nothing of the package names it."""

    label: str = "Brightness"
    description: str = "Difference of mean brightness."
    citation: str = "none"
    gain: float = 1.0
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False

    def compare(self, seen, made):
        return self.gain * np.abs(seen.mean(axis=(1, 2, 3), dtype=float) - made.mean(axis=(1, 2, 3), dtype=float))


class Largest(FeatureMetric):
    """Another one, of features."""

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def compare(self, seen, made):
        return (seen.argmax(axis=1) == made.argmax(axis=1)).astype(np.float32)


def score(seen, made, profile, networks):
    return Scorer(seen, profile, networks).score(made)


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
    np.testing.assert_array_equal(scores["ssim"], ssim(seen, made))
    np.testing.assert_array_equal(scores["distance"], correlation_distance(*layers))
    np.testing.assert_array_equal(scores["two_way"], two_way_identification(*layers, "per_stimulus"))


def test_a_perfect_reconstruction_reaches_the_better_bound(seen):
    scores = score(seen, seen, TOY, {"rows": rows})
    for key, metric in TOY.metrics.items():
        best = metric.bounds[1] if metric.higher_is_better else metric.bounds[0]
        np.testing.assert_allclose(scores[key], best, atol=1e-9)


def test_scores_stay_within_their_bounds(rng, seen):
    for made in (1 - seen, rng.random(seen.shape, dtype=np.float32), np.zeros_like(seen)):
        scores = score(seen, made, TOY, {"rows": rows})
        for key, metric in TOY.metrics.items():
            low, high = metric.bounds
            assert ((scores[key] >= low) & (scores[key] <= high)).all()


def test_unrelated_reconstructions_score_at_the_declared_chance(rng):
    seen, made = rng.random((2, 200, 3, 16, 16), dtype=np.float32)
    scores = score(seen, made, Profile(name="one", metrics={"two_way": TWO_WAY}), {"rows": rows})
    assert scores["two_way"].mean() == pytest.approx(TWO_WAY.chance, abs=0.06)


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
    np.testing.assert_array_equal(scores["ssim"], ssim(seen, made))
    np.testing.assert_array_equal(scores["two_way"], two_way_identification(*layers, "per_stimulus"))
    assert max(most.values()) <= BATCH


def test_taken_features_are_those_of_the_taken_pictures(rng, seen):
    order = rng.integers(len(seen), size=12)
    moved = take(extract_features(seen, TOY, {"rows": rows}), order)
    np.testing.assert_array_equal(moved["rows"]["rows"], rows(seen[order])["rows"])


def test_only_needed_layers_are_kept(seen):
    assert Scorer(seen, TOY, {"rows": rows}).seen_features.keys() == {"rows"}
    assert Scorer(seen, TOY, {"rows": rows}).seen_features["rows"].keys() == {"rows"}


def test_reconstructions_of_another_size_are_resized_for_pixels(rng, seen):
    large = rng.random((8, 3, 40, 40), dtype=np.float32)
    scores = score(seen, large, PIXELS, {})
    np.testing.assert_array_equal(scores["pixcorr"], pixcorr(seen, resize(large, 16)))


def test_metrics_with_sizes_of_their_own_see_pictures_resized_in_turn_from_as_they_came(rng, seen):
    small, asked = rng.random((len(seen), 3, 20, 20), np.float32), []

    class Remembering(PixCorr):
        def compare(self, seen, made):
            asked.append((seen, made))
            return super().compare(seen, made)

    profile = Profile(name="sized", metrics={"own": PixCorr(), "sized": Remembering(sizes=(14, 24))})
    found = score(seen, small, profile, {})
    ((shown, drawn),) = asked
    np.testing.assert_array_equal(drawn, resize_without_antialias(resize_without_antialias(small, 14), 24))
    np.testing.assert_array_equal(shown, resize_without_antialias(resize_without_antialias(seen, 14), 24))
    np.testing.assert_array_equal(found["own"], pixcorr(seen, resize(small, seen.shape[-1])))
    np.testing.assert_array_equal(found["sized"], pixcorr(shown, drawn))


def test_a_scorer_is_limited_to_some_metrics_without_computing_features_again(seen, made):
    calls = []

    def counting(pictures):
        calls.append(len(pictures))
        return rows(pictures)

    scorer = Scorer(seen, TOY, {"rows": counting})
    n_calls = len(calls)
    only = scorer.limited_to(["ssim"])
    assert list(only.score(made)) == ["ssim"]
    assert len(calls) == n_calls
    assert list(scorer.profile.metrics) == list(TOY.metrics)


def test_stimuli_that_are_not_square_need_reconstructions_of_their_size(seen):
    with pytest.raises(ValueError, match=r"\(16, 16\) pixels cannot be resized to stimuli of \(16, 12\): not square"):
        score(seen[..., :12], seen, PIXELS, {})


def test_as_many_reconstructions_as_stimuli(seen):
    with pytest.raises(ValueError, match="got 7 reconstructions of 8 stimuli"):
        Scorer(seen, TOY, {"rows": rows}).score(seen[:7])


def test_missing_networks_and_layers_are_named(seen):
    with pytest.raises(ValueError, match=r"toy needs the networks \['rows'\], got \['columns'\]"):
        Scorer(seen, TOY, {"columns": rows})
    with pytest.raises(ValueError, match=r"network rows has no layer \['rows'\], it has \['all'\]"):
        Scorer(seen, TOY, {"rows": lambda pictures: {"all": rows(pictures)["all"]}})


def test_metrics_of_somebody_else_are_scored_like_the_bundled_ones(seen, made):
    extra = {"brightness": Brightness(gain=0.5), "largest": Largest(**LAYER, label="Largest", citation="none")}
    profile = TOY.with_metrics(extra)
    reader = PictureReader(np.arange(len(made)), lambda numbers: made[numbers])
    scores, bundled = score(seen, reader, profile, {"rows": rows}), score(seen, made, TOY, {"rows": rows})
    assert list(scores) == [*TOY.metrics, "brightness", "largest"]
    for key in TOY.metrics:
        np.testing.assert_array_equal(scores[key], bundled[key])
    np.testing.assert_array_equal(scores["brightness"], Brightness(gain=0.5).compare(seen, made))
    assert scores["largest"].dtype == np.float64
    np.testing.assert_array_equal(score(seen, seen, profile, {"rows": rows})["largest"], 1)


@pytest.mark.parametrize(
    "wrong",
    [np.array(0.5), np.zeros(7), np.full(8, np.nan), np.ones(8, complex), np.full(8, "1"), np.full((8, 1), 0.5)],
)
def test_a_metric_that_does_not_score_each_picture_is_named(seen, monkeypatch, wrong):
    monkeypatch.setattr(Brightness, "compare", lambda *_: wrong)
    profile = Profile(name="one", metrics={"brightness": Brightness()})
    with pytest.raises(RunError, match="metric brightness must give one finite score for each of 8 pictures, but gave"):
        score(seen, seen, profile, {})


def test_import_loads_no_torch():
    program = "import sys, braindiffuser.metrics.summary; assert not {'torch', 'timm', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("scale", ["uint8", 255.0, -1.0, float("nan")])
@pytest.mark.usefixtures("types_unchecked")
def test_pictures_of_another_scale_are_refused(scale):
    pictures = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
    odd = (255 * pictures).astype(np.uint8) if scale == "uint8" else pictures * np.float32(scale)
    pixels = Profile.load("pixels")
    with pytest.raises(ValueError, match=r"give floating-point numbers in \[0, 1\]"):
        Scorer(odd, pixels, {})
    with pytest.raises(ValueError, match=r"give floating-point numbers in \[0, 1\]"):
        Scorer(pictures, pixels, {}).score(odd)


class Odd:
    """A network whose features are wrong in one way for the pictures from some batch on."""

    spoilt: ClassVar = {
        "nan": lambda rows: rows * np.float32(np.nan),
        "infinite": lambda rows: rows / np.float32(0),
        "one row": lambda rows: rows[:1],
        "one number": lambda rows: rows[:, :1],
        "a vector": lambda rows: rows[:, 0],
        "complex": lambda rows: rows.astype(complex),
        "text": lambda rows: rows.astype(str),
        "another type": lambda rows: rows.astype(np.float64),
        "truth": lambda rows: rows > 0.5,
        "nothing": lambda rows: rows[:, :0],
    }

    def __init__(self, how, first=0):
        self.how, self.batches = how, -first

    def __call__(self, pictures):
        self.batches += 1
        made = rows(pictures)["rows"]
        with np.errstate(divide="ignore"):
            return {"rows": self.spoilt[self.how](made) if self.batches > 0 else made}


@pytest.mark.parametrize("how", Odd.spoilt)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.usefixtures("types_unchecked")
def test_a_network_that_yields_something_else_is_named(rng, how, first):
    """One row, or one number, would be repeated for all pictures; NaN would be rank 0."""
    pictures = rng.random((2 * BATCH, 3, 16, 16), dtype=np.float32)
    if first == 0 and how in ("another type", "one number"):
        return
    words = (
        "that are not finite, first of picture"
        if how in ("nan", "infinite")
        else r"expected (real numbers|float32) of shape \(32, "
    )
    with pytest.raises(RunError, match=f"network rows gave features rows .*{words}"):
        Scorer(pictures, Profile(name="one", metrics={"two_way": TWO_WAY}), {"rows": Odd(how, first)})


def test_a_network_that_tells_no_stimuli_apart_is_named(seen):
    profile = Profile(name="one", metrics={"two_way": TWO_WAY})
    for network in (lambda pictures: {"rows": np.zeros((len(pictures), 4))}, rows):
        same = seen if network is not rows else np.repeat(seen[:1], 3, axis=0)
        with pytest.raises(
            RunError, match=r"network rows gives the same features rows for all \d stimuli, so it cannot"
        ):
            Scorer(same, profile, {"rows": network})
    assert score(seen, np.repeat(seen[:1], 8, axis=0), profile, {"rows": rows})["two_way"].mean() == 0.5


@pytest.mark.parametrize("wrong", [-0.5, -2e-3, 1 + 2e-3, 1.5, 100.0])
def test_a_score_outside_the_bounds_of_its_metric_is_told(seen, monkeypatch, wrong):
    profile = Profile(name="one", metrics={"brightness": Brightness()})
    monkeypatch.setattr(Brightness, "compare", lambda *_: np.full(8, wrong))
    with pytest.raises(RunError, match=r"metric brightness gave scores from .*, but its bounds are 0 and 1: correct"):
        score(seen, seen, profile, {})
    monkeypatch.setattr(Brightness, "compare", lambda *_: np.full(8, 1 + 5e-4))
    assert score(seen, seen, profile, {})["brightness"].max() > 1


@pytest.mark.parametrize(
    ("bounds", "chance"),
    [
        ((0.0, np.inf), None),
        ((1.0, 0.0), None),
        ((0.0, 1.0), np.nan),
        ((0.0,), None),
        ((2, 2), None),
        ((0.0, 1.0), 7.0),
    ],
)
def test_bounds_that_no_file_can_hold_are_told_before_anything_is_computed(monkeypatch, bounds, chance):
    monkeypatch.setattr(Brightness, "bounds", bounds)
    monkeypatch.setattr(Brightness, "chance", chance)
    with pytest.raises(ValueError, match=r"metric brightness .* has bounds .*: give finite numbers, the smaller"):
        Profile(name="one", metrics={"brightness": Brightness()})


class Halved(TwoWayIdentification):
    """Derives from identification, and scores otherwise."""

    def compare(self, seen, made):
        return super().compare(seen, made) / 2


def test_identification_comes_without_each_picture_and_other_scores_do_not(seen, made):
    """What is left out is what the same pictures but one would score."""
    scores = score(seen, made, TOY, {"rows": rows})
    assert list(scores.left_out) == ["two_way"]
    layers = rows(seen)["rows"], rows(made)["rows"]
    expected = [TWO_WAY.compare(*(np.delete(layer, i, axis=0) for layer in layers)).mean() for i in range(len(seen))]
    np.testing.assert_allclose(scores.left_out["two_way"], expected, atol=1e-12)


def test_a_class_with_a_score_of_its_own_is_no_identification(seen, made):
    profile = Profile(name="own", metrics={"halved": Halved(**LAYER, label="Halved", direction="per_stimulus")})
    scores = score(seen, made, profile, {"rows": rows})
    assert scores.left_out == {}
    np.testing.assert_allclose(scores["halved"], score(seen, made, TOY, {"rows": rows})["two_way"] / 2)


def test_all_pairs_have_the_scores_on_their_diagonal(seen, made, monkeypatch):
    scorer = Scorer(seen, TOY, {"rows": rows})
    features = extract_features(made, TOY, {"rows": rows})
    pairs, scores = scorer.score_all_pairs(made, features), scorer.score(made, features)
    assert list(pairs) == ["pixcorr", "distance", "two_way"]
    for key, own in pairs.items():
        np.testing.assert_allclose(np.diagonal(own), scores[key], atol=1e-6)
    monkeypatch.setattr("braindiffuser.metrics.scorer.MOST_PIXELS", seen.size - 1)
    assert list(scorer.score_all_pairs(made, features)) == ["distance", "two_way"]
