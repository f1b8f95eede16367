"""Curves of a world whose growth is known; the run's own point is the run's own score."""

import json
from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.analyses.curve import Curve, _Points
from braindiffuser.analyses.curves.along import Along, along, known_curves
from braindiffuser.errors import RunError
from braindiffuser.metrics._correlation import paired_correlation
from braindiffuser.metrics.feature_scores import DecodedGroup, centred, feature_scores
from braindiffuser.metrics.intervals import score_interval, share_interval
from braindiffuser.metrics.nearest_rows import Nearest
from braindiffuser.metrics.places import Identified
from braindiffuser.metrics.scored_pictures import ScoredPictures
from braindiffuser.metrics.two_way_identification import two_way_identification, two_way_identified

from .linear_world import N_TEST, N_TRAIN, linear_world


def own_scores(data, group):
    """What the run's own predictions score."""
    truth, decoded = data.truth(group), data.predictions(group)
    mean = np.asarray(data.decoders().targets[group]).mean(axis=0, dtype=np.float64).astype(np.float32)
    return {
        f"pattern.{group}": float(np.mean(paired_correlation(truth - mean, decoded - mean))),
        f"two_way.{group}": float(np.mean(two_way_identification(truth - mean, decoded - mean))),
    }


def values(outcome, key):
    return [point["scores"][key]["value"] for point in outcome.facts["points"]]


def said(outcome):
    return [block.text for block in outcome.section.blocks if getattr(block, "style", "") == "verdict"]


@pytest.fixture(scope="module")
def data():
    return linear_world()


@pytest.mark.parametrize("over", ["training", "sessions", "repeats", "rank"])
def test_the_runs_own_point_is_the_runs_own_score(over, data):
    points = {"training": (20, 60), "sessions": (1, 2), "repeats": (1, 2, 3), "rank": (1, 5)}[over]
    outcome = Curve(over=over, points=points).run(data)
    assert outcome.facts["points"][-1]["at"] == outcome.facts["own"]
    for group in data.groups:
        for key, expected in own_scores(data, group).items():
            assert values(outcome, key)[-1] == pytest.approx(expected, rel=1e-12)
    assert [point["at"] for point in outcome.facts["points"]] == sorted({*points, outcome.facts["own"]})
    json.dumps(outcome.facts, allow_nan=False)
    assert len(said(outcome)) == 2


def test_the_runs_own_point_says_what_is_said_before_any_picture_is_drawn(data):
    points = Curve(over="rank", points=(1,)).run(data).facts["points"][-1]["scores"]
    for group in data.groups:
        targets = np.asarray(data.decoders().targets[group])
        features = centred(data.predictions(group), data.truth(group), targets.mean(axis=0), targets)
        nearest = Nearest(np.zeros(N_TEST), np.zeros(N_TEST, np.int64))
        own = feature_scores(DecodedGroup(*features, nearest, None, N_TRAIN), np.random.default_rng(0)).facts
        for key, name in (("two_way", "two_way"), ("pattern", "pattern_correlation")):
            found = points[f"{key}.{group}"]
            assert [found["value"], *found["ci95"]] == pytest.approx([own[name]["value"], *own[name]["ci95"]])


def test_intervals_of_drawn_pictures_allow_for_other_distractors(data):
    """As in scores.json: two-way scores of few pictures vary with the pictures that each is held against."""
    features = np.random.default_rng(0).standard_normal((2, 8, 5))
    features[1] += features[0]
    found = two_way_identified(*features)

    def score(pictures, name, chosen=None):
        return ScoredPictures({"rank": found.scores}, {"rank": found.left_out})

    shown = Curve(over="rank", points=(1,), pictures=8).run(replace(data, score=score)).facts
    expected = share_interval(found.scores.mean(), found.left_out, 0.5, graded=True)
    assert shown["points"][0]["scores"]["pictures.rank"]["ci95"] == pytest.approx(expected)
    assert expected != pytest.approx(score_interval(found.scores, (0.0, 1.0), 0.5))


def test_a_decoder_of_all_pictures_is_not_shown_to_decode_all(data):
    whole = replace(data, predictions=data.truth)
    last = Curve(over="rank", points=(1,)).run(whole).facts["points"][-1]["scores"]["two_way.vision"]
    assert last["value"] == last["ci95"][1] == 1.0
    assert last["ci95"][0] == pytest.approx(share_interval(1.0, np.ones(N_TEST), 0.5, graded=True)[0])


def test_points_are_kept_by_which_pictures_are_scored_and_not_by_their_number(data):
    curve = along("rank")(data, None)
    names = []
    for rows in (np.arange(5), np.arange(5) + 1):
        curve.rows = rows
        names.append(_Points(data, curve, 0, "curve").kept_name(3.0))
    assert names[0] != names[1]
    assert all(name.startswith("3-of-") for name in names)


def test_more_training_pictures_decode_better(data):
    outcome = Curve(over="training").run(data)
    assert [point["at"] for point in outcome.facts["points"]] == [10, 20, 40, 80, N_TRAIN]
    line = outcome.facts["lines"]["pattern.vision"]
    assert values(outcome, "pattern.vision") == sorted(values(outcome, "pattern.vision"))
    assert line["per_doubling"]["ci95"][0] > 0
    assert "twice as many add" in said(outcome)[1]
    assert "(extrapolated)" in said(outcome)[1]


def test_training_pictures_are_the_same_at_every_call_and_nested(data):
    short, long = (Curve(over="training", points=points).run(data) for points in ((20, 40), (10, 20, 40, 80)))
    kept = {point["at"]: point["scores"]["pattern.vision"] for point in long.facts["points"]}
    for point in short.facts["points"]:
        assert point["scores"]["pattern.vision"]["value"] == kept[point["at"]]["value"]


def test_a_goal_beyond_what_was_measured_is_called_extrapolated(data):
    line = Curve(over="training").run(data).facts["lines"]["pattern.vision"]
    goal = line["line"][-1]["value"] + line["per_doubling"]["value"]
    outcome = Curve(over="training", goal=goal).run(data)
    found = outcome.facts["lines"]["pattern.vision"]
    assert found["reached_at"]["value"] == pytest.approx(2 * N_TRAIN)
    last = values(outcome, "pattern.vision")
    assert found["next_doubling"]["value"] == pytest.approx(2 * last[-1] - last[-2])
    assert "which is extrapolated beyond the 160 that were measured" in said(outcome)[1]
    assert found["goal_given"]
    assert not outcome.facts["lines"]["two_way.vision"]["goal_given"]


def test_the_first_sessions_are_those_that_would_have_been_scanned(data):
    outcome = Curve(over="sessions", points=(1, 2)).run(data)
    trials, decoders = data.trials("train"), data.decoders()
    first = np.concatenate([trials.responses[trials.sessions == session] for session in (1, 2)])
    averages = first.reshape(2, N_TRAIN, -1).mean(axis=0)
    rows = replace(decoders.rows, responses=averages)
    decoded = decoders.fitted_on(rows, np.arange(N_TRAIN)).decode(data.responses("test"))["vision"]
    mean = np.asarray(decoders.targets["vision"]).mean(axis=0)
    expected = two_way_identification(data.truth("vision") - mean, decoded - mean).mean()
    assert values(outcome, "two_way.vision")[1] == pytest.approx(expected, abs=1e-3)
    assert [point["n_trials"] for point in outcome.facts["points"]] == [160, 320, 480]
    assert values(outcome, "pattern.vision") == sorted(values(outcome, "pattern.vision"))


def test_noisier_trials_gain_more_from_repeats():
    gains = []
    for noise in (0.5, 3.0):
        outcome = Curve(over="repeats").run(linear_world(trial_noise=noise))
        found = values(outcome, "pattern.vision")
        assert found == sorted(found)
        gains.append(found[-1] - found[0])
    assert gains[1] > 3 * gains[0]
    assert "(averaging helps: +0." in said(outcome)[0]
    assert [point["scores"]["pattern.vision"]["n_draws"] for point in outcome.facts["points"]] == [3, 3, 1]


def test_pictures_with_fewer_trials_are_left_out(data):
    trials = data.trials("test")
    kept = ~((trials.stimuli < 10) & (trials.sessions == 3))
    fewer = trials._replace(
        responses=trials.responses[kept], stimuli=trials.stimuli[kept], sessions=trials.sessions[kept]
    )
    outcome = Curve(over="repeats", points=(1, 3)).run(replace(data, trials=lambda side: fewer))
    assert outcome.facts["n"] == N_TEST - 10
    assert outcome.facts["own"] is None
    whole = Curve(over="repeats", points=(1, 2)).run(replace(data, trials=lambda side: fewer))
    assert whole.facts["n"] == N_TEST
    with pytest.raises(RunError, match="cannot be 4 in this run: choose points that are whole numbers from 1 to 3"):
        Curve(over="repeats", points=(1, 4)).run(data)


def test_a_few_directions_carry_what_has_few_factors(data):
    """Vision has thirty independent targets; latents are smooth, so that few directions carry them."""
    outcome = Curve(over="rank").run(data)
    assert [point["at"] for point in outcome.facts["points"]] == [1, 2, 5, 10, 20, 50, 60]
    few, many = (outcome.facts["r90"][f"pattern.{group}"] for group in ("latents", "vision"))
    assert few["value"] < many["value"] <= 50
    assert values(outcome, "pattern.vision") == sorted(values(outcome, "pattern.vision"))
    assert "90 % of its gain with" in said(outcome)[0]


@pytest.mark.parametrize("calibration", ["none", "inductive", "transductive"])
def test_the_whole_rank_is_the_runs_prediction_but_for_rounding(calibration):
    data = linear_world(calibration=calibration)
    curve = along("rank")(data, None)
    curve.settle([1.0])
    curve._ranks = [30]
    curve.most = {**curve.most, "vision": 31}
    reduced = curve._reduce("vision")[30]
    np.testing.assert_allclose(reduced, data.predictions("vision"), atol=2e-4 * np.abs(reduced).max())


@pytest.mark.parametrize("calibration", ["inductive", "transductive"])
def test_rank_is_reduced_before_calibration_and_rescaled_as_the_whole_is(calibration):
    """The formula itself on predictions without calibration: calibration stretches targets, which turns directions."""
    data = linear_world(calibration=calibration)
    curve = along("rank")(data, None)
    curve.settle([2.0])
    plain = data.decoders().uncalibrated()
    whole, training = (plain.decode(each)["vision"] for each in (data.responses("test"), plain.rows.responses))
    centre = training.mean(axis=0)
    axes = np.linalg.svd(training - centre, full_matrices=False)[2][:2]
    reduced = centre + (whole - centre) @ axes.T @ axes
    own = data.predictions("vision")
    expected = own.mean(axis=0) + (reduced - whole.mean(axis=0)) * (own.std(axis=0) / whole.std(axis=0))
    np.testing.assert_allclose(curve._reduce("vision")[2], expected, atol=1e-3 * np.abs(expected).max())


def test_every_draw_takes_other_trials(data):
    """At one trial of three, three draws take each trial of a picture once; the largest point has one draw, of all."""
    trials, curve = data.trials("test"), along("repeats")(data, None)
    curve.settle([1.0, 3.0])
    taken = np.stack([[curve._average(row, 1, draw) for draw in range(3)] for row in range(N_TEST)])
    for row in (0, 7, N_TEST - 1):
        own = trials.responses[trials.stimuli == row]
        np.testing.assert_array_equal(np.sort(taken[row], axis=0), np.sort(own, axis=0))
    assert len(list(curve.decoded(1.0))) == 3
    assert len(list(curve.decoded(3.0))) == 1


def test_90_percent_of_a_gain_are_counted_from_chance(data):
    """Of .95 two-way, 90 % of the gain over .5 is .905: a rank that scores .88 has not reached it."""

    def score(truth, decoded):
        is_whole = np.ptp(decoded - data.predictions("vision"), axis=0).max() < 1e-5
        scores = np.full(len(truth), 0.95 if is_whole else 0.88)
        return Identified(scores, scores)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("braindiffuser.metrics.two_way_identification.two_way_identified", score)
        outcome = Curve(over="rank", points=(1, 5)).run(replace(data, groups=("vision",)))
    assert values(outcome, "two_way.vision") == pytest.approx([0.88, 0.88, 0.95])
    assert outcome.facts["entries"]["two_way.vision"]["floor"] == 0.5
    assert outcome.facts["r90"]["two_way.vision"]["value"] == outcome.facts["own"]


def test_drawn_pictures_are_scored_among_themselves(data):
    calls = []

    def score(pictures, name, chosen=None):
        calls.append((len(pictures), chosen.tolist()))
        return data.score(pictures, name, chosen)

    outcome = Curve(over="rank", points=(1, 5), pictures=8).run(replace(data, score=score))
    assert calls == [(8, np.rint(np.linspace(0, N_TEST - 1, 8)).astype(int).tolist())] * 3
    assert outcome.facts["n_drawn"] == 8
    assert list(outcome.pictures) == ["curve_rank_seen", *(f"curve_rank_at{number}" for number in range(3))]
    assert all(len(pictures) == 4 for pictures in outcome.pictures.values())
    assert values(outcome, "pictures.pixcorr")[-1] == pytest.approx(1)  # its own pictures are those that were seen
    table = outcome.tables["per_image"]
    assert table[table["score"] == "pictures.rank"].groupby("at").size().tolist() == [8, 8, 8]


def test_settings_of_the_generator_differ_in_nothing_else(data):
    asked = []

    def draw(features, ids, changes=None, begun=None):
        asked.append((dict(changes), list(begun), features["vision"], ids))
        blend = changes["diffusion"]["strength"]
        return {"full": ((1 - blend) * begun["low_level"] + blend * 0.5).astype(np.float32)}

    outcome = Curve(over="strength", points=(0.0, 0.9), pictures=6).run(replace(data, draw=draw))
    assert [each[0] for each in asked] == [{"diffusion": {"strength": 0.0}}, {"diffusion": {"strength": 0.9}}]
    assert all(each[1] == ["low_level"] for each in asked)
    np.testing.assert_array_equal(asked[0][2], asked[1][2])
    assert outcome.facts["own"] == 0.4
    assert list(outcome.facts["entries"]) == ["pictures.pixcorr", "pictures.rank"]
    assert "no other strength is shown to be better than the run's 0.4" in said(outcome)[-1]


def test_points_that_are_kept_are_not_computed_again(data):
    keep, computed = keeping()
    first = Curve(over="training", points=(20, 40)).run(replace(data, kept_each=keep))
    assert [name.partition("-of-")[0] for name in computed] == ["training-20", "training-40", "training-160"]
    second = Curve(over="training", points=(20, 40, 80)).run(replace(data, kept_each=keep))
    assert [name.partition("-of-")[0] for name in computed[3:]] == ["training-80"]
    assert second.facts["points"][0]["scores"] == first.facts["points"][0]["scores"]


@pytest.mark.parametrize(
    ("over", "points", "pictures"), [("training", (20,), 4), ("repeats", (1, 2), None), ("strength", (0.2,), 3)]
)
def test_a_worker_scores_a_point_as_the_run_does(over, points, pictures, data):
    def by_worker(items, compute):
        at = Curve(over=over, points=points, pictures=pictures).part_of(data)
        for item in items.values():
            made = at(item)
            assert made == compute(item)
            yield made

    drawn = replace(data, kept_each=by_worker)
    assert len(Curve(over=over, points=points, pictures=pictures).run(drawn).facts["points"]) >= 2


def keeping():
    """What keeps parts as a run does, and the names of those that were computed."""
    kept, computed = {}, []

    def keep(items, compute):
        for name, item in items.items():
            if name not in kept:
                computed.append(name)
                kept[name] = json.loads(json.dumps(compute(item)))
            yield kept[name]

    return keep, computed


def test_kept_points_are_of_the_pictures_that_are_scored(data):
    """With other points over repeats, other pictures have enough trials: what is kept of some is not taken for others."""
    trials = data.trials("test")
    some = ~((trials.stimuli < 10) & (trials.sessions == 3))
    fewer = trials._replace(
        responses=trials.responses[some], stimuli=trials.stimuli[some], sessions=trials.sessions[some]
    )
    ragged, (keep, _) = replace(data, trials=lambda side: fewer), keeping()
    some, *_, again = [
        Curve(over="repeats", points=points).run(replace(ragged, kept_each=keep)).facts
        for points in ((1, 3), (1, 2), (1, 3))
    ]
    assert again == some
    assert Curve(over="repeats", points=(1, 2)).run(replace(ragged, kept_each=keep)).facts["n"] == N_TEST


def test_points_that_differ_in_a_late_digit_are_kept_apart(data):
    keep, computed = keeping()
    drawn = replace(data, kept_each=keep, draw=lambda features, ids, changes, begun: {"full": begun["low_level"]})
    Curve(over="strength", points=(0.1234567, 0.1234568), pictures=3).run(drawn)
    assert len(computed) == 3


def test_what_a_curve_asks_for_is_what_it_declares():
    features, pictures, settings = Curve(over="rank"), Curve(over="rank", pictures=4), Curve(over="guidance")
    assert (features.draws, features.scores, features.needs, features.reads) == (False, False, ("fit",), ())
    assert (pictures.draws, pictures.needs, pictures.reads) == (True, ("fit", "reconstruct"), ("stimuli",))
    assert (settings.n_drawn, settings.scores) == (20, True)
    assert Curve(over="repeats").reads == ("betas",)
    assert Curve(over="repeats").label == "curve_repeats"


def test_curves_are_files_and_others_are_refused():
    assert known_curves() == ("guidance", "rank", "repeats", "sessions", "strength", "training", "vision_weight")
    assert [along(name).__module__.rpartition(".")[2] for name in known_curves()] == list(known_curves())
    with pytest.raises(ValueError, match="is 'alpha'; expected 'guidance', 'rank'"):
        Curve(over="alpha")


def test_a_new_curve_is_one_class_and_the_page_says_nothing_of_others(data, monkeypatch):
    class Gain(Along):
        title, axis, unit = "Score over the gain of responses", "gain", "times"
        how_to_read = "Responses are multiplied."

        def default_points(self):
            return [1.0, 2.0]

        def decoded(self, point):
            yield self.data.decoders().decode(point * self.test_responses())

    monkeypatch.setattr("braindiffuser.analyses.curve.along", lambda name: Gain)
    outcome = Curve.model_construct(over="gain", points=(), pictures=None, n_draws=None, goal=None, name="").run(data)
    said = " ".join(block.text for block in outcome.section.blocks if block.type == "text")
    assert said.endswith("Responses are multiplied.")
    assert " at 1 times, " in said
    for other in ("generator", "trial", "log2", "r90"):
        assert other not in said
    for name in known_curves():
        assert along(name).how_to_read
        assert name in Curve.model_fields["over"].description


def test_where_there_is_no_curve_it_is_said(data):
    single = data.trials("train")._replace(sessions=np.ones(3 * N_TRAIN, int))
    outcome = Curve(over="sessions").run(replace(data, trials=lambda side: single))
    assert outcome.section.blocks[0].text == "Training trials are of one session, so there is no curve."
    once = data.trials("test")
    once = once._replace(
        responses=once.responses[:N_TEST], stimuli=once.stimuli[:N_TEST], sessions=once.sessions[:N_TEST]
    )
    outcome = Curve(over="repeats").run(replace(data, trials=lambda side: once))
    assert outcome.section.blocks[0].text.startswith("Fewer than half of the test pictures were shown more than once")
    outcome = Curve(over="guidance").run(data)
    assert outcome.section.blocks[0].text.startswith("The generator has no entry diffusion.guidance_scale")


def test_a_run_too_small_for_a_second_point_has_no_curve_and_a_single_point_that_is_asked_for_is_refused(
    data, monkeypatch
):
    monkeypatch.setattr("braindiffuser.analyses.curves.training.FEWEST_TO_FIT", N_TRAIN // 2 + 1)
    outcome = Curve(over="training").run(data)
    assert outcome.section.blocks[0].text == (
        "Of training pictures, this run has too few for another point beside its own, 160, so there is no curve."
    )
    with pytest.raises(RunError, match="has a single point, 160: give two or more"):
        Curve(over="training", points=(N_TRAIN,)).run(data)
    with pytest.raises(RunError, match=r"training pictures cannot be 100\.00001 in this run"):
        Curve(over="training", points=(100.00001,)).run(data)
