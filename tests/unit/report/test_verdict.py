"""The verdict of constructed cases: each fault is caught by its name, and a true decoder of equal scores is not accused."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindiffuser.analyses.split_audit import SplitAudit
from braindiffuser.experiment import Experiment
from braindiffuser.metrics.feature_scores import DecodedGroup, feature_scores
from braindiffuser.metrics.inference import permutation_null, permutation_p_value
from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.report.sections import Gallery, GalleryRow
from braindiffuser.report.verdict.conclusion import Evidence
from braindiffuser.report.verdict.conclusions import conclusions
from braindiffuser.report.verdict_section import verdict_section
from braindiffuser.run import Run
from braindiffuser.stages import StageContext
from braindiffuser.store.results import Results

from ..analyses.linear_world import world_of_pictures

ROOT = Path(__file__).parents[3]
N_TRAIN, N_TEST, N_CATEGORIES, WIDTH = 500, 120, 12, 80
GRAVE = {"unrelated", "copies", "nearer_than_training", "brain_ignored", "collapsed", "category_only"}
CLEAN = {
    "n": N_TEST,
    "near_copies": [],
    "look_alikes": [],
    "near_duplicates": {"count": 0, "training_share": 0.0, "more_than_training": False},
    "verdict": "alike",
}


class World:
    """Stimuli whose features are those of their category and their own, in equal parts."""

    def __init__(self, seed=0, n_test=N_TEST):
        self.rng = np.random.default_rng(seed)
        self.means = self.noise(N_CATEGORIES)
        self.train_category, self.category = (self.rng.integers(N_CATEGORIES, size=n) for n in (N_TRAIN, n_test))
        self.train = self.means[self.train_category] + self.noise(N_TRAIN)
        self.truth = self.means[self.category] + self.noise(n_test)

    def noise(self, n, scale=1.0):
        return (scale * self.rng.normal(size=(n, WIDTH))).astype(np.float32)

    def features(self, decoded):
        mean = mean_row(self.train)
        shift, nearest = mean.astype(np.float32), nearest_rows(decoded, self.train, mean)
        group = DecodedGroup(decoded - shift, self.truth - shift, nearest, None, N_TRAIN)
        return feature_scores(group, self.rng, self.category, n_permutations=99).facts

    def metric(self, drawn):
        """Scores of pictures that show some features, as one metric of `scores.json`."""
        null = permutation_null(self.truth, drawn, self.rng, 99)
        scores = two_way_identification(self.truth, drawn)
        return {
            "label": "CLIP",
            "value": float(scores.mean()),
            "ci95": [float(scores.mean()) - 0.03, float(scores.mean()) + 0.03],
            "chance": 0.5,
            "bounds": [0, 1],
            "higher_is_better": True,
            "baselines": {},
            "differences": {},
            "p": permutation_p_value(float(scores.mean()), null),
        }

    def names(self, decoded, drawn=None, audit=CLEAN, **known):
        drawn = decoded if drawn is None else drawn
        scores = {
            "n_images": len(self.truth),
            "metrics": {"clip": self.metric(drawn + self.noise(len(drawn), 0.5))},
            "features": {"vision": self.features(decoded)},
        }
        return {each.name: each for each in conclusions(Evidence(scores, audit, **known))}


@pytest.fixture
def world():
    return World()


def decoder(world, noise=1.5):
    return world.truth + world.noise(N_TEST, noise)


@pytest.mark.parametrize("seed", range(3))
def test_a_true_decoder_is_not_accused(seed):
    world = World(seed)
    found = world.names(decoder(world))
    assert not GRAVE & set(found)
    assert {"features_identified", "pictures_identified", "beyond_category"} <= set(found)


def test_shuffled_responses_are_unrelated(world):
    found = world.names(decoder(world)[world.rng.permutation(N_TEST)], noise_ceiling=30.0)
    assert set(found) & GRAVE == {"unrelated"}
    assert "one list counts from 0 and the other from 1" in found["unrelated"].sentence
    assert "pictures_identified" not in found


def test_misaligned_trials_are_unrelated_and_said_to_be_out_of_step(world):
    shifts = (1, 2, 3, 5, 8, 13)
    found = [world.names(np.roll(decoder(world), shift, axis=0), noise_ceiling=0.4) for shift in shifts]
    caught = [each["unrelated"].sentence for each in found if "unrelated" in each]
    assert len(caught) >= len(shifts) - 1  # one in twenty passes at the level of .05
    for sentence in caught:
        assert "trials are probably out of step with the design" in sentence
        assert "misaligned" in sentence


@pytest.mark.parametrize(
    ("n_kinds", "n_test"), [(2, 30), (3, 30), (5, 30), (2, N_TEST), (3, N_TEST), (5, N_TEST), (10, N_TEST)]
)
def test_predictions_of_a_few_kinds_are_called_collapsed(n_kinds, n_test):
    world = World(n_kinds, n_test)
    kinds = world.means[:n_kinds]
    nearest = np.argmax(np.corrcoef(world.truth, kinds)[:n_test, n_test:], axis=1)
    found = world.names(kinds[nearest] + world.noise(n_test, 0.05))
    assert found["collapsed"].kind == "wrong"


def of_kinds(world, n_kinds, scatter):
    """Predictions of the nearest of a few kinds of pictures, each with a scatter that says nothing of the picture."""
    kinds, n = world.means[:n_kinds], len(world.truth)
    nearest = np.argmax(np.corrcoef(world.truth, kinds)[:n, n:], axis=1)
    return kinds[nearest] + world.noise(n, scatter)


@pytest.mark.parametrize(("n_kinds", "scatter", "n_test"), [(2, 0.15, 60), (5, 0.3, N_TEST), (10, 0.5, N_TEST)])
def test_predictions_of_a_few_kinds_have_collapsed_however_much_those_of_a_kind_differ(n_kinds, scatter, n_test):
    world = World(n_kinds, n_test)
    decoded = of_kinds(world, n_kinds, scatter)
    facts = world.features(decoded)
    assert facts["twins"]["decoded"] < 0.1
    assert facts["clusters"]["n"] == n_kinds
    found = world.names(decoded)
    assert found["collapsed"].kind == "wrong"
    assert f"fall into {n_kinds} clusters" in found["collapsed"].sentence


@pytest.mark.parametrize(("own", "collapsed"), [(0.0, True), (0.1, False)])
def test_predictions_of_a_few_kinds_whose_differences_tell_pictures_apart_have_not_collapsed(world, own, collapsed):
    decoded = world.means[world.category] + own * (world.truth - world.means[world.category]) + world.noise(N_TEST, 0.2)
    assert world.features(decoded)["clusters"]["silhouette"] > 0.9
    assert ("collapsed" in world.names(decoded)) == collapsed


def test_true_features_of_a_few_kinds_are_no_collapse_of_the_decoder(world):
    world.truth = world.means[world.category] + world.noise(N_TEST, 0.2)
    assert not {"collapsed", "collapsed_in_some"} & set(
        world.names(world.means[world.category] + world.noise(N_TEST, 0.2))
    )


@pytest.mark.parametrize("scatter", [0.02, 0.5])
def test_one_prediction_for_all_pictures_is_a_collapse_and_not_laid_to_misaligned_trials(world, scatter):
    found = world.names(world.means[:1] + world.noise(N_TEST, scatter), noise_ceiling=30.0)
    assert {"collapsed", "unrelated"} <= set(found)
    assert "much the same for all pictures" in found["collapsed"].sentence
    assert "probably misaligned" not in found["unrelated"].sentence


@pytest.mark.parametrize("n_test", [12, 30, 300])
def test_a_weak_decoder_has_not_collapsed(n_test):
    world = World(1, n_test)
    assert "collapsed" not in world.names(world.truth + world.noise(n_test, 4))


@pytest.mark.parametrize("seed", range(3))
def test_a_decoder_of_the_category_alone_is_caught_and_one_of_equal_scores_is_not(seed):
    world = World(seed)
    of_category = world.means[world.category] + world.noise(N_TEST, 0.7)
    found = world.names(of_category)
    assert "category_only" in found
    score = world.features(of_category)["two_way"]["value"]
    true = min(
        (world.truth + world.noise(N_TEST, noise) for noise in np.linspace(1, 6, 11)),
        key=lambda made: abs(world.features(made)["two_way"]["value"] - score),
    )
    assert world.features(true)["two_way"]["value"] == pytest.approx(score, abs=0.03)
    assert not GRAVE & set(world.names(true))


def test_a_generator_that_ignores_the_brain_is_caught(world):
    found = world.names(decoder(world), drawn=world.noise(N_TEST))
    assert set(found) & GRAVE == {"brain_ignored"}
    assert "pictures_identified" not in found


def audited(**changes):
    """What the audit of a split finds, of pictures of which some may be copies."""
    return SplitAudit().run(world_of_pictures(**changes)).facts["sets"]["test"]


def test_copies_across_the_split_come_first(world):
    found = world.names(decoder(world), audit=audited(copies=[(3, 7), (20, 90)]))
    assert set(found) & GRAVE == {"copies"}
    assert next(iter(found)) == "copies"
    assert "of 40 test pictures, 2 show nearly the same pixels as a training picture" in found["copies"].sentence


def test_pictures_alike_by_features_put_the_run_in_doubt_only_if_they_are_more_than_a_random_draw_has(world):
    def audit(count, more):
        return CLEAN | {"near_duplicates": {"count": count, "training_share": 0.02, "more_than_training": more}}

    found = decoder(world)
    few = world.names(found, audit=audit(1, False))
    assert few["few_doubles"].sentence == (
        "Of 120 test pictures, 1 has nearly the same features as a training picture (so have 2.0 % of training pictures). "
        "Without them a share of right pictures, such as identification, would be at most 0.8 percentage points lower."
    )
    assert not GRAVE & set(few)
    usual = world.names(found, audit=audit(60, False))
    assert usual["few_doubles"].sentence == (
        "Of 120 test pictures, 60 have nearly the same features as a training picture (so have 2.0 % of training pictures), "
        "which is not shown to be more than training pictures have among themselves."
    )
    many = world.names(found, audit=audit(20, True))
    assert "20 have nearly the same features" in many["copies"].sentence
    assert "in the training set" not in many["copies"].sentence
    assert "few_doubles" in world.names(found, audit=audit(1, True))


def test_novelty_is_said_of_all_groups_and_praised_only_beyond_one_half(world):
    perfect = world.names(world.truth)
    assert "100.0 %" in perfect["novel"].sentence
    assert "not_novel" not in perfect
    mean = world.train.mean(axis=0)
    shrunk = world.names(
        mean + 0.1 * (world.train[world.rng.integers(N_TRAIN, size=N_TEST)] - mean) + 0.05 * (world.truth - mean)
    )
    assert "than to what was seen" in shrunk["not_novel"].sentence


def rival(label, value, p, **entry):
    """A metric on which reconstructions score `value` more than the nearest training picture."""
    usual = {"value": 0.6, "ci95": [0.5, 0.7], "chance": 0.5, "bounds": [0, 1], "higher_is_better": True}
    return {**usual, "label": label, "differences": {"nearest_training_picture": {"value": value, "p": p}}, **entry}


PIXELS = {"chance": None, "bounds": [-1, 1]}
DISTANCE = {"chance": None, "higher_is_better": False}


@pytest.mark.parametrize("chance_p", [0.001, 0.6, None])
@pytest.mark.parametrize("blind", ["mean_image", "random_train_image"])
@pytest.mark.parametrize(
    ("value", "p", "entry", "behind"),
    [
        (-0.1, 0.001, {}, True),
        (-0.1, 0.03, {}, False),  # one of two metrics: Holm asks for .025
        (0.1, 0.001, {}, False),
        (0.1, 0.001, DISTANCE, True),
        (-0.1, 0.001, DISTANCE, False),
    ],
)
def test_a_picture_that_knows_nothing_and_is_closer_is_named(blind, value, p, entry, behind, chance_p):
    """Whatever else is shown of the reconstructions."""
    metrics = {
        "a": {**rival("A", 0, 1, **entry), "p": chance_p, "differences": {blind: {"value": value, "p": p}}},
        "b": {**rival("B", 0, 1), "p": chance_p, "differences": {blind: {"value": 0.2, "p": 0.04}}},
    }
    found = {each.name: each for each in conclusions(Evidence({"n_images": 50, "metrics": metrics, "features": {}}))}
    assert ("behind_blind" in found) == behind
    if behind:
        assert found["behind_blind"].kind == "limited"
        assert found["behind_blind"].sentence.startswith("By A, ")


def test_metrics_that_do_not_tell_and_those_that_cannot_be_tested_are_named():
    metrics = {
        name: {**rival(name.upper(), 0, 1), "p": p, "differences": {}}
        for name, p in {"a": 0.001, "b": 0.6, "c": 0.001, "d": None}.items()
    }
    found = {each.name: each for each in conclusions(Evidence({"n_images": 50, "metrics": metrics, "features": {}}))}
    assert "2 of 3 metrics are better, corrected for testing 3 (Holm); not by B; D cannot be tested so." in (
        found["pictures_identified"].sentence
    )


@pytest.mark.parametrize(
    ("metrics", "names", "said"),
    [
        ([rival("A", 0.1, 0.001), rival("B", 0.1, 0.2)], {"beyond_retrieval"}, "by A (picture by picture"),
        (
            [rival("A", 0.1, 0.001), rival("B", -0.1, 0.002)],
            {"beyond_retrieval", "behind_retrieval"},
            "By B, the training",
        ),
        ([rival("A", 0.1, 0.03), rival("B", 0.1, 0.04)], {"no_better_than_retrieval"}, "By no metric"),
        ([rival("A", -0.1, 0.001)], {"no_better_than_retrieval", "behind_retrieval"}, "By A, the training picture"),
        ([rival("A", 0.1, 0.001, **PIXELS)], {"beyond_retrieval_in_pixels"}, "Only by A"),
        ([rival("A", -0.1, 0.001, **DISTANCE)], {"beyond_retrieval"}, "by A (picture by picture"),
        ([rival("A", 0.1, 0.001, **DISTANCE)], {"no_better_than_retrieval", "behind_retrieval"}, "By A, the training"),
    ],
)
def test_metrics_are_named_by_which_a_training_picture_is_closer_and_by_which_not(metrics, names, said):
    metrics = {f"m{number}": {"p": 0.001, **entry} for number, entry in enumerate(metrics)}
    found = {each.name: each for each in conclusions(Evidence({"n_images": 50, "metrics": metrics, "features": {}}))}
    assert {name for name in found if "retrieval" in name} == names
    assert said in " ".join(each.sentence for each in found.values())


def group(**changes):
    """Decoded features of one group, as `scores.json` holds them, with nothing to remark on."""
    share = {"value": 0.8, "ci95": [0.7, 0.9], "p": 0.001}
    return {
        "n_images": 100,
        "n_train": 900,
        "two_way": share,
        "top1": share,
        "n_way": {"10": share, "50": share, "all": share},
        "novelty": share,
        "within_category": {**share, "n_images": 90},
        "effective_dimension": {"decoded": 15, "decoded_ci95": [12, 18], "true": 20},
        "twins": {"decoded": 0.0, "decoded_ci95": [0.0, 0.1], "true": 0.0, "decoded_pairs": 0.1},
        **changes,
    }


def concluded(*groups, n_images=100, **scores):
    named = {f"group{number}": each for number, each in enumerate(groups)}
    found = conclusions(Evidence({"n_images": n_images, "metrics": {}, "features": named, **scores}, CLEAN))
    return {each.name: each for each in found}


def share(value, low, high, **more):
    return {"value": value, "ci95": [float(low), float(high)], "p": 0.001, **more}


@pytest.mark.parametrize(
    ("changes", "name", "drawn"),
    [
        ({"novelty": share(0.9, 0.8, 1)}, "not_novel", False),
        ({"novelty": share(0.1, 0, 0.2)}, "not_novel", True),
        ({"novelty": share(0.55, 0.45, 0.65)}, "not_novel", False),
        ({"novelty": share(0.55, 0.45, 0.65)}, "novelty_open", True),
        ({"novelty": share(1.0, 0.4, 1.0)}, "novelty_open", True),
        ({"novelty": share(0.45, 0.35, 0.55)}, "novelty_open", True),
        ({"novelty": share(0.45, 0.35, 0.55)}, "not_novel", False),
        ({"novelty": share(0.9, 0.8, 1)}, "novel", True),
        ({"effective_dimension": {"decoded": 10.0, "decoded_ci95": [8.0, 12.0], "true": 20.0}}, "narrow", False),
        ({"effective_dimension": {"decoded": 6.0, "decoded_ci95": [4.0, 8.0], "true": 20.0}}, "narrow", True),
        ({"two_way": share(0.98, 0.96, 1)}, "saturated", True),
        ({"two_way": share(0.96, 0.9, 1)}, "saturated", False),
        ({"within_category": share(0.5, 0.45, 0.54, n_images=90)}, "category_only", True),
        ({"within_category": share(0.55, 0.45, 0.6, n_images=90)}, "category_open", True),
        ({"within_category": share(0.55, 0.45, 0.7, n_images=90)}, "category_open", True),
        ({"within_category": share(1.0, 0.6, 1.0, n_images=4)}, "category_open", True),
        ({"within_category": share(0.6, 0.55, 0.65, n_images=90)}, "beyond_category", True),
        (  # of an earlier version, which looked for no clusters
            {"twins": {"decoded": 0.6, "decoded_ci95": [0.51, 0.7], "true": 0.1, "decoded_pairs": 0.1}},
            "collapsed",
            False,
        ),
    ],
)
def test_each_conclusion_is_drawn_on_its_side_of_its_bound(changes, name, drawn):
    assert (name in concluded(group(**changes))) == drawn


TWINS = {"decoded": 0.6, "decoded_ci95": [0.51, 0.7], "true": 0.1, "decoded_pairs": 0.1}


@pytest.mark.parametrize(
    ("clusters", "twins", "collapsed"),
    [
        ({}, {}, True),
        ({"silhouette": 0.69}, {}, False),
        ({"isolated": 0.89}, {}, False),
        ({"true_silhouette": 0.7}, {}, False),
        ({}, {"true": 0.25}, False),
        ({"two_way": share(0.53, 0.503, 0.55)}, {}, True),  # its interval of 99 % holds one half
        ({"two_way": share(0.53, 0.51, 0.55)}, {}, False),
        ({"two_way": share(0.5, 0.4, 0.6)}, {}, False),
        ({"two_way": share(0.5, 0.4, 0.6)}, TWINS, True),
        ({"two_way": share(0.5, 0.4, 0.6)}, TWINS | {"decoded_pairs": 0.03}, False),
        ({"two_way": share(0.6, 0.55, 0.65)}, TWINS, False),
        ({"silhouette": 0.69}, TWINS, False),
    ],
)
def test_a_collapse_has_clusters_apart_within_which_nothing_is_told(clusters, twins, collapsed):
    known = {"n": 5, "silhouette": 0.7, "isolated": 0.9, "true_silhouette": 0.69, "two_way": share(0.5, 0.45, 0.54)}
    own = group()
    found = concluded({**own, "clusters": known | clusters, "twins": own["twins"] | twins})
    assert ("collapsed" in found) == collapsed


def test_a_fault_of_one_group_does_not_put_the_run_in_doubt():
    twins = {"decoded": 0.6, "decoded_ci95": [0.51, 0.7], "true": 0.1, "decoded_pairs": 0.1}
    clusters = {"n": 5, "silhouette": 0.7, "isolated": 0.9, "true_silhouette": 0.69, "two_way": share(0.5, 0.45, 0.54)}
    own = group(twins=twins, clusters=clusters)
    assert concluded(own, own)["collapsed"].kind == "wrong"
    assert concluded(own, group())["collapsed_in_some"].kind == "limited"
    assert "novel" in concluded(group())
    assert "novel" not in concluded(own, own)
    alone, open_one = ({"within_category": share(0.5, 0.45, high, n_images=90)} for high in (0.54, 0.7))
    assert concluded(group(**alone), group(**alone))["category_only"].kind == "wrong"
    found = concluded(group(**alone), group(**open_one))
    assert found["category_only_of_some"].kind == "limited"
    assert not GRAVE & set(found)


def test_groups_without_a_known_category_are_said_to_have_none():
    without = group()
    del without["within_category"]
    assert "category_unknown" in concluded(without)
    assert "category_unknown" not in concluded(group(), without)


def test_groups_are_tested_together():
    chance = {"two_way": share(0.55, 0.45, 0.65) | {"p": 0.5}}
    weak = {"two_way": share(0.6, 0.5, 0.7) | {"p": 0.04}}
    assert "features_identified" in concluded(group(**weak))
    assert "unrelated" in concluded(group(**weak), group(**chance), group(**chance))
    within = {"within_category": share(0.55, 0.505, 0.6, n_images=90)}
    assert "beyond_category" in concluded(group(**within))
    assert "beyond_category" not in concluded(group(**within), group(**within), group(**within))


def test_pictures_beyond_chance_without_features_that_are_do_not_count_as_shown():
    at_chance = group(two_way=share(0.5, 0.4, 0.6) | {"p": 0.6})
    found = concluded(at_chance, metrics={"a": {"p": 0.001, **rival("A", 0.1, 0.001)}})
    assert {"unrelated", "pictures_alone"} <= set(found)
    assert "pictures_identified" not in found


@pytest.mark.parametrize(("n_metrics", "n_images", "few"), [(1, 5, True), (1, 6, False), (5, 7, True), (5, 8, False)])
def test_few_pictures_are_no_evidence_of_retrieval(n_metrics, n_images, few):
    metrics = {f"m{number}": {"p": 0.001, **rival("A", 0.1, 2.0 ** (1 - n_images))} for number in range(n_metrics)}
    found = concluded(n_images=n_images, metrics=metrics)
    assert ("too_few_to_compare" in found) == few
    assert ("beyond_retrieval" in found) != few


def test_pictures_that_are_identified_are_not_said_to_be_alone_where_features_have_too_few():
    at_chance = group(two_way=share(1.0, 0.6, 1.0) | {"p": 0.06}, n_images=4)
    found = concluded(at_chance, n_images=4, metrics={"a": {"p": 0.04, **rival("A", 0.1, 0.1)}})
    assert "too_few" in found
    assert "pictures_alone" not in found


def test_few_pictures_are_said_to_be_few():
    assert "few_pictures" in concluded(group(), n_images=29)
    assert "few_pictures" not in concluded(group(), n_images=30)


def test_test_pictures_nearer_than_training_pictures_are_to_each_other_are_told(world):
    found = world.names(decoder(world), audit=audited(nearer=True))
    assert set(found) & GRAVE & {"copies", "nearer_than_training"}
    assert not set(world.names(decoder(world), audit=audited())) & GRAVE


@pytest.mark.parametrize(("n", "name"), [(3, "too_few"), (4, "too_few"), (6, "unrelated")])
def test_pictures_that_can_be_exchanged_in_few_ways_only_are_no_evidence_of_misaligned_trials(n, name):
    chance = {"two_way": {"p": 0.2}, "n_images": n}
    scores = {"n_images": n, "metrics": {}, "features": {"vision": chance, "text": chance}}
    found = {each.name for each in conclusions(Evidence(scores))}
    assert found & {"too_few", "unrelated"} == {name}


def test_few_directions_that_still_identify_are_no_collapse(world):
    # one direction carries nearly all variance of what is decoded, and each picture's own features are all there
    main = world.noise(1)
    decoded = world.truth + 6 * world.noise(N_TEST)[:, :1] * main
    dimension = world.features(decoded)["effective_dimension"]
    assert dimension["decoded_ci95"][1] < 0.1 * dimension["true"]
    found = world.names(decoded)
    assert "narrow" in found
    assert not GRAVE & set(found)


def test_a_group_that_knows_only_the_category_does_not_put_the_others_in_doubt(world):
    of_category = world.means[world.category] + world.noise(N_TEST, 0.7)
    metric = world.metric(world.truth)
    groups = {"latents": world.features(decoder(world)), "text": world.features(of_category)}
    scores = {"n_images": N_TEST, "metrics": {"clip": metric}, "features": groups}
    found = {each.name: each for each in conclusions(Evidence(scores, CLEAN))}
    assert not GRAVE & set(found)
    assert "(latents)" in found["beyond_category"].sentence
    assert "(text)" not in found["beyond_category"].sentence
    assert "(text)" in found["category_only_of_some"].sentence


def test_pictures_that_agree_with_what_was_decoded_are_not_said_to_ignore_the_brain(world):
    metric = world.metric(world.noise(N_TEST)) | {"p": 0.4}
    scores = {"n_images": N_TEST, "metrics": {"clip": metric}, "features": {"vision": world.features(decoder(world))}}

    def named(**changes):
        return {each.name for each in conclusions(Evidence(scores | changes, CLEAN))} & {
            "pictures_open",
            "brain_ignored",
        }

    assert named() == {"brain_ignored"}
    assert named(agreement={"p_value": 0.001}) == {"pictures_open"}
    assert named(metrics={"clip": metric | {"ci95": [0.3, 0.95]}}) == {"pictures_open"}


def test_what_was_not_looked_at_is_said(world):
    found = world.names(
        decoder(world),
        audit=None,
        transductive=["regression.calibration"],
        is_simulated=True,
        notes={"Stand-ins": "Small."},
    )
    assert {"not_audited", "transductive", "one_subject", "note"} <= set(found)
    assert "no brain was recorded" in found["one_subject"].sentence
    assert [each.kind for each in found.values()] == sorted(
        (each.kind for each in found.values()), key=["wrong", "supported", "limited"].index
    )


@pytest.mark.parametrize(("n", "median"), [(24, 12), (300, 150), (3, 2)])
def test_the_first_screen_shows_the_best_the_median_and_the_worst_of_all(n, median):
    def row(place):
        return GalleryRow(number=place, stimulus_id=place, place=place, scores={})

    near = sorted({max(1, median - 1), median, min(n, median + 1)})
    rows = {"Best": map(row, (1, 2, 3)), "Median": map(row, near), "Worst": map(row, (n - 2, n - 1, n))}
    gallery = Gallery(
        kinds={"seen": "Seen"}, rows={key: tuple(own) for key, own in rows.items()}, n_ranked=n, ranking="M"
    )
    (summary,) = verdict_section((), gallery=gallery).blocks
    shown = {heading: [each.place for each in own] for heading, own in summary.gallery.rows.items()}
    assert shown == {"Best": [1], "Median": [median], "Worst": [n]}


def test_the_page_on_the_verdict_lists_the_conclusions_that_are_drawn():
    drawn = set()
    for file in (ROOT / "src/braindiffuser/report/verdict").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Conclusion":
                parts = ast.walk(call.args[0])
                drawn |= {part.value for part in parts if isinstance(part, ast.Constant)}
    page = (ROOT / "docs/concepts/verdict.md").read_text(encoding="utf-8")
    assert drawn == set(re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE))


def run_of(folder, scores, audits=(), **entries):
    """A run whose pictures are scored, with analyses split_audit of some names."""
    files = {
        "scores.json": scores,
        "noise_ceiling.json": {"rois": {"analysed voxels": {"median": 20.0}}},
        "subject.json": {"simulated": True},
        **{f"analyses/{name}.json": {"sets": {"test": facts}} for name, facts in audits},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    analyses = [{"kind": "split_audit", "name": name} for name, _ in audits]
    finished = {"evaluate": {}} | {f"analyse.{name}": {} for name, _ in audits}
    context = object.__new__(StageContext)
    vars(context).update(
        results=Results(folder),
        experiment=Experiment.load("demo").changed({"analyses": analyses, **entries}),
        finished=lambda: finished,
    )
    run = object.__new__(Run)
    vars(run)["_context"] = context
    return run


def test_the_example_of_the_page_on_the_verdict_draws_what_the_page_draws(monkeypatch, tmp_path):
    page = (ROOT / "docs/concepts/verdict.md").read_text(encoding="utf-8")
    pair = {"number": 3, "stimulus_id": 703, "name": ""}
    audit = CLEAN | {"near_copies": [pair], "look_alikes": [pair]}
    run = run_of(tmp_path, {"n_images": 100, "metrics": {}, "features": {"a": group()}}, [("look", audit)])
    monkeypatch.setattr(Run, "open", lambda experiment, folder: run)
    found = {}
    exec("\n".join(re.findall("^    (.*)$", page, re.MULTILINE)), found)  # noqa: S102  lines of our own page
    assert {"features_identified", "copies", "look_alikes"} <= found["names"]
    assert "not_audited" not in found["names"]
    sentences = {each.name: each.sentence for each in run.verdict()}
    assert "analyses/look/nearest.csv" in sentences["look_alikes"]
    assert "(stimulus 703 (number 3))" in sentences["copies"]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a")])
def test_of_several_audits_the_one_that_finds_copies_is_told(tmp_path, order):
    copied = CLEAN | {"near_copies": [{"number": 3, "stimulus_id": 703, "name": ""}]}
    audits = {"a": CLEAN, "b": CLEAN | {"verdict": "nearer"}, "c": copied}
    scores = {"n_images": 100, "metrics": {}}
    found = {each.name for each in run_of(tmp_path, scores, [(name, audits[name]) for name in order]).verdict()}
    assert "copies" in found
    found = {each.name for each in run_of(tmp_path, scores, [(name, audits[name]) for name in "ab"]).verdict()}
    assert "nearer_than_training" in found


@pytest.mark.parametrize(
    ("entries", "names", "said"),
    [
        ({"regression": {"calibration": "transductive"}}, {"transductive"}, "no single trial could be decoded so"),
        ({"responses": {"normalisation": "session-all-trials"}}, {"transductive"}, "(responses.normalisation)"),
        (
            {"responses": {"voxel_choice": "transductive", "min_noise_ceiling": 5}},
            {"voxels_by_test_trials"},
            "scores of new pictures may be lower",
        ),
    ],
)
def test_what_test_responses_enter_is_said_of_each_entry(tmp_path, entries, names, said):
    run = run_of(tmp_path, {"n_images": 100, "metrics": {}}, **entries)
    trials = pd.DataFrame({"session": [1, 1, 2], "run": 1, "split": ["train", "test", "test"]})
    trials.to_csv(tmp_path / "trials.csv", index=False)
    found = {each.name: each.sentence for each in run.verdict()}
    assert set(found) & {"transductive", "voxels_by_test_trials"} == names
    (name,) = names
    assert said in found[name]
    assert ("depends on the others" in found[name]) == (name == "transductive")


def test_test_responses_enter_no_normalisation_where_each_session_has_training_trials(tmp_path):
    responses = {"normalisation": "session-all-trials"}
    run = run_of(tmp_path, {"n_images": 100, "metrics": {}}, responses=responses)
    trials = pd.DataFrame({"session": [1, 1, 2], "run": 1, "split": ["train", "test", "train"]})
    trials.to_csv(tmp_path / "trials.csv", index=False)
    assert "transductive" not in {each.name for each in run.verdict()}


def test_scores_hold_for_nothing_where_nothing_is_decoded():
    found = concluded(group(two_way=share(0.5, 0.4, 0.6) | {"p": 0.6}))
    assert "unrelated" in found
    assert "scores hold" not in found["alike"].sentence


@pytest.mark.parametrize(("n_directions", "n_test"), [(2, 60), (2, 300), (4, 60), (4, 1000)])
def test_a_decoder_of_few_directions_has_not_collapsed_however_many_pictures_there_are(n_directions, n_test):
    """Of a thousand pictures most have a twin in three dimensions, though hundreds are found one by one."""
    world = World(1, n_test)
    world.truth = world.noise(n_test)
    directions = np.linalg.qr(world.noise(n_directions).T)[0]
    decoded = mean_row(world.train) + world.truth @ directions @ directions.T
    found = world.names(decoded.astype(np.float32))
    assert not {"collapsed", "collapsed_in_some"} & set(found)


def test_one_that_knows_only_categories_that_do_not_train_is_not_praised_as_novel(world):
    new = world.noise(N_CATEGORIES)
    world.truth = new[world.category] + world.noise(N_TEST)
    found = world.names(new[world.category] + world.noise(N_TEST, 0.7))
    assert "category_only" in found
    assert "novel" not in found


def test_novelty_of_one_group_alone_is_not_said_to_be_only_so_much():
    found = concluded(group(novelty=share(1.0, 0.96, 1.0)), group(novelty=share(0.02, 0, 0.06)))
    assert found["not_novel"].sentence.startswith(
        "Most pictures are told from all training pictures by group0, not by group1: 100.0 %"
    )
    low = concluded(group(novelty=share(0.1, 0.05, 0.2)), group(novelty=share(0.02, 0, 0.06)))
    assert low["not_novel"].sentence.startswith("Only 10.0 %")


def test_of_groups_whose_novelty_is_open_no_majority_is_said():
    open_ones = group(novelty=share(0.45, 0.24, 0.68)), group(novelty=share(0.6, 0.37, 0.79))
    assert concluded(*open_ones)["novelty_open"].sentence.startswith(
        "Whether most are told from all training pictures is not shown: 45.0 %"
    )
    beside = concluded(group(novelty=share(0.9, 0.8, 1)), open_ones[0])
    assert "is shown by group0 alone" in beside["novelty_open"].sentence
    below = concluded(group(novelty=share(0.1, 0, 0.2)), open_ones[1])
    assert below["not_novel"].sentence.startswith(
        "Most pictures are not told from all training pictures by group0; by group1 it is open: 10.0 %"
    )


def test_pictures_that_resemble_training_pictures_are_not_said_to_hold_beside_copies():
    copy = {"number": 7, "name": "", "stimulus_id": 7}
    scores = {"n_images": 100, "metrics": {}, "features": {"a": group()}}
    for changes in (
        {"near_copies": [copy]},
        {"near_duplicates": {"count": 50, "training_share": 0.0, "more_than_training": True}},
    ):
        found = {each.name: each.sentence for each in conclusions(Evidence(scores, CLEAN | changes))}
        assert "copies" in found
        assert "scores hold" not in found["alike"]
    assert "scores hold" in concluded(group())["alike"].sentence


def test_copies_and_look_alikes_are_counted_apart():
    pairs = [{"number": number, "name": "", "stimulus_id": number} for number in range(4)]
    audit = CLEAN | {"near_copies": pairs[:1], "look_alikes": pairs[1:]}
    found = {each.name: each for each in conclusions(Evidence({"n_images": 120, "metrics": {}}, audit))}
    assert "of 120 test pictures, 1 shows" in found["copies"].sentence
    assert "further test pictures are copies cannot be told from pixels: of 120 test pictures, 3" in (
        found["look_alikes"].sentence
    )


def test_audits_of_an_earlier_state_are_read():
    audit = {key: value for key, value in CLEAN.items() if key != "look_alikes"} | {"near_duplicates": {"count": 3}}
    found = {each.name: each for each in conclusions(Evidence({"n_images": 120, "metrics": {}}, audit))}
    assert "few_doubles" in found


def test_groups_of_which_it_cannot_be_told_are_named_beside_those_that_know_only_the_category():
    alone, open_one = ({"within_category": share(0.5, 0.45, high, n_images=90)} for high in (0.54, 0.7))
    found = concluded(group(**alone), group(**open_one))
    assert "Of others it cannot be told: 50.0 % [44.3 – 72.9] (group1)" in found["category_only_of_some"].sentence


def test_a_metric_of_features_without_a_chance_level_is_no_metric_of_pixels():
    metrics = {"a": {"p": 0.001, **rival("A", 0.1, 0.001, **PIXELS), "of_features": True}}
    found = {each.name: each for each in conclusions(Evidence({"n_images": 50, "metrics": metrics, "features": {}}))}
    assert "by A (picture by picture)" in found["beyond_retrieval"].sentence


def printed_intervals(sentence):
    return [tuple(map(float, ends)) for ends in re.findall(r"\[([\d.]+) – ([\d.]+)\]", sentence)]


@pytest.mark.parametrize("lows", [(0.503, 0.503, 0.45), (0.503, 0.45, 0.45), (0.503, 0.503, 0.503), (0.45, 0.45)])
def test_no_sentence_denies_what_its_own_intervals_show(lows):
    """Groups are tested together, so the intervals that are printed hold together: what excludes chance is not denied."""
    within = [{"within_category": share(0.53, low, 0.55, n_images=90)} for low in lows]
    found = concluded(*(group(two_way=share(0.8, 0.7, 0.9), **each) for each in within))
    assert "beyond_category" not in found
    for name in ("category_only", "category_only_of_some", "category_open"):
        if name in found:
            assert all(low <= 50 <= high for low, high in printed_intervals(found[name].sentence))
    assert ("category_only" in found) == (sum(low > 0.5 for low in lows) <= 1)


def test_groups_that_are_narrow_share_a_sentence():
    narrow = {"effective_dimension": {"decoded": 6.0, "decoded_ci95": [4.0, 8.0], "true": 20.0}}
    scores = {"n_images": 100, "metrics": {}, "features": {"a": group(**narrow), "b": group(**narrow), "c": group()}}
    found = [each for each in conclusions(Evidence(scores, CLEAN)) if each.name == "narrow"]
    assert [each.sentence for each in found] == [
        "Most of what varies in decoded features lies along few directions in effect: 6.0 where true ones vary along 20.0 (a) "
        "and 6.0 where true ones vary along 20.0 (b)."
    ]
