"""A split whose copies, distances and dependence are known."""

import io
import json
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from braindiffuser.analyses.split_audit import SplitAudit, _are_usual, _by_distance, _doubles
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.images import from_uint8
from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows
from braindiffuser.metrics.split_overlap import thirds
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.report.sections import Table

from .linear_world import world_of_pictures as world


@pytest.fixture(scope="module")
def plain():
    return SplitAudit().run(world())


def said(outcome):
    return [block.text for block in outcome.section.blocks if getattr(block, "style", "") == "verdict"]


def test_copies_are_found_and_named():
    outcome = SplitAudit().run(world(copies=[(3, 7), (20, 90)]))
    own = outcome.facts["sets"]["test"]
    assert [(each["number"], each["train_id"]) for each in own["near_copies"]] == [(3, 1007), (20, 1090)]
    assert own["near_duplicates"]["count"] == 2
    text = said(outcome)[0]
    assert text.startswith("Leak: of 40 test pictures, 2 are near-copies of training pictures")
    assert "stimulus 3 (number 3) as training stimulus 1007, stimulus 20 (number 20) as training stimulus 1090" in text
    assert outcome.pictures["split_audit_test"].shape == outcome.pictures["split_audit_train"].shape == (8, 3, 16, 16)
    np.testing.assert_allclose(
        outcome.pictures["split_audit_test"][:2], outcome.pictures["split_audit_train"][:2], atol=0.011
    )
    table = outcome.tables["nearest"]
    assert table["train_id"].iloc[[3, 20]].tolist() == [1007, 1090]
    json.dumps(outcome.facts, allow_nan=False)


def test_a_random_draw_of_the_same_pictures_is_called_one(plain):
    own = plain.facts["sets"]["test"]
    assert own["verdict"] in ("alike", "open")
    low, high = own["beside_training"]["ci95"]
    assert low < 0.5 < high
    assert own["near_copies"] == []
    assert said(plain)[0].startswith("No copy across the split was found among the test pictures. By features, 0 of 40")


@pytest.mark.parametrize(
    ("changes", "verdict", "begins"),
    [
        ({"nearer": True}, "nearer", "Leak: the test pictures lie nearer"),
        ({"farther": True}, "farther", "The test pictures lie farther"),
    ],
)
def test_a_test_set_that_lies_elsewhere_is_told(changes, verdict, begins):
    outcome = SplitAudit().run(world(**changes))
    assert outcome.facts["sets"]["test"]["verdict"] == verdict
    assert said(outcome)[1].startswith(begins)


def test_scores_that_follow_the_distance_are_named_and_no_others(plain):
    data = world()
    distance = plain.tables["nearest"]["similarity"].to_numpy()
    noise = np.random.default_rng(5).normal(0, 0.02, 40)
    table = data.per_image().assign(rank=0.3 + 0.5 * distance + noise)
    outcome = SplitAudit().run(replace(data, per_image=lambda: table))
    rank = outcome.facts["sets"]["test"]["scores"]["rank"]
    assert rank["slope"]["ci95"][0] < 0.5 < rank["slope"]["ci95"][1]
    assert rank["thirds"][0]["value"] < rank["thirds"][1]["value"] < rank["thirds"][2]["value"]
    (text,) = said(outcome)[2:]
    assert "those near to a training picture score better by Rank (1 of 2 scores" in text


def test_features_are_identified_less_the_training_mean_as_before_any_picture_is_drawn(plain):
    data = world()
    mean = np.asarray(data.decoders().targets["vision"]).mean(axis=0, dtype=np.float64).astype(np.float32)
    expected = two_way_identification(data.truth("vision") - mean, data.predictions("vision") - mean)
    similarity = plain.tables["nearest"]["similarity"].to_numpy()
    found = plain.facts["sets"]["test"]["scores"]["features.vision"]["thirds"]
    assert [own["value"] for own in found] == [expected[part].mean() for part in thirds(similarity)]


def test_intervals_of_thirds_of_three_pictures_end_at_the_bounds_and_all_right_is_no_proof():
    rng, n = np.random.default_rng(0), 9
    for bounds, chance in (([0.0, 1.0], 0.5), ([-1.0, 1.0], None), ([0.0, 2.0], None)):
        scores = np.array([1.0, 1.0, 1.0, *rng.uniform(*bounds, n - 3)])
        found = _by_distance(np.arange(n) / n, scores, thirds(np.arange(n) / n), {"bounds": bounds, "chance": chance})
        for own in found["thirds"]:
            assert bounds[0] <= own["ci95"][0] <= own["value"] <= own["ci95"][1] <= bounds[1]
    all_right = _by_distance(
        np.arange(n) / n, np.ones(n), thirds(np.arange(n) / n), {"bounds": [0.0, 1.0], "chance": 0.5}
    )
    assert all_right["thirds"][0]["ci95"][0] < 0.6


def test_the_network_is_a_group_or_known_by_name():
    data = world()
    assert SplitAudit(network="latents").run(data).facts["network"] == "features of the target group latents"
    with pytest.raises(
        RunError, match=r"network is clap, which is no target group \(latents, vision\): there is no scoring"
    ):
        SplitAudit(network="clap").run(data)


def test_some_training_pictures_stand_for_all():
    outcome = SplitAudit(n_reference=50, n_shown=0).run(world())
    assert outcome.facts["n_reference"] == 50
    assert not outcome.pictures
    counts = outcome.facts["training"]["histogram"]["counts"]
    assert sum(counts) == 50


def test_a_few_pictures_have_no_thirds():
    data = world()
    outcome = SplitAudit().run(
        replace(data, test_sets={"test": slice(0, 34), "few": slice(34, 39), "one": slice(39, 40)})
    )
    sets = outcome.facts["sets"]
    assert [len(own["thirds"]) for own in sets.values()] == [3, 0, 0]
    assert sets["one"]["verdict"] == "open"
    assert outcome.tables["nearest"]["set"].tolist() == ["test"] * 34 + ["few"] * 5 + ["one"]


@cache
def base():
    return world()


def of_features(test, train):
    """The world of pictures with other features of the group vision, which were decoded without error."""
    data = base()
    decoders = SimpleNamespace(targets={**data.decoders().targets, "vision": train})
    return replace(
        data,
        decoders=lambda: decoders,
        truth=lambda group: test if group == "vision" else data.truth(group),
        predictions=lambda group: test if group == "vision" else data.predictions(group),
    )


def of_pictures(test, train):
    """The world of pictures with other pictures."""
    seen = {"test": test, "train": train}
    return replace(base(), seen=lambda side: seen[side])


def on_one_background(rng, n):
    """White pictures in a black frame, each with a small patch of its own in some place."""
    pictures = np.ones((n, 3, 32, 32), np.float32)
    pictures[:, :, :2] = pictures[:, :, -2:] = pictures[:, :, :, :2] = pictures[:, :, :, -2:] = 0
    for picture, (y, x) in zip(pictures, rng.integers(4, 24, (n, 2)), strict=True):
        picture[:, y : y + 4, x : x + 4] = rng.random((3, 1, 1))
    return pictures


def test_what_training_pictures_have_in_common_is_taken_off_both_sides():
    rng, common = np.random.default_rng(1), 30 * np.random.default_rng(2).standard_normal(30)
    test, train = (common + rng.standard_normal((n, 30)) for n in (40, 160))
    table = SplitAudit(n_shown=0).run(of_features(test.astype(np.float32), train.astype(np.float32))).tables["nearest"]
    correlations = np.corrcoef(test - train.mean(axis=0), train - train.mean(axis=0))[:40, 40:]
    np.testing.assert_allclose(table["similarity"], correlations.max(axis=1), atol=1e-4)
    assert table["train_row"].tolist() == correlations.argmax(axis=1).tolist()


def test_features_that_are_alike_among_training_pictures_too_are_no_sign_of_a_leak():
    """Of four features, everyone has a neighbour that is nearly equal: test pictures and training pictures."""
    test, train = (np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32) for n in (40, 160))
    outcome = SplitAudit(n_shown=0).run(of_features(test, train))
    near = outcome.facts["sets"]["test"]["near_duplicates"]
    assert min(near["share"], near["training_share"]) > 0.8
    assert not near["more_than_training"]
    assert "not shown to be more than among training pictures" in said(outcome)[0]


def test_more_doubles_than_among_training_pictures_are_told():
    outcome = SplitAudit(n_shown=0).run(world(nearer=True))
    near = outcome.facts["sets"]["test"]["near_duplicates"]
    assert (near["share"], near["training_share"], near["more_than_training"]) == (1.0, 0.0, True)
    assert "more than among training pictures (0.0 %)" in said(outcome)[0]


def test_one_background_makes_no_copies_but_a_copy_is_found_on_it():
    rng = np.random.default_rng(0)
    train, test = on_one_background(rng, 160), on_one_background(rng, 40)
    plain = [np.corrcoef(picture.ravel(), train.reshape(160, -1))[0, 1:].max() for picture in test]
    assert min(plain) > 0.98
    own = SplitAudit(n_shown=0).run(of_pictures(test, train)).facts["sets"]["test"]
    assert own["near_copies"] == []
    test[11] = train[70]
    own = SplitAudit(n_shown=0).run(of_pictures(test, train)).facts["sets"]["test"]
    assert (11, 1070) in [(copy["number"], copy["train_id"]) for copy in own["near_copies"]]
    assert max(own["pixel_duplicates"]["share"], own["pixel_duplicates"]["training_share"]) < 0.1


def test_pale_pictures_are_no_copies_of_each_other():
    """Less the mean picture little but that mean is left of them, in which all agree."""
    rng = np.random.default_rng(0)
    train, test = (rng.random((n, 3, 32, 32), dtype=np.float32) for n in (160, 40))
    train += np.linspace(0, 3, 32, dtype=np.float32)[:, None]
    train[:20], test[:5] = 2 + 0.05 * train[:20], 2 + 0.05 * test[:5]
    flat = [np.rint(255 / 4 * pictures).reshape(len(pictures), -1) for pictures in (test, train)]
    assert nearest_rows(*flat, mean_row(flat[1])).similarity[:5].min() > 0.98
    for found in SplitAudit()._pixel_neighbours(of_pictures(test / 4, train / 4))[:2]:
        assert found.similarity.max() < 0.98


def test_where_training_pictures_are_copies_of_each_other_exact_copies_alone_are_named():
    """Frames of a few films, which both sides are drawn from: that such pictures resemble each other is no news."""
    rng = np.random.default_rng(0)
    films = rng.random((8, 3, 32, 32), dtype=np.float32)
    frames = np.repeat(films, 25, axis=0) + 0.03 * rng.standard_normal((200, 3, 32, 32)).astype(np.float32)
    frames = np.clip(frames, 0, 1)[rng.permutation(200)]
    test, train = frames[:40], frames[40:]
    test[7] = train[33]
    own = SplitAudit(n_shown=0).run(of_pictures(test, train)).facts["sets"]["test"]
    assert (own["pixel_duplicates"]["share"], own["pixel_duplicates"]["training_share"]) == (1.0, 1.0)
    assert [copy["number"] for copy in own["near_copies"]] == [7]
    assert [pair["number"] for pair in own["look_alikes"]] == [number for number in range(40) if number != 7]


def scenes(n, seed):
    return compose_scenes(n, seed=seed)[0]


def compressed(picture, quality):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize("quality", [50, 80, 95])
def test_compressed_copies_are_copies_though_a_few_training_pictures_double_each_other_too(quality):
    train, test = scenes(160, 0), scenes(40, 1)
    train[1], train[3] = train[0], train[2]
    for place in (4, 9, 30):
        test[place] = compressed(train[10 + place], quality)
    own = SplitAudit(n_shown=0).run(of_pictures(from_uint8(test), from_uint8(train))).facts["sets"]["test"]
    assert own["pixel_duplicates"]["training_share"] > 0
    assert [(copy["number"], copy["train_id"]) for copy in own["near_copies"]] == [(4, 1014), (9, 1019), (30, 1040)]
    assert own["look_alikes"] == []


def test_gratings_that_differ_by_contrast_alone_are_no_copies():
    rng = np.random.default_rng(0)
    place, angles = np.mgrid[:32, :32], rng.uniform(0, np.pi, 200)
    along = np.cos(angles)[:, None, None] * place[0] + np.sin(angles)[:, None, None] * place[1]
    waves = 0.5 + 0.5 * np.sin(along * rng.uniform(0.2, 1, (200, 1, 1)) + rng.uniform(0, 2 * np.pi, (200, 1, 1)))
    pictures = np.repeat(waves[:, None], 3, axis=1).astype(np.float32)
    test, train = pictures[:40].copy(), pictures[40:].copy()
    test[5] = 0.5 + 0.3 * (train[20] - 0.5)
    test[8] = train[21]
    own = SplitAudit(n_shown=0).run(of_pictures(test, train)).facts["sets"]["test"]
    assert [copy["number"] for copy in own["near_copies"]] == [8]
    assert [pair["number"] for pair in own["look_alikes"]] == [5]


def test_copies_and_pictures_that_may_be_copies_are_both_said():
    rng = np.random.default_rng(0)
    films = rng.random((8, 3, 32, 32), dtype=np.float32)
    frames = np.repeat(films, 25, axis=0) + 0.03 * rng.standard_normal((200, 3, 32, 32)).astype(np.float32)
    frames = np.clip(frames, 0, 1)[rng.permutation(200)]
    test, train = frames[:40], frames[40:]
    test[7] = train[33]
    outcome = SplitAudit(n_shown=0).run(of_pictures(test, train))
    first, second = said(outcome)[:2]
    assert first.startswith("Leak: of 40 test pictures, 1 is a near-copy of a training picture")
    assert second.startswith(
        "Whether further test pictures are copies cannot be told from pixels: of 40 test pictures, 39"
    )
    captions = [block.caption for block in outcome.section.blocks if isinstance(block, Table)]
    assert {"Near-copies among test pictures", "Alike in pixels among test pictures"} <= set(captions)
    assert not any("scores hold for such pictures" in text for text in said(outcome))


def changed(**places):
    """The facts of the world of pictures, of which test or training pictures are replaced by a function of them."""
    data = base()
    seen = {side: data.seen(side).copy() for side in ("train", "test")}
    for name, make in places.items():
        side, place = name.rsplit("_", 1)
        seen[side][int(place)] = np.clip(make(seen["train"]), 0, 1)
    return of_pictures(seen["test"], seen["train"])


def noisy(place, scale=0.03):
    noise = np.random.default_rng(place).standard_normal((3, 16, 16)).astype(np.float32)
    return lambda train: train[place] + scale * noise


def numbers(pairs):
    return [pair["number"] for pair in pairs]


@pytest.mark.parametrize(
    ("test", "training", "usual"),
    [
        ((1, 300), (2, 1000), False),  # pairs are rare
        ((1, 300), (20, 1000), True),
        ((9, 300), (20, 1000), True),  # within the interval of the share of training pictures
        ((12, 300), (20, 1000), False),
        ((30, 300), (200, 1000), True),
        ((90, 300), (200, 1000), False),
        ((1, 300), (0, 1000), False),
    ],
)
def test_pairs_are_usual_where_training_pictures_have_as_many_and_not_rarely(test, training, usual):
    shares = [np.repeat([1.0, 0.0], [count, n - count]) for count, n in (test, training)]
    assert _are_usual(_doubles(*shares, 0.98)) == usual


def test_a_copy_is_named_where_no_training_picture_of_the_reference_has_a_pair():
    own = SplitAudit(n_shown=0, n_reference=100).run(changed(test_3=noisy(7))).facts["sets"]["test"]
    assert own["pixel_duplicates"]["training_share"] == 0
    assert (numbers(own["near_copies"]), own["look_alikes"]) == ([3], [])


def test_contrast_is_compared_by_the_root_mean_square():
    """At three quarters of the contrast, pixels differ by .058 of their range root mean square, by .0495 on average."""

    def paler(train):
        mean = train[7].mean()
        return mean + 0.75 * (train[7] - mean)

    own = SplitAudit(n_shown=0).run(changed(test_3=paler)).facts["sets"]["test"]
    assert (own["near_copies"], numbers(own["look_alikes"])) == ([], [3])


@pytest.mark.parametrize("place", [3, 30])
def test_a_copy_of_one_colour_is_a_copy(place):
    outcome = SplitAudit(n_shown=0).run(
        changed(train_7=lambda train: np.full((3, 16, 16), 0.5), **{f"test_{place}": lambda train: train[7]})
    )
    (copy,) = outcome.facts["sets"]["test"]["near_copies"]
    assert (copy["number"], copy["train_id"], copy["pixel_correlation"]) == (place, 1007, 1.0)
    assert outcome.facts["sets"]["test"]["pixel_duplicates"]["training_share"] == 0


def test_training_pictures_of_one_colour_are_doubles_of_each_other_but_not_of_themselves():
    black = {f"train_{place}": lambda train: np.zeros((3, 16, 16)) for place in range(40)}
    own = SplitAudit(n_shown=0).run(changed(**black, test_3=lambda train: train[0])).facts["sets"]["test"]
    assert own["pixel_duplicates"]["training_share"] == 40 / 160
    assert numbers(own["near_copies"]) == [3]
