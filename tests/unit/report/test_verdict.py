"""The verdict of constructed cases: each fault is caught by its name, and a true decoder of equal scores is not accused."""

import re
from pathlib import Path

import numpy as np
import pytest

from braindiffuser.analyses.split_audit import SplitAudit
from braindiffuser.metrics.feature_scores import DecodedGroup, feature_scores
from braindiffuser.metrics.inference import permutation_null, permutation_p_value
from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.report.sections import Gallery, GalleryRow
from braindiffuser.report.verdict import Evidence, conclusions
from braindiffuser.report.verdict_section import verdict_section

from ..analyses.linear_world import world_of_pictures

ROOT = Path(__file__).parents[3]
N_TRAIN, N_TEST, N_CATEGORIES, WIDTH = 500, 120, 12, 80
GRAVE = {"unrelated", "copies", "nearer_than_training", "brain_ignored", "collapsed", "category_only"}
CLEAN = {"n": N_TEST, "near_copies": [], "near_duplicates": {"count": 0}, "verdict": "alike"}


class World:
    """Stimuli whose features are those of their category and their own, in equal parts."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.means = self.noise(N_CATEGORIES)
        self.train_category, self.category = (self.rng.integers(N_CATEGORIES, size=n) for n in (N_TRAIN, N_TEST))
        self.train = self.means[self.train_category] + self.noise(N_TRAIN)
        self.truth = self.means[self.category] + self.noise(N_TEST)

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
            "baselines_ci95": {},
            "p": permutation_p_value(float(scores.mean()), null),
        }

    def names(self, decoded, drawn=None, audit=CLEAN, **known):
        drawn = decoded if drawn is None else drawn
        scores = {
            "n_images": N_TEST,
            "metrics": {"clip": self.metric(drawn + self.noise(N_TEST, 0.5))},
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
    assert "pictures are exchanged" in found["unrelated"].sentence
    assert "pictures_identified" not in found


def test_misaligned_trials_are_unrelated_and_said_to_be_out_of_step(world):
    shifts = (1, 2, 3, 5, 8, 13)
    found = [world.names(np.roll(decoder(world), shift, axis=0), noise_ceiling=0.4) for shift in shifts]
    caught = [each["unrelated"].sentence for each in found if "unrelated" in each]
    assert len(caught) >= len(shifts) - 1  # one in twenty passes at the level of .05
    for sentence in caught:
        assert "trials are probably out of step with the design" in sentence
        assert "misaligned" in sentence


def test_collapsed_predictions_are_caught_although_they_identify(world):
    side = (world.category < N_CATEGORIES // 2).astype(int)
    kinds = np.stack([world.means[N_CATEGORIES // 2 :].mean(axis=0), world.means[: N_CATEGORIES // 2].mean(axis=0)])
    found = world.names(kinds[side] + world.noise(N_TEST, 0.05))
    assert {"collapsed", "features_identified"} <= set(found)


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
    assert "2 of 40 show nearly the same pixels as a training picture" in found["copies"].sentence


def test_a_few_pictures_alike_by_features_are_said_and_do_not_put_the_run_in_doubt(world):
    few = CLEAN | {"near_duplicates": {"count": 1}}
    found = world.names(decoder(world), audit=few)
    assert "1 has nearly the same features" in found["few_doubles"].sentence
    assert "0.8 %" in found["few_doubles"].sentence  # 1 of 120
    assert not GRAVE & set(found)
    double = world.names(decoder(world), audit=few | {"near_duplicates": {"count": 2}})
    assert "2 have nearly the same features" in double["copies"].sentence
    assert "in the training set" not in double["copies"].sentence


def test_a_random_draw_of_the_training_pictures_is_said_to_be_one(world):
    assert "alike" in world.names(decoder(world))
    assert "alike" not in world.names(decoder(world), audit=CLEAN | {"verdict": "farther"})


def test_novelty_is_said_of_all_groups_and_praised_only_beyond_one_half(world):
    perfect = world.names(world.truth)
    assert "100.0 %" in perfect["novel"].sentence
    assert "not_novel" not in perfect
    mean = world.train.mean(axis=0)
    shrunk = world.names(
        mean + 0.1 * (world.train[world.rng.integers(N_TRAIN, size=N_TEST)] - mean) + 0.1 * (world.truth - mean)
    )
    assert "than to what was seen" in shrunk["not_novel"].sentence


def test_metrics_on_which_a_training_picture_is_as_good_are_named(world):
    metric = world.metric(world.truth)
    metrics = {
        "a": metric
        | {
            "label": "A",
            "baselines": {"nearest_training_picture": 0.5},
            "baselines_ci95": {"nearest_training_picture": [0.4, 0.6]},
        },
        "b": metric
        | {
            "label": "B",
            "baselines": {"nearest_training_picture": 1.0},
            "baselines_ci95": {"nearest_training_picture": [0.9, 1.0]},
        },
    }
    found = {
        each.name: each for each in conclusions(Evidence({"n_images": N_TEST, "metrics": metrics, "features": {}}))
    }
    assert "by A; not clearly by B." in found["beyond_retrieval"].sentence
    assert "behind_retrieval" not in found


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_metrics_by_which_a_training_picture_is_closer_are_named(world, higher_is_better):
    rival = {"nearest_training_picture": 0.8 if higher_is_better else 0.2}
    ends = {"nearest_training_picture": [0.75, 0.85] if higher_is_better else [0.15, 0.25]}
    entry = world.metric(world.truth) | {"label": "SSIM", "value": 0.5, "ci95": [0.45, 0.55]}
    entry |= {"higher_is_better": higher_is_better, "baselines": rival, "baselines_ci95": ends}
    scores = {"n_images": N_TEST, "metrics": {"ssim": entry}, "features": {}}
    found = {each.name: each for each in conclusions(Evidence(scores))}
    assert found["behind_retrieval"].sentence.startswith("By SSIM, the training picture")
    assert {"no_better_than_retrieval", "beyond_retrieval"} & set(found) == {"no_better_than_retrieval"}


def test_test_pictures_nearer_than_training_pictures_are_to_each_other_are_told(world):
    found = world.names(decoder(world), audit=audited(nearer=True))
    assert set(found) & GRAVE & {"copies", "nearer_than_training"}
    assert not set(world.names(decoder(world), audit=audited())) & GRAVE


@pytest.mark.parametrize(("n", "name"), [(3, "too_few"), (4, "too_few"), (8, "unrelated")])
def test_pictures_that_can_be_exchanged_in_few_ways_only_are_no_evidence_of_misaligned_trials(n, name):
    group = {"two_way": {"p": 0.2}, "n_images": n}
    scores = {"n_images": n, "metrics": {}, "features": {"vision": group, "text": group}}
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


def test_the_page_on_the_verdict_lists_every_conclusion():
    source = (ROOT / "src/braindiffuser/report/verdict.py").read_text(encoding="utf-8")
    names = set(re.findall(r'^ +"([a-z_]+)"(?: if beyond else "([a-z_]+)")?,$', source, re.MULTILINE))
    listed = set(
        re.findall(r"^\| `([a-z_]+)`", (ROOT / "docs/concepts/verdict.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {name for pair in names for name in pair if name} - {"wrong", "supported", "limited"} <= listed
    assert len(listed) >= 24
