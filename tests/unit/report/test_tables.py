import io

import pandas as pd
import pytest
from rich.console import Console
from rich.markdown import Markdown

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
        "ablations": {name: value for name, value in others.items() if name not in tables.BASELINES},
        "ablations_ci95": {name: value for name, value in interval.items() if name not in tables.BASELINES},
    }


ABLATIONS = {"low_level_only": "Low level only", "without_low_level": "Diffusion only"}


def test_estimate_finds_every_condition_and_none_where_there_is_none():
    entry = {**metric(0.5, mean_image=0.1, low_level_only=0.2), "ceiling": 0.9}
    assert tables.estimate(entry, "reconstruction") == Estimate(0.5, 0.49, 0.51)
    assert tables.estimate(entry, "mean_image").value == 0.1
    assert tables.estimate(entry, "low_level_only").value == 0.2
    assert tables.estimate(entry, "ceiling") == Estimate(0.9, None, None)
    assert tables.estimate(entry, "without_low_level") is None


@pytest.mark.parametrize(
    ("better", "chance", "family"),
    [
        (True, None, "Pixel metrics"),
        (True, 0.5, "Two-way identification"),
        (True, 0.02, "Identification among many"),
        (False, None, "Distances"),
    ],
)
def test_family_follows_the_declared_facts(better, chance, family):
    assert tables.metric_family(metric(0.5, better=better, chance=chance)) == family


def test_arrow_points_to_better():
    assert tables.metric_label(metric(0.5, label="PixCorr")) == "PixCorr ↑"
    assert tables.metric_label(metric(0.5, label="SwAV", better=False)) == "SwAV ↓"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_score_prints_as_a_dash(value):
    assert tables.format_score(metric(0.5), value) == "–"


def test_markdown_has_one_cell_per_column_and_escapes_bars():
    scores = {"metrics": {"a": metric(0.5, label="a|b", mean_image=0.25), "b": metric(0.9, chance=0.5)}}
    lines = tables.scores_markdown(scores).splitlines()
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(tables.COMPARED) + 3}
    assert "a\\|b ↑" in lines[2]
    assert "0.250 [0.240 – 0.260]" in lines[2]
    assert "90.0 % [89.0 – 91.0 %]" in lines[3]
    assert lines[3].endswith("| 50.0 % |")
    assert "Diffusion only" in tables.scores_markdown(scores, ABLATIONS)


@pytest.mark.parametrize("written", [tables.scores_markdown, tables.brief_scores_markdown])
def test_names_of_metrics_and_conditions_are_no_markup(written):
    named = "my_net <b> *x* [a](b) c|d"
    scores = {"metrics": {"own": metric(0.5, label=named)}}
    text = written(scores, {"reconstruction": named})
    assert "<b>" not in text
    stream = io.StringIO()
    Console(file=stream, width=200).print(Markdown(text))
    assert stream.getvalue().count(named) == 2


def test_the_brief_table_names_the_best_baseline_and_is_whole_in_80_columns():
    scores = {
        "metrics": {
            "near": {**metric(0.9, chance=0.5, label="EffNet-Lite0 middle", nearest_training_picture=0.95, mean_image=0.5),
                     "ceiling": 0.99, "ceiling_ci95": [0.98, 1.0]},
            "far": metric(0.4, better=False, label="SwAV", category_only=0.6, random_train_image=0.75),
            "alone": metric(0.4),
        }
    }  # fmt: skip
    text = tables.brief_scores_markdown(scores)
    assert [line.split(" | ")[-1].removesuffix(" |") for line in text.splitlines()[2:]] == [
        "95.0 % nearest training picture",
        "0.600 true category alone",
        "–",
    ]
    assert "| 99.0 % |" in text
    stream = io.StringIO()
    Console(file=stream, width=80).print(Markdown(text))
    assert "…" not in stream.getvalue()
    for heading in ("Reconstruction", "Ceiling", "Best baseline"):
        assert heading in stream.getvalue()
    everything = {**metric(0.5, **dict.fromkeys(tables.BASELINES, 0.4)), "ceiling": 0.9}
    assert tables.brief_scores_markdown({"metrics": {"all": everything}}).splitlines()[0].count("|") == 5


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
    ("whole", "ablation", "verdict"),
    [
        ((0.5, 0.5), (0.3, 0.3), "earns its place; the whole method is better on A and B, worse on none"),
        ((0.3, 0.3), (0.5, 0.5), "does not earn its place; the whole method is better on no metric, worse on A and B"),
        ((0.5, 0.3), (0.3, 0.5), "is a trade-off; the whole method is better on A, worse on B"),
        (
            (0.5, 0.5),
            (0.5, 0.495),
            "is not shown to earn its place; the whole method is better on no metric, worse on none, undecided on A and B",
        ),
        ((0.5, 0.5), (0.3, 0.495), "earns its place; the whole method is better on A, worse on none, undecided on B"),
        (
            (0.3, 0.5),
            (0.5, 0.495),
            "does not earn its place; the whole method is better on no metric, worse on A, undecided on B",
        ),
    ],
)
@pytest.mark.parametrize("better", [True, False])
def test_ablation_sentence_follows_the_numbers(whole, ablation, verdict, better):
    sign = 1 if better else -1
    pairs = zip("AB", whole, ablation, strict=True)
    scores = {"metrics": {label: metric(sign * x, a=sign * y, better=better, label=label) for label, x, y in pairs}}
    assert tables.ablation_sentences(scores, {"a": "No a"}) == [f"No a: what it leaves out {verdict}."]


def test_ablations_on_some_pictures_are_judged_against_the_whole_method_on_these():
    entry = metric(0.9, low_level_only=0.5)
    of_some = {**entry, "ablated": {"n_images": 7, "value": 0.5, "ci95": [0.4, 0.6]}}
    ablations = {"low_level_only": "Low level only"}
    (better,) = tables.ablation_sentences({"metrics": {"m": entry}}, ablations)
    (undecided,) = tables.ablation_sentences({"metrics": {"m": of_some}}, ablations)
    assert "earns its place" in better
    assert "is not shown to earn its place" in undecided
    assert tables.of_ablated({"metrics": {"m": entry}}) == {"metrics": {"m": entry}}
    found = tables.of_ablated({"n_images": 20, "metrics": {"m": of_some}})
    assert (found["n_images"], found["metrics"]["m"]["value"]) == (7, 0.5)


def test_each_ablation_is_judged_apart_in_the_order_given():
    scores = {"metrics": {"m": metric(0.5, low_level_only=0.1, without_low_level=0.5, third=0.9)}}
    said = tables.ablation_sentences(scores, {"third": "Third", **ABLATIONS})
    assert [line.partition("; ")[0] for line in said] == [
        "Third: what it leaves out does not earn its place",
        "Low level only: what it leaves out earns its place",
        "Diffusion only: what it leaves out is not shown to earn its place",
    ]
    assert tables.ablation_sentences(scores, {}) == []


@pytest.mark.parametrize("others", [{}, {"low_level_only": 0.1}])
def test_ablation_without_scores_or_intervals_is_not_judged(others):
    entry = {**metric(0.5, **others), "ablations_ci95": {}}
    for line in tables.ablation_sentences({"metrics": {"m": entry}}, ABLATIONS):
        assert line.endswith("only: not tested: no metric has intervals for both.")


def test_baseline_sentence_needs_all_baselines_beaten():
    worse = dict.fromkeys(tables.BASELINES, 0.1)
    metrics = {"a": metric(0.5, label="A", **worse), "b": metric(0.5, label="B", **{**worse, "mean_image": 0.49})}
    assert "on 1 of 2 metrics" in tables.baseline_sentence({"metrics": metrics})
    assert "do not overlap; not on B." in tables.baseline_sentence({"metrics": metrics})
    assert "on 1 of 1 metrics, each time" in tables.baseline_sentence({"metrics": {"a": metrics["a"]}})


@pytest.mark.parametrize(
    ("names", "them"),
    [
        (["mean_image"], "its baseline"),
        (["mean_image", "random_train_image"], "both baselines"),
        (list(tables.BASELINES), "all five baselines"),
    ],
)
def test_baseline_sentence_counts_the_baselines_that_there_are(names, them):
    entry = metric(0.5, **dict.fromkeys(names, 0.1))
    assert f"is better than {them} on 1 of 1 metrics" in tables.baseline_sentence({"metrics": {"m": entry}})


def test_baseline_sentence_claims_nothing_without_baselines_or_intervals():
    assert (
        tables.baseline_sentence({"metrics": {"m": metric(0.5)}}) == "The reconstruction was compared with no baseline."
    )
    entry = {**metric(0.5, mean_image=0.1), "ci95": None}
    assert "not on" not in tables.baseline_sentence({"metrics": {"m": entry}})
    assert "on 0 of 1 metrics" in tables.baseline_sentence({"metrics": {"m": entry}})


def test_baseline_sentence_knows_that_less_is_better_for_a_distance():
    scores = {
        "metrics": {"m": metric(0.1, better=False, mean_image=0.5), "n": metric(0.5, better=False, mean_image=0.1)}
    }
    assert "on 1 of 2 metrics" in tables.baseline_sentence(scores)


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
