"""Scores of subjects put together: means of means, losses and gains with their signs, and nothing that not all have."""

from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.metrics.intervals import mean_interval
from braindiffuser.metrics.scored_pictures import ScoredPictures
from braindiffuser.metrics.study_summary import Permuted, SubjectScores, join_subjects
from braindiffuser.metrics.subjects import interval_over_pictures, share_interval_over_pictures

N = 20
FACTS = {"description": "", "citation": "", "bounds": [-1.0, 1.0]}
BETTER = {"pixcorr": True, "swav": False}


def metric(values, higher_is_better, without, **others):
    return {
        **FACTS,
        "label": "X",
        "higher_is_better": higher_is_better,
        "chance": None,
        "value": float(values.mean()),
        "ci95": list(mean_interval(values)),
        "ceiling": 0.9,
        "baselines": {"mean_image": 0.0 if higher_is_better else 0.99},
        "baselines_ci95": {"mean_image": [-0.01, 0.01] if higher_is_better else [0.98, 1.0]},
        "ablations": {"without_text": without},
        **others,
    }


def subject(name, seed, level=0.5, without=0.4, keys=tuple(BETTER), **others):
    rng = np.random.default_rng(seed)
    scores = {key: level + 0.1 * rng.normal(size=N) for key in keys}
    metrics = {key: metric(scores[key], BETTER[key], without, **others) for key in keys}
    return SubjectScores(name, scores, {"profile": "p", "n_images": N, "metrics": metrics})


@pytest.fixture
def subjects():
    return [subject(f"subj0{number}", number, level) for number, level in ((1, 0.4), (2, 0.5), (5, 0.6))]


def join(subjects, **options):
    return join_subjects(subjects, **options)


def test_values_are_means_over_subjects_of_means_over_pictures(subjects):
    joint = join(subjects)
    for key, entry in joint["metrics"].items():
        means = {own.name: own.per_picture[key].mean() for own in subjects}
        assert entry["subjects"] == pytest.approx(means)
        assert entry["value"] == pytest.approx(np.mean(list(means.values())))
        assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]
        assert entry["ci95_subjects"][0] < entry["ci95"][0] < entry["ci95"][1] < entry["ci95_subjects"][1]
        assert entry["subjects_ci95"]["subj02"] == subjects[1].summary["metrics"][key]["ci95"]
    assert (joint["profile"], joint["n_images"]) == ("p", N)


def test_intervals_end_at_the_bounds_of_the_metric():
    joint = join([subject("a", 1, -0.9), subject("b", 2, 0.9)])
    assert joint["metrics"]["pixcorr"]["ci95_subjects"] == [-1.0, 1.0]


def test_losses_are_positive_where_the_whole_method_is_better(subjects):
    metrics = join(subjects)["metrics"]
    whole = metrics["pixcorr"]["value"]
    assert metrics["pixcorr"]["ablation_losses"]["without_text"]["value"] == pytest.approx(whole - 0.4)
    assert metrics["swav"]["ablation_losses"]["without_text"]["value"] == pytest.approx(0.4 - metrics["swav"]["value"])
    assert metrics["pixcorr"]["ablation_subjects"]["without_text"] == dict.fromkeys(["subj01", "subj02", "subj05"], 0.4)


def test_an_ablation_of_fewer_pictures_is_compared_with_the_whole_method_on_these():
    joint = join([subject("a", 1, 0.5), subject("b", 2, 0.5)])
    own = [subject(name, seed, 0.5, 0.4, ablated={"n_images": 5, "value": 0.7}) for name, seed in (("a", 1), ("b", 2))]
    assert join(own)["metrics"]["pixcorr"]["ablation_losses"]["without_text"]["value"] == pytest.approx(0.3)
    ablated = {"n_images": 5, "n_images_subjects": {"a": 5, "b": 5}, "value": pytest.approx(0.7), "ci95": None}
    assert join(own)["metrics"]["pixcorr"]["ablated"] == ablated
    assert joint["metrics"]["pixcorr"]["ablation_losses"]["without_text"]["value"] == pytest.approx(0.1, abs=0.05)


def test_a_subject_beats_its_baselines_by_separate_intervals_alone():
    joint = join([subject("far", 1, 0.5), subject("near", 2, 0.0)])
    assert joint["metrics"]["pixcorr"]["baseline_wins"] == {"far": True, "near": False}
    assert joint["metrics"]["swav"]["baseline_wins"] == {"far": True, "near": True}


def test_what_not_all_subjects_have_is_left_out():
    joint = join([subject("a", 1), subject("b", 2, keys=("pixcorr",), ceiling=None, ablations={})])
    entry = joint["metrics"]["pixcorr"]
    assert list(joint["metrics"]) == ["pixcorr"]
    assert (entry["ceiling"], entry["ceiling_subjects"], entry["ablations"]) == (None, {}, {})


def test_gains_of_averaged_features_are_paired_and_signed(subjects):
    joint = join(subjects, average=subject("Sub Avg", 9, 0.8))
    better, worse = (joint["metrics"][key]["subject_average"] for key in BETTER)
    assert better["gain"] == pytest.approx(better["value"] - joint["metrics"]["pixcorr"]["value"])
    assert worse["gain"] == pytest.approx(joint["metrics"]["swav"]["value"] - worse["value"])
    assert better["gain_ci95"][0] > 0 > worse["gain_ci95"][1]
    mean = np.mean([own.per_picture["pixcorr"] for own in subjects], axis=0)
    same = SubjectScores("Sub Avg", {"pixcorr": mean}, subject("x", 1).summary)
    assert join(subjects, average=same)["metrics"]["pixcorr"]["subject_average"]["gain_ci95"] == [0.0, 0.0]


def test_prevalence_takes_distances_with_their_sign_turned(subjects):
    rng = np.random.default_rng(3)
    permuted = [
        {
            "pixcorr": Permuted(0.5, 0.01 * rng.normal(size=99), N),
            "swav": Permuted(0.5, 0.9 + 0.01 * rng.normal(size=99), N),
        }
        for _ in subjects
    ]
    metrics = join(subjects, permuted=permuted)["metrics"]
    for key in BETTER:
        found = metrics[key]["prevalence"]
        assert found["p_subjects"] == dict.fromkeys(["subj01", "subj02", "subj05"], 0.01)
        assert found["bound"] == found["largest_bound"]
        assert (found["n_permutations"], found["n_images"]) == (99, N)
    assert metrics["swav"]["prevalence"]["chance"]["subj01"] == pytest.approx(0.9, abs=0.01)
    assert "prevalence" not in join(subjects, permuted=[{}, *permuted[1:]])["metrics"]["pixcorr"]


def test_one_subject_has_no_interval_over_subjects_and_two_names_must_differ(subjects):
    assert join(subjects[:1])["metrics"]["pixcorr"]["ci95_subjects"] is None
    with pytest.raises(ValueError, match="different names, got subj01, subj01"):
        join([subjects[0], subjects[0]])


def test_subjects_of_other_pictures_are_averaged_apart():
    fewer = SubjectScores(
        "b", {key: scores[:5] for key, scores in subject("b", 2).per_picture.items()}, subject("b", 2).summary
    )
    with pytest.raises(ValueError, match="share pictures, but have 20, 5"):
        join([subject("a", 1), fewer])
    assert join([subject("a", 1), fewer], shared=False)["metrics"]["pixcorr"]["value"] > 0


@pytest.mark.parametrize("second", [{}, {"ablated": {"n_images": 10, "value": 0.5}}])
def test_the_whole_method_beside_ablations_less_an_ablation_is_its_loss(second):
    """Whatever number of pictures ablations were drawn of in each run."""
    own = [
        subject("a", 1, 0.5, 0.4, ablated={"n_images": 5, "value": 0.7}),
        subject("b", 2, 0.5, 0.4, **second),
    ]
    entry = join(own)["metrics"]["pixcorr"]
    loss = entry["ablation_losses"]["without_text"]["value"]
    assert entry["ablated"]["value"] - entry["ablations"]["without_text"] == pytest.approx(loss)
    assert entry["ablated"]["n_images"] is None
    assert entry["ablated"]["n_images_subjects"] == {"a": 5, "b": 10 if second else N}
    assert "ablated" not in join([subject("a", 1), subject("b", 2)])["metrics"]["pixcorr"]


@pytest.mark.parametrize("shared", [True, False])
def test_identification_allows_for_other_distractors_where_all_runs_can_tell(subjects, shared):
    rng = np.random.default_rng(9)
    for own in subjects:
        own.summary["metrics"]["pixcorr"] |= {"chance": 0.5, "bounds": [0.0, 1.0]}
    without = [rng.random(N) for _ in subjects]
    known = [
        replace(own, per_picture=ScoredPictures(own.per_picture, {"pixcorr": each}))
        for own, each in zip(subjects, without, strict=True)
    ]
    plain, found = (join(some, shared=shared)["metrics"]["pixcorr"] for some in ([*known[:2], subjects[2]], known))
    expected = share_interval_over_pictures(found["value"], without, 0.5, shared=shared, graded=True)
    assert found["ci95"] == pytest.approx(expected)
    scores = [own.per_picture["pixcorr"] for own in subjects]
    assert plain["ci95"] == pytest.approx(interval_over_pictures(scores, (0.0, 1.0), chance=0.5, shared=shared))
