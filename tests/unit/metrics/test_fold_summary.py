import json

import numpy as np
import pytest

from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.fold_summary import NULL, FoldOfSet, gather, join_folds
from braindiffuser.metrics.folds import leave_pictures_out, score_in_folds
from braindiffuser.metrics.intervals import share_interval
from braindiffuser.metrics.joined_intervals import interval_inside_folds, joined_share_interval
from braindiffuser.metrics.places import Places, n_way
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scored_pictures import ScoredPictures
from braindiffuser.metrics.summary import ScoreSets, summarise, within
from braindiffuser.metrics.two_way_identification import TwoWayIdentification, two_way_identification

PROFILE = Profile.load("demo").without({"efficientnet_lite0", "clip_demo"})  # PixCorr and SSIM
KEYS = tuple(PROFILE.metrics)


def fold_of(ids, scores, ceiling=None, others=None, profile=PROFILE):
    """What a run stores of one fold: the same scores in every metric."""
    ids, scores = np.asarray(ids), np.asarray(scores, np.float64)
    every = dict.fromkeys(profile.metrics, scores)
    more = {name: {key: np.asarray(own, np.float64) for key in profile.metrics} for name, own in (others or {}).items()}
    own_ceiling = None if ceiling is None else {key: np.asarray(ceiling, np.float64) for key in profile.metrics}
    sets = ScoreSets(every, own_ceiling, more, {})
    summary = summarise(profile, sets, np.random.default_rng(0), n_resamples=20)
    return FoldOfSet(ids, every, json.loads(json.dumps(summary)))


def joined(folds, nulls=(), **options):
    return join_folds(folds, nulls, **options)


def draw(rng, sizes):
    """Folds of such sizes, of pictures in mixed order, with random scores."""
    ids = np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    return [
        fold_of(own, rng.random(len(own)), rng.random(len(own)), {"mean_image": rng.random(len(own))}) for own in ids
    ]


def test_it_is_what_score_in_folds_finds_on_the_same_decoders():
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((13, 6))
    responses = targets @ rng.standard_normal((6, 9)) + 2 * rng.standard_normal((13, 9))
    design = leave_pictures_out(np.arange(13), 4, rng)
    stored = []

    def score(seen, made):
        scores = two_way_identification(seen, made)
        stored.append(scores)
        return scores

    def least_squares(X, Y, queries):
        return queries @ np.linalg.pinv(X) @ Y

    expected = score_in_folds(responses, targets, design, least_squares, score, rng=rng)
    folds = [fold_of(rows, scores) for rows, scores in zip(design.left_out, stored, strict=True)]
    found = joined(folds)["metrics"]
    np.testing.assert_allclose(gather(folds, "pixcorr").scores, expected.per_picture)
    for entry in found.values():
        assert entry["value"] == pytest.approx(expected.value)
        assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
        assert entry["folds"] == pytest.approx([scores.mean() for scores in stored])


def test_pictures_weigh_the_same_whatever_the_size_of_their_fold():
    rng = np.random.default_rng(1)
    folds = draw(rng, (2, 7, 4))
    found = joined(folds)
    assert found["n_images"] == 13
    for key, entry in found["metrics"].items():
        sizes = [2, 7, 4]
        values = [fold.summary["metrics"][key] for fold in folds]
        assert entry["value"] == pytest.approx(np.concatenate([fold.per_picture[key] for fold in folds]).mean())
        assert entry["ceiling"] == pytest.approx(np.average([one["ceiling"] for one in values], weights=sizes))
        means = [one["baselines"]["mean_image"] for one in values]
        assert entry["baselines"] == {"mean_image": pytest.approx(np.average(means, weights=sizes))}
        assert entry["folds_ci95"] == [one["ci95"] for one in values]
        assert "null" not in entry


def test_a_picture_that_every_fold_tested_has_its_mean_over_folds():
    folds = [fold_of([7, 3], [0.0, 1.0]), fold_of([3, 7], [0.5, 0.5])]
    gathered = gather(folds, "ssim")
    assert gathered.stimulus_ids.tolist() == [3, 7]
    assert gathered.scores.tolist() == [0.75, 0.25]
    assert gathered.folds.tolist() == [0, 0]
    assert joined(folds)["n_images"] == 2


def test_the_null_stands_beside_with_every_repetition():
    rng = np.random.default_rng(2)
    folds = [fold_of([0, 1], [0.9, 0.8]), fold_of([2, 3], [0.9, 1.0])]
    nulls = [
        [fold_of([0, 1], rng.random(2) / 2), fold_of([2, 3], rng.random(2) / 2)],
        [fold_of([0, 1], [0.95, 0.95]), fold_of([2, 3], [0.9, 0.9])],
        [fold_of([0, 1], rng.random(2) / 2), fold_of([2, 3], rng.random(2) / 2)],
    ]
    for key, entry in joined(folds, nulls)["metrics"].items():
        values = [np.concatenate([fold.per_picture[key] for fold in null]).mean() for null in nulls]
        assert entry["null"]["values"] == pytest.approx(values)
        assert entry["null"]["p_value"] == 2 / 4  # one of three is better
        assert entry["baselines"][NULL] == pytest.approx(np.mean(values))
        low, high = entry["baselines_ci95"][NULL]
        assert low <= entry["baselines"][NULL] <= high


def test_of_distances_the_smaller_is_the_better():
    folds, null = [fold_of([0, 1], [0.2, 0.2])], [fold_of([0, 1], [0.1, 0.1])]
    found = joined(folds, [null])["metrics"]["ssim"]
    assert found["null"]["p_value"] == 1 / 2
    for fold in (*folds, *null):
        fold.summary["metrics"]["ssim"]["higher_is_better"] = False
    found = joined(folds, [null])["metrics"]["ssim"]
    assert found["null"]["p_value"] == 1.0
    worse = [fold_of([0, 1], [0.3, 0.3])]
    worse[0].summary["metrics"]["ssim"]["higher_is_better"] = False
    assert joined(folds, [worse])["metrics"]["ssim"]["null"]["p_value"] == 1 / 2


def test_metrics_that_a_run_lacks_are_left_out():
    fewer = PROFILE.model_copy(update={"metrics": {"ssim": PROFILE.metrics["ssim"]}, "headlines": ()})
    folds = [fold_of([0, 1], [0.5, 0.5]), fold_of([2, 3], [0.5, 0.5], profile=fewer)]
    assert list(joined(folds)["metrics"]) == ["ssim"]
    assert list(joined(folds[:1], [[fold_of([0, 1], [0.5, 0.5], profile=fewer)]])["metrics"]) == ["ssim"]


def test_other_pictures_make_no_null():
    with pytest.raises(ValueError, match="a null scored other pictures"):
        joined([fold_of([0, 1], [0.5, 0.5])], [[fold_of([0, 2], [0.5, 0.5])]])


def test_the_same_scores_give_the_same_bytes():
    folds = draw(np.random.default_rng(3), (3, 4))
    assert json.dumps(joined(folds, [folds])) == json.dumps(joined(folds, [folds]))
    assert json.dumps(joined(folds), allow_nan=False)


def test_pictures_vary_inside_the_fold_that_tested_them():
    """Folds that differ, and pictures of one that do not, leave no width; ids of the folds are mixed."""
    folds = [fold_of([0, 3, 4], [0.2] * 3), fold_of([5, 1], [0.9] * 2), fold_of([2, 6], [0.5] * 2)]
    for entry in joined(folds, [folds])["metrics"].values():
        assert entry["ci95"] == pytest.approx([entry["value"]] * 2)
        assert entry["baselines_ci95"][NULL] == pytest.approx([entry["value"]] * 2)
    wide = [fold_of([0, 3], [0.1, 0.9]), fold_of([1, 2], [0.1, 0.9])]
    for entry in joined(wide)["metrics"].values():
        low, high = entry["ci95"]
        assert low < 0.2
        assert high > 0.8


def test_intervals_end_at_the_bounds_of_the_metric():
    """Intervals of few pictures go beyond them."""
    folds = [fold_of([0, 1], [-1.0, 1.0])]
    for entry in joined(folds, [folds])["metrics"].values():
        assert entry["bounds"] == entry["ci95"] == entry["baselines_ci95"][NULL] == [-1.0, 1.0]


def test_the_same_scores_of_other_pictures_as_the_only_null_give_a_p_of_one():
    rng = np.random.default_rng(4)
    for _ in range(30):
        scores = rng.integers(0, 12, 12) / 11  # two-way identification among twelve
        null = [fold_of(np.arange(12), rng.permutation(scores))]
        for entry in joined([fold_of(np.arange(12), scores)], [null])["metrics"].values():
            assert entry["null"]["p_value"] == 1.0


def test_ablations_on_some_pictures_of_each_fold_are_weighted_by_their_number():
    folds = [fold_of(range(4), [0.1] * 4), fold_of(range(4, 10), [0.3] * 6)]
    for fold, n, value in zip(folds, (1, 3), (0.2, 0.6), strict=True):
        for entry in fold.summary["metrics"].values():
            entry["ablations"], entry["ablated"] = {"a": value}, {"n_images": n, "value": value, "ci95": [0, 1]}
    for entry in joined(folds)["metrics"].values():
        assert entry["ablations"]["a"] == pytest.approx(0.5)
        assert entry["ablated"] == {"n_images": 4, "value": pytest.approx(0.5), "ci95": None}
        assert entry["value"] == pytest.approx(0.22)


def test_a_fold_whose_ablations_are_of_all_its_pictures_counts_with_all():
    folds = [fold_of(range(4), [0.1] * 4), fold_of(range(4, 10), [0.3] * 6)]
    for fold, value in zip(folds, (0.2, 0.6), strict=True):
        for entry in fold.summary["metrics"].values():
            entry["ablations"] = {"a": value}
    for entry in folds[1].summary["metrics"].values():
        entry["ablated"] = {"n_images": 4, "value": 0.5, "ci95": [0, 1]}
    for entry in joined(folds)["metrics"].values():
        assert entry["ablations"]["a"] == pytest.approx(0.4)
        assert entry["ablated"] == {"n_images": 8, "value": pytest.approx(0.3), "ci95": None}


TWO_WAY = Profile(
    name="two",
    metrics={"clip": TwoWayIdentification(network="n", layer="l", label="CLIP", description="Of all values.")},
)


def identified_fold(rng, ids):
    """A fold whose pictures are identified among each other."""
    seen = rng.normal(size=(len(ids), 8))
    own = n_way(Places.of(correlation_matrix(seen, seen + 2 * rng.normal(size=seen.shape))), 2)
    scores = ScoredPictures({"clip": own.scores}, {"clip": own.left_out})
    summary = summarise(TWO_WAY, ScoreSets(scores), np.random.default_rng(0))
    return FoldOfSet(np.asarray(ids), scores, json.loads(json.dumps(summary)))


def test_identification_allows_for_other_distractors_of_each_fold():
    rng = np.random.default_rng(5)
    folds = [identified_fold(rng, ids) for ids in ([4, 0, 7, 2], [1, 3, 5, 6, 8])]
    entry = joined(folds)["metrics"]["clip"]
    without = [fold.per_picture.left_out["clip"] for fold in folds]
    assert entry["ci95"] == pytest.approx(
        joined_share_interval(entry["value"], without, [4 / 9, 5 / 9], 0.5, graded=True)
    )


def test_pictures_that_every_fold_tested_are_one_sample():
    rng = np.random.default_rng(6)
    orders = ([4, 0, 7, 2], [0, 2, 4, 7])
    folds = [identified_fold(rng, ids) for ids in orders]
    entry = joined(folds)["metrics"]["clip"]
    by_id = [dict(zip(fold.stimulus_ids, fold.per_picture.left_out["clip"], strict=True)) for fold in folds]
    without = np.array([np.mean([own[shown] for own in by_id]) for shown in orders[1]])
    assert entry["ci95"] == pytest.approx(share_interval(entry["value"], without, 0.5, graded=True))


def test_pictures_that_every_fold_tested_are_left_out_of_each_fold_by_their_id():
    """Folds that tested the same pictures in other orders score the same without each picture."""
    scores = {4: 0.3, 0: 0.1, 7: 0.4, 2: 0.2}
    folds = []
    for order in ([4, 0, 7, 2], [2, 7, 4, 0]):
        own = {"clip": np.array([scores[shown] for shown in order])}
        folds.append(FoldOfSet(np.array(order), ScoredPictures(own, own), {}))
    (left_out,) = gather(folds, "clip").left_out
    assert left_out.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_folds_that_share_some_pictures_alone_have_the_interval_of_their_scores():
    rng = np.random.default_rng(7)
    folds = [identified_fold(rng, ids) for ids in ([0, 1, 2, 3], [3, 4, 5, 6])]
    entry, own = joined(folds)["metrics"]["clip"], gather(folds, "clip")
    assert own.left_out is None
    assert entry["ci95"] == pytest.approx(within(interval_inside_folds(own.scores, own.folds), (0.0, 1.0)))
