"""Scores as tables and as sentences: every number that the page, the README and the command line print comes from here.

`scores` is the content of a run's `scores.json`; `entry` is one metric of it, `scores["metrics"][key]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from braindiffuser.errors import RunError
from braindiffuser.report.markdown_text import markdown_text
from braindiffuser.report.numbers import join, number, percent

if TYPE_CHECKING:
    import pandas as pd

BASELINES: Mapping[str, str] = {
    "mean_image": "Mean training picture",
    "random_train_image": "Random training picture",
    "shuffled_responses": "Shuffled responses",
    "nearest_training_picture": "Nearest training picture",
    "category_only": "True category alone",
}
COMPARED: Mapping[str, str] = {"reconstruction": "Reconstruction", "ceiling": "Ceiling (true features)", **BASELINES}
"""Conditions of the main table and figure, and how they are printed."""
FOLDERS: Mapping[str, str] = {"reconstruction": "Pictures", "shuffled_pictures": "The same, shuffled"}
"""Conditions where two folders of pictures are compared: how the pictures were made is not known."""

RANKING_METRIC = "efficientnet_lite0_last"
"""The stated score by which the gallery is ordered."""
TIE_METRIC = "pixcorr"

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

Family = Literal["Pixel metrics", "Two-way identification", "Identification among many", "Distances"]
FAMILIES: tuple[Family, ...] = ("Pixel metrics", "Two-way identification", "Identification among many", "Distances")
IDENTIFICATION: tuple[Family, ...] = ("Two-way identification", "Identification among many")
"""Families of shares, which are printed in percent."""
Comparison = Literal["better", "worse", "overlap"]


class Estimate(NamedTuple):
    """A metric's value with its 95 % interval; both bounds are None where no interval was stored."""

    value: float
    low: float | None
    high: float | None


def estimate(entry: Mapping[str, Any], condition: str) -> Estimate | None:
    """Return one condition of a metric (of `COMPARED` or `FOLDERS`, or an ablation), or None if that was not computed."""
    if condition == "reconstruction":
        value, interval = entry.get("value"), entry.get("ci95")
    elif condition == "ceiling":
        value, interval = entry.get("ceiling"), entry.get("ceiling_ci95")
    else:
        group = "baselines" if condition in (entry.get("baselines") or {}) else "ablations"
        value = (entry.get(group) or {}).get(condition)
        interval = (entry.get(f"{group}_ci95") or {}).get(condition)
    if value is None:
        return None
    low, high = (float(bound) for bound in interval) if interval else (None, None)
    return Estimate(float(value), low, high)


def metric_family(entry: Mapping[str, Any]) -> Family:
    """Return the metric's family, which decides its axis: identification has a chance level, a distance is better when lower."""
    if (chance := entry.get("chance")) is not None:
        return "Two-way identification" if chance == 0.5 else "Identification among many"
    return "Pixel metrics" if entry["higher_is_better"] else "Distances"


def metric_label(entry: Mapping[str, Any]) -> str:
    """Return the printed name with the arrow that points to better: "PixCorr ↑"."""
    return f"{entry['label']} {'↑' if entry['higher_is_better'] else '↓'}"


def format_score(entry: Mapping[str, Any], value: float | None) -> str:
    """Print identification as a percentage with one decimal, everything else with three decimals.

    Example:
        >>> format_score({"chance": 0.5, "higher_is_better": True}, 0.915)
        '91.5 %'
        >>> format_score({"higher_is_better": True}, 0.2541)
        '0.254'
    """
    return percent(value, 1) if metric_family(entry) in IDENTIFICATION else number(value)


def format_interval(entry: Mapping[str, Any], found: Estimate | None) -> str:
    """Print the 95 % interval, "90.1 – 92.8 %"; empty where there is none."""
    if found is None or found.low is None or found.high is None:
        return ""
    low, high = format_score(entry, found.low), format_score(entry, found.high)
    return f"{low.removesuffix(' %')} – {high}"


def scores_markdown(scores: Mapping[str, Any], conditions: Mapping[str, str] = COMPARED) -> str:
    """Return the scores as a Markdown table, rounded, with intervals in brackets.

    Args:
        scores: content of `scores.json`.
        conditions: columns and how they are printed.
    """
    header = ["Metric", *map(markdown_text, conditions.values()), "Chance"]
    lines = [header, ["---", *("---:" for _ in header[1:])]]
    for entry in _metrics(scores).values():
        cells = [_markdown_cell(entry, estimate(entry, condition)) for condition in conditions]
        lines.append([markdown_text(metric_label(entry)), *cells, format_score(entry, entry.get("chance"))])
    return _markdown_lines(lines)


def brief_scores_markdown(scores: Mapping[str, Any], conditions: Mapping[str, str] = COMPARED) -> str:
    """Return the scores as a Markdown table for a terminal of 80 columns: of all baselines only the best, with its name.

    Neither it nor the ceiling has an interval there; `baseline_sentence` says what the intervals show.

    Args:
        scores: content of `scores.json`.
        conditions: as in `scores_markdown`; those that were not computed have no column.
    """
    entries = _metrics(scores).values()
    columns = {
        name: label
        for name, label in conditions.items()
        if name not in BASELINES and any(estimate(entry, name) for entry in entries)
    }
    header = ["Metric", *map(markdown_text, columns.values()), "Best baseline"]
    lines = [header, ["---", *("---:" for _ in columns), "---"]]
    for entry in entries:
        found = best_baseline(entry)
        named = f"{format_score(entry, found[1].value)} {BASELINES[found[0]].lower()}" if found else number(None)
        estimates = {name: estimate(entry, name) for name in columns}
        cells = [
            _markdown_cell(entry, own._replace(low=None, high=None) if own and name == "ceiling" else own)
            for name, own in estimates.items()
        ]
        lines.append([markdown_text(metric_label(entry)), *cells, named])
    return _markdown_lines(lines)


def best_baseline(entry: Mapping[str, Any]) -> tuple[str, Estimate] | None:
    """Return the baseline that does best on a metric, and its score; of equal ones the first; None if there is none."""
    found = [(name, own) for name in BASELINES if (own := estimate(entry, name)) is not None]
    best = max if entry["higher_is_better"] else min
    return best(found, key=lambda each: each[1].value, default=None)


def _markdown_lines(lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def compare(entry: Mapping[str, Any], condition: str, other: str) -> Comparison | None:
    """Return "better" or "worse" (than `other`) by separate intervals, else "overlap".

    Returns None where one of the two, or its interval, was not computed. Separate intervals are a stricter demand than
    an interval of the paired difference would be, so "overlap" does not mean "equal".
    """
    a, b = estimate(entry, condition), estimate(entry, other)
    if a is None or b is None or a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    if a.low <= b.high and b.low <= a.high:
        return "overlap"
    return "better" if (a.low > b.high) == entry["higher_is_better"] else "worse"


def baseline_sentence(scores: Mapping[str, Any]) -> str:
    """Return a sentence: on how many metrics the reconstruction beats all baselines, counting separate intervals only."""
    metrics = _metrics(scores)
    names = [name for name in BASELINES if any(name in (entry.get("baselines") or {}) for entry in metrics.values())]
    if not names:
        return "The reconstruction was compared with no baseline."
    results = {key: [compare(entry, "reconstruction", name) for name in names] for key, entry in metrics.items()}
    won = [key for key, found in results.items() if all(result == "better" for result in found)]
    them = {1: "its baseline", 2: "both baselines"}.get(len(names), f"all {NUMBERS[len(names)]} baselines")
    sentence = f"The reconstruction is better than {them} on {len(won)} of {len(metrics)} metrics"
    if len(won) == len(metrics):
        return f"{sentence}, each time with 95 % intervals that do not overlap."
    rest = join([entry["label"] for key, entry in metrics.items() if key not in won]) if won else ""
    not_on = f"; not on {rest}" if rest else ""
    return (
        f"{sentence} with 95 % intervals that do not overlap{not_on}. To be better picture by picture, as the verdict tests it, "
        "takes less."
    )


def of_ablated(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return scores to compare with the ablations: of the pictures that these were drawn for, scored among themselves.

    Where ablations were drawn for all pictures these are the scores themselves.

    Args:
        scores: content of `scores.json`.
    """
    metrics = _metrics(scores)
    if not all("ablated" in entry for entry in metrics.values()):
        return scores
    changed = {
        key: {**entry, "value": entry["ablated"]["value"], "ci95": entry["ablated"]["ci95"]}
        for key, entry in metrics.items()
    }
    n_images = next(iter(metrics.values()))["ablated"]["n_images"]
    return {**scores, "n_images": n_images, "metrics": changed}


def ablation_sentences(scores: Mapping[str, Any], ablations: Mapping[str, str]) -> list[str]:
    """Return a sentence for each ablation: whether what it leaves out earns its place, from the numbers alone.

    What is left out earns its place if the whole method beats the ablation on some metric and loses on none, counting only
    metrics whose 95 % intervals do not overlap.

    Args:
        scores: content of `scores.json`.
        ablations: name of each ablation → label.
    """
    compared = _metrics(of_ablated(scores))
    return [f"{label}: {_verdict(compared, name)}." for name, label in ablations.items()]


def gallery_metrics(scores: Mapping[str, Any], per_image: pd.DataFrame) -> tuple[str, str]:
    """Return the keys of the score that orders the gallery and of the score that breaks its ties.

    They are `RANKING_METRIC` and `TIE_METRIC`; a profile that lacks one uses its last, or its first, metric instead.

    Raises:
        RunError: if no metric has a score for every picture.
    """
    scored = [key for key in _metrics(scores) if key in per_image.columns]
    if not scored:
        raise RunError(
            f"no metric of scores.json is a column of per_image.csv: {list(per_image.columns)}; run evaluate again"
        )
    ranking = RANKING_METRIC if RANKING_METRIC in scored else scored[-1]
    return ranking, TIE_METRIC if TIE_METRIC in scored else scored[0]


def rank_images(scores: Mapping[str, Any], per_image: pd.DataFrame) -> pd.DataFrame:
    """Return `per_image` from the best picture to the worst, by `gallery_metrics`, then by test number."""
    keys = gallery_metrics(scores, per_image)
    ascending = [not scores["metrics"][key]["higher_is_better"] for key in keys]
    return per_image.sort_values([*keys, "number"], ascending=[*ascending, True], ignore_index=True)


def gallery_rows(ranked: pd.DataFrame, n_each: int = 4) -> dict[str, pd.DataFrame]:
    """Cut the best, the median and the worst rows out of a ranking; no picture appears twice.

    Args:
        ranked: pictures from best to worst, from `rank_images`.
        n_each: rows of each kind, at most a third of the pictures.

    Returns:
        "best", "median" and "worst"; each row's index is its place in the ranking, from 0.
    """
    n_each = min(n_each, len(ranked) // 3)
    middle = (len(ranked) - n_each) // 2
    starts = {"best": 0, "median": middle, "worst": len(ranked) - n_each}
    return {name: ranked.iloc[start : start + n_each] for name, start in starts.items()}


def _metrics(scores: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    metrics = scores.get("metrics")
    if not metrics:
        raise RunError("scores hold no metrics; run evaluate first")
    checked: Mapping[str, Mapping[str, Any]] = metrics
    return checked


def _markdown_cell(entry: Mapping[str, Any], found: Estimate | None) -> str:
    interval = format_interval(entry, found)
    value = format_score(entry, found.value if found else None)
    return f"{value} [{interval}]" if interval else value


def _verdict(metrics: Mapping[str, Mapping[str, Any]], ablation: str) -> str:
    results = {entry["label"]: compare(entry, "reconstruction", ablation) for entry in metrics.values()}
    better, worse, overlap = (
        join([label for label, result in results.items() if result == wanted])
        for wanted in ("better", "worse", "overlap")
    )
    if not (better or worse or overlap):
        return "not tested: no metric has intervals for both"
    verdict = {
        (True, False): "what it leaves out earns its place",
        (True, True): "what it leaves out is a trade-off",
        (False, True): "what it leaves out does not earn its place",
        (False, False): "what it leaves out is not shown to earn its place",
    }[bool(better), bool(worse)]
    parts = [f"the whole method is better on {better or 'no metric'}", f"worse on {worse or 'none'}"]
    parts += [f"undecided on {overlap}"] if overlap else []
    return f"{verdict}; {', '.join(parts)}"
