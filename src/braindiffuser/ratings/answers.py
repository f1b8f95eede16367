"""Answers of raters → proportions of right choices, without raters who did not look."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from braindiffuser.errors import RunError, reason
from braindiffuser.metrics.rater_interval import rated_proportion
from braindiffuser.ratings.answer_key import key_path, read_key
from braindiffuser.ratings.page import ANSWERS_FORMAT
from braindiffuser.ratings.rules import CATCH_PASSED
from braindiffuser.report.markdown_text import markdown_text

COLUMNS = ("kit", "rater", "trial", "choice", "milliseconds")
"""Of a CSV file of answers."""

NAMELESS = "the rater without a name"


class Answers(NamedTuple):
    """What one rater chose.

    Attributes:
        rater: their name.
        kit: page that was answered.
        choices: trial → "left" or "right".
        source: file, for messages.
    """

    rater: str
    kit: str
    choices: Mapping[str, str]
    source: Path


def score_ratings(
    page: Path, files: Sequence[Path], key: Path | None = None, catch_passed: float = CATCH_PASSED
) -> dict[str, Any]:
    """Score answers to a page.

    A rater is excluded who gets fewer catch trials right than `catch_passed`, or answers none: those trials show the picture that
    was seen as one of the two, so a rater who looks gets them right. Nothing else excludes a rater.

    Args:
        page: that was answered.
        files: of answers, JSON or CSV, as the page saves them. Names of raters that differ in blanks around them or in the case
            of letters are one rater's.
        key: of the page; None: beside it.
        catch_passed: share of catch trials that must be right, 0 to 1.

    Returns:
        `kit`; `method`, whose reconstructions are judged; `kind` of the comparisons, with its other reconstructions
        ("other_picture") or with other methods ("method"); `comparisons`: what was compared → `value`, `ci95`, `n_choices`,
        `n_raters`, `n_pictures`, as `rated_proportion` gives them; `raters`: name → `n_answers`, `catch_right`, `n_catch`,
        `right` (share of other trials), `excluded` (bool); `excluded`: names; `catch_passed`; `n_trials`; `remarks`, sentences.

    Raises:
        RunError: if the key is not of the page, a file is damaged or of another page, a rater or a trial comes twice, or no rater
            is left.
    """
    answer_key = read_key(page, key or key_path(page))
    trials: Mapping[str, Mapping[str, str]] = answer_key["trials"]
    given = [answers for path in files for answers in _read_answers(path)]
    _check_answers(given, str(answer_key["kit"]), trials)
    raters = {answers.rater: _rater_facts(answers, trials, catch_passed) for answers in given}
    excluded = [name for name, facts in raters.items() if facts["excluded"]]
    kept = [answers for answers in given if answers.rater not in excluded]
    if not kept:
        raise RunError(
            f"none of {len(given)} raters got {catch_passed:.0%} of the catch trials right, so no answers are left: see that "
            "they understood the question"
        )
    comparisons = {}
    asked = {trial: facts for trial, facts in trials.items() if facts["kind"] != "catch"}
    for name in dict.fromkeys(facts["comparison"] for facts in asked.values()):
        rows = [
            (float(side == trials[trial]["right_side"]), answers.rater, trials[trial]["seen"])
            for answers in kept
            for trial, side in answers.choices.items()
            if trial in asked and asked[trial]["comparison"] == name
        ]
        if len({row[2] for row in rows}) > 1:
            right, who, what = (np.array(column) for column in zip(*rows, strict=True))
            found = rated_proportion(right, who, what)
            comparisons[name] = {
                "value": found.value,
                "ci95": [found.low, found.high],
                "n_choices": found.n_choices,
                "n_raters": found.n_raters,
                "n_pictures": found.n_pictures,
            }
    if not comparisons:
        raise RunError(
            "no comparison has answers for two pictures or more, so there is no interval: collect more answers"
        )
    return {
        "kit": answer_key["kit"],
        "method": answer_key["methods"][0],
        "kind": next(iter(asked.values()))["kind"],
        "comparisons": comparisons,
        "raters": raters,
        "excluded": excluded,
        "catch_passed": catch_passed,
        "n_trials": len(trials),
        "remarks": _remarks(raters, len(kept), len(trials)),
    }


def ratings_markdown(scores: Mapping[str, Any]) -> str:
    """Return scores of ratings as a Markdown table.

    Args:
        scores: as `score_ratings` returns them.
    """
    of_methods = scores["kind"] == "method"  # a choice between methods is a preference, and neither is right
    heads = ["Over", f"{scores['method']} chosen"] if of_methods else ["Chosen over", "Right choices"]
    lines = [[*heads, "95 %", "Choices", "Raters", "Pictures"], ["---", *["---:"] * 5]]
    for name, found in scores["comparisons"].items():
        low, high = found["ci95"]
        counts = (str(found[entry]) for entry in ("n_choices", "n_raters", "n_pictures"))
        lines.append([name, f"{found['value']:.1%}", f"{low:.1%} – {high:.1%}", *counts])
    return "".join(f"| {' | '.join(markdown_text(cell) for cell in line)} |\n" for line in lines)


def _read_answers(path: Path) -> list[Answers]:
    """Read a file of answers: JSON of one rater, or CSV of one or several."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read as answers: {reason(error)}") from error
    return _from_csv(path, text) if path.suffix.lower() == ".csv" else [_from_json(path, text)]


def _from_json(path: Path, text: str) -> Answers:
    try:
        content = json.loads(text)
        if content["format"] != ANSWERS_FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        rows = [(str(each["trial"]), str(each["choice"])) for each in content["answers"]]
        rater, kit = _named(str(content["rater"])), str(content["kit"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunError(f"{path} holds no answers as the page saves them ({reason(error)}): save them again") from error
    return Answers(rater, kit, _each_once(path, rows), path)


def _from_csv(path: Path, text: str) -> list[Answers]:
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise RunError(f"{path} holds no answers as the page saves them ({reason(error)}): save them again") from error
    if not rows or not all(set(COLUMNS) <= row.keys() and None not in row.values() for row in rows):
        raise RunError(f"{path} holds no answers as the page saves them: expected the columns {', '.join(COLUMNS)}")
    of_rater: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        of_rater.setdefault((_person(row["rater"]), row["kit"]), []).append(row)
    return [
        Answers(_named(own[0]["rater"]), kit, _each_once(path, [(row["trial"], row["choice"]) for row in own]), path)
        for (_, kit), own in of_rater.items()
    ]


def _named(rater: str) -> str:
    """Return a rater's name without blanks around it, and with single ones in it."""
    return " ".join(rater.split())


def _person(rater: str) -> str:
    """Return what tells raters apart: their name, in letters of either case.

    >>> _person("Rater A ") == _person("rater a"), _person("Rater A") == _person("Rater B")
    (True, False)
    """
    return _named(rater).casefold()


def _each_once(path: Path, rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    names = [trial for trial, _ in rows]
    twice = next((trial for trial in names if names.count(trial) > 1), None)
    if twice is not None:
        raise RunError(f"{path} answers trial {twice} twice: keep one answer of each")
    return dict(rows)


def _check_answers(given: Sequence[Answers], kit: str, trials: Mapping[str, Mapping[str, str]]) -> None:
    seen: dict[str, Path] = {}
    for answers in given:
        if answers.kit != kit:
            raise RunError(f"{answers.source} answers another page (kit {answers.kit}, expected {kit}): leave it out")
        person = _person(answers.rater)
        if person in seen and not person:
            raise RunError(
                f"{seen[person]} and {answers.source} name no rater, so they may be of one: write a name of each into them"
            )
        if person in seen:
            raise RunError(
                f"{seen[person]} and {answers.source} are both of the rater {answers.rater}: give one file of each, or "
                "rename one"
            )
        seen[person] = answers.source
        for trial, side in answers.choices.items():
            if trial not in trials or side not in ("left", "right"):
                raise RunError(
                    f"{answers.source} answers {trial} with {side!r}: expected left or right of a trial of the page"
                )


def _rater_facts(answers: Answers, trials: Mapping[str, Mapping[str, str]], catch_passed: float) -> dict[str, Any]:
    right = {trial: side == trials[trial]["right_side"] for trial, side in answers.choices.items()}
    caught = [is_right for trial, is_right in right.items() if trials[trial]["kind"] == "catch"]
    others = [is_right for trial, is_right in right.items() if trials[trial]["kind"] != "catch"]
    asked = any(trial["kind"] == "catch" for trial in trials.values())
    passed = sum(caught) >= catch_passed * len(caught) - 1e-9 if caught else not asked
    return {
        "n_answers": len(right),
        "catch_right": int(sum(caught)),
        "n_catch": len(caught),
        "right": float(np.mean(others)) if others else None,
        "excluded": not passed,
    }


def _remarks(raters: Mapping[str, Mapping[str, Any]], n_kept: int, n_trials: int) -> list[str]:
    said = [
        f"{name or NAMELESS} is excluded: {facts['catch_right']} of {facts['n_catch']} catch trials right"
        for name, facts in raters.items()
        if facts["excluded"]
    ]
    said += [
        f"{name or NAMELESS} answered {facts['n_answers']} of {n_trials} trials; those count"
        for name, facts in raters.items()
        if facts["n_answers"] < n_trials and not facts["excluded"]
    ]
    if n_kept == 1:
        said.append("one rater is left, so the interval is over pictures alone and says nothing of other people")
    return said
