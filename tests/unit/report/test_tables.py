import numpy as np
import pandas as pd
import pytest

from braindiffuser.errors import RunError
from braindiffuser.report import tables
from braindiffuser.report.tables import Estimate


def metric(value, *, better=True, chance=None, label="M", half=0.01, **others):
    """One entry of scores.json whose every interval is value ± half; `others` gives the remaining conditions."""
    interval = {name: [number - half, number + half] for name, number in others.items()}
    return {
        "label": label,
        "value": value,
        "ci95": [value - half, value + half],
        "higher_is_better": better,
        "chance": chance,
        "baselines": {name: others[name] for name in tables.BASELINES if name in others},
        "baselines_ci95": {name: interval[name] for name in tables.BASELINES if name in others},
        "ablations": {name: others[name] for name in tables.ABLATIONS if name in others},
        "ablations_ci95": {name: interval[name] for name in tables.ABLATIONS if name in others},
    }


def ablated(both, low_level_only, without_low_level, **facts):
    return metric(both, low_level_only=low_level_only, without_low_level=without_low_level, **facts)


def test_estimate_finds_every_condition_and_none_where_there_is_none():
    entry = {**metric(0.5, mean_image=0.1, low_level_only=0.2), "ceiling": 0.9}
    assert tables.estimate(entry, "reconstruction") == Estimate(0.5, 0.49, 0.51)
    assert tables.estimate(entry, "mean_image").value == 0.1
    assert tables.estimate(entry, "low_level_only").value == 0.2
    assert tables.estimate(entry, "ceiling") == Estimate(0.9, None, None)
    assert tables.estimate(entry, "without_low_level") is None


@pytest.mark.parametrize(
    ("better", "chance", "family"),
    [(True, None, "Pixel metrics"), (True, 0.5, "Two-way identification"), (False, None, "Distances")],
)
def test_family_follows_the_declared_facts(better, chance, family):
    assert tables.metric_family(metric(0.5, better=better, chance=chance)) == family


def test_arrow_points_to_better():
    assert tables.metric_label(metric(0.5, label="PixCorr")) == "PixCorr ↑"
    assert tables.metric_label(metric(0.5, label="SwAV", better=False)) == "SwAV ↓"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_score_prints_as_a_dash(value):
    assert tables.format_score(metric(0.5), value) == "–"


def test_frame_holds_the_unrounded_numbers():
    scores = {"metrics": {"pixcorr": metric(1 / 3, mean_image=0.1), "swav": metric(0.4, better=False, chance=0.5)}}
    frame = tables.scores_frame(scores)
    assert list(frame.index) == ["pixcorr", "swav"]
    assert frame.loc["pixcorr", "reconstruction"] == 1 / 3
    assert frame.loc["pixcorr", "mean_image_low"] == pytest.approx(0.09)
    assert np.isnan(frame.loc["pixcorr", "ceiling"])
    assert np.isnan(frame.loc["pixcorr", "chance"])
    assert not frame.loc["swav", "higher_is_better"]


def test_markdown_has_one_cell_per_column_and_escapes_bars():
    scores = {"metrics": {"a": metric(0.5, label="a|b", mean_image=0.25), "b": metric(0.9, chance=0.5)}}
    lines = tables.scores_markdown(scores).splitlines()
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(tables.COMPARED) + 3}
    assert "a\\|b ↑" in lines[2]
    assert "0.250 [0.240 – 0.260]" in lines[2]
    assert "90.0 % [89.0 – 91.0 %]" in lines[3]
    assert lines[3].endswith("| 50.0 % |")
    assert "Diffusion only" in tables.scores_markdown(scores, tables.ABLATIONS)


@pytest.mark.parametrize(
    ("a", "b", "better", "expected"),
    [
        (0.5, 0.3, True, "better"),
        (0.3, 0.5, True, "worse"),
        (0.3, 0.5, False, "better"),
        (0.5, 0.3, False, "worse"),
        (0.5, 0.49, True, "overlap"),
        (0.5, 0.48, True, "overlap"),
    ],
)
def test_compare_counts_separate_intervals_only(a, b, better, expected):
    entry = metric(a, low_level_only=b, better=better, half=0.0101)
    assert tables.compare(entry, "reconstruction", "low_level_only") == expected


def test_compare_says_nothing_without_an_interval():
    entry = metric(0.5, low_level_only=0.1)
    entry["ablations_ci95"] = {}
    assert tables.compare(entry, "reconstruction", "low_level_only") is None
    assert tables.compare(entry, "reconstruction", "without_low_level") is None


@pytest.mark.parametrize(
    ("both", "low_level_only", "verdict"),
    [
        (
            (0.5, 0.5),
            (0.3, 0.3),
            "earns its place: both together are better than the low level alone on A and B; worse",
        ),
        ((0.3, 0.3), (0.5, 0.5), "does not earn its place: both together are better than the low level alone on no"),
        ((0.5, 0.3), (0.3, 0.5), "is a trade: both together are better than the low level alone on A; worse on B"),
        ((0.5, 0.5), (0.5, 0.495), "is not shown to earn its place"),
        ((0.5, 0.5), (0.3, 0.495), "earns its place"),
    ],
)
def test_ablation_sentence_follows_the_numbers(both, low_level_only, verdict):
    pairs = zip("AB", both, low_level_only, strict=True)
    scores = {"metrics": {label: ablated(x, y, x, label=label) for label, x, y in pairs}}
    diffusion, low_level = tables.ablation_sentences(scores)
    assert diffusion.startswith(f"The diffusion {verdict}")
    assert low_level.startswith("The low level is not shown to earn its place")
    assert "undecided on A and B" in low_level


def test_each_stage_is_judged_against_the_other_alone():
    scores = {"metrics": {"m": ablated(0.5, 0.5, 0.1)}}
    diffusion, low_level = tables.ablation_sentences(scores)
    assert "is not shown to earn its place" in diffusion
    assert low_level.startswith("The low level earns its place")


def test_ablation_that_was_not_run_is_not_judged():
    assert all("was not tested" in sentence for sentence in tables.ablation_sentences({"metrics": {"m": metric(0.5)}}))


def test_baseline_sentence_needs_all_three_baselines_beaten():
    worse = dict.fromkeys(tables.BASELINES, 0.1)
    metrics = {"a": metric(0.5, label="A", **worse), "b": metric(0.5, label="B", **{**worse, "mean_image": 0.49})}
    assert "on 1 of 2 metrics" in tables.baseline_sentence({"metrics": metrics})
    assert tables.baseline_sentence({"metrics": metrics}).endswith("not on B.")
    assert "on 1 of 1 metrics, each time" in tables.baseline_sentence({"metrics": {"a": metrics["a"]}})


def test_ranking_breaks_ties_by_pixcorr_then_by_number():
    scores = {"metrics": {"pixcorr": metric(0.5), "efficientnet_lite0_last": metric(0.5, chance=0.5)}}
    per_image = pd.DataFrame(
        {
            "number": [3, 2, 1, 0],
            "stimulus_id": [13, 12, 11, 10],
            "pixcorr": [0.1, 0.9, 0.5, 0.5],
            "efficientnet_lite0_last": [1.0, 0.2, 1.0, 1.0],
        }
    )
    assert list(tables.rank_images(scores, per_image)["number"]) == [0, 1, 3, 2]


def test_ranking_by_a_distance_puts_the_smallest_first():
    scores = {"metrics": {"swav": metric(0.5, better=False)}}
    per_image = pd.DataFrame({"number": [0, 1, 2], "swav": [0.5, 0.1, 0.9]})
    assert list(tables.rank_images(scores, per_image)["number"]) == [1, 0, 2]


def test_ranking_without_scores_of_pictures_says_what_to_do():
    with pytest.raises(RunError, match="run evaluate again"):
        tables.gallery_metrics({"metrics": {"m": metric(0.5)}}, pd.DataFrame({"number": [0]}))


def test_no_metrics_says_what_to_do():
    with pytest.raises(RunError, match="run evaluate first"):
        tables.scores_markdown({"metrics": {}})


@pytest.mark.parametrize(("n_images", "n_each"), [(200, 4), (12, 4), (11, 3), (3, 1), (2, 0)])
def test_gallery_rows_are_top_middle_and_bottom_without_repeats(n_images, n_each):
    rows = tables.gallery_rows(pd.DataFrame({"number": range(n_images)}))
    assert list(rows) == ["best", "median", "worst"]
    best, median, worst = (list(part["number"]) for part in rows.values())
    assert best == list(range(n_each))
    assert worst == list(range(n_images - n_each, n_images))
    assert len(set(best + median + worst)) == 3 * n_each
    if n_each:
        above, below = median[0], n_images - 1 - median[-1]
        assert abs(above - below) <= 1
