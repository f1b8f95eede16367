"""Answers of raters → proportions of right choices, without raters who did not look."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from braindiffuser.errors import RunError, reason
from braindiffuser.metrics.rater_interval import rated_proportion
from braindiffuser.plain_data import read_json
from braindiffuser.ratings.choices import CATCH
from braindiffuser.ratings.page import ANSWERS_FORMAT, KEY_FORMAT, key_path
from braindiffuser.ratings.rules import CATCH_PASSED

COLUMNS = ("kit", "rater", "trial", "choice", "milliseconds")
"""Of a CSV file of answers."""


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
        files: of answers, JSON or CSV, as the page saves them.
        key: of the page; None: beside it.
        catch_passed: share of catch trials that must be right, 0 to 1.

    Returns:
        `kit`; `comparisons`: what was compared → `value`, `ci95`, `n_choices`, `n_raters`, `n_pictures`, as `rated_proportion`
        gives them; `raters`: name → `n_answers`, `catch_right`, `n_catch`, `right` (share of other trials), `excluded` (bool);
        `excluded`: names; `catch_passed`; `n_trials`; `remarks`, sentences.

    Raises:
        RunError: if the key is not of the page, a file is damaged or of another page, a rater or a trial comes twice, or no rater
            is left.
    """
    answer_key = _read_key(page, key or key_path(page))
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
    for name in dict.fromkeys(trial["comparison"] for trial in trials.values()):
        rows = [
            (float(side == trials[trial]["right_side"]), answers.rater, trials[trial]["seen"])
            for answers in kept
            for trial, side in answers.choices.items()
            if trials[trial]["comparison"] == name
        ]
        if name != CATCH and len({row[2] for row in rows}) > 1:
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
    lines = [["Chosen over", "Right choices", "95 %", "Choices", "Raters", "Pictures"], ["---", *["---:"] * 5]]
    for name, found in scores["comparisons"].items():
        low, high = found["ci95"]
        counts = (str(found[entry]) for entry in ("n_choices", "n_raters", "n_pictures"))
        lines.append([name, f"{found['value']:.1%}", f"{low:.1%} – {high:.1%}", *counts])
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _read_key(page: Path, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunError(f"there is no key {path}, which was written with the page: name it with --key")
    try:
        key = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(reason(error)) from error
    if key.get("format") != KEY_FORMAT or not isinstance(key.get("trials"), dict):
        raise RunError(f"{path} is no key of a page of ratings: name the .key.json that was written with the page")
    try:
        found = hashlib.sha256(page.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{page} cannot be read: {reason(error)}") from error
    if found != key.get("page_sha256"):
        raise RunError(
            f"{path} is not the key of {page}, or the page was changed since: name the page as it was written"
        )
    return key


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
        rater, kit = str(content["rater"]), str(content["kit"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunError(f"{path} holds no answers as the page saves them ({reason(error)}): save them again") from error
    return Answers(rater, kit, _each_once(path, rows), path)


def _from_csv(path: Path, text: str) -> list[Answers]:
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not all(set(COLUMNS) <= row.keys() and None not in row.values() for row in rows):
        raise RunError(f"{path} holds no answers as the page saves them: expected the columns {', '.join(COLUMNS)}")
    found = []
    for rater, kit in dict.fromkeys((row["rater"], row["kit"]) for row in rows):
        own = [(row["trial"], row["choice"]) for row in rows if (row["rater"], row["kit"]) == (rater, kit)]
        found.append(Answers(rater, kit, _each_once(path, own), path))
    return found


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
        if answers.rater in seen:
            raise RunError(
                f"{seen[answers.rater]} and {answers.source} are both of the rater {answers.rater}: give one file of each, or "
                "rename one"
            )
        seen[answers.rater] = answers.source
        for trial, side in answers.choices.items():
            if trial not in trials or side not in ("left", "right"):
                raise RunError(
                    f"{answers.source} answers {trial} with {side!r}: expected left or right of a trial of the page"
                )


def _rater_facts(answers: Answers, trials: Mapping[str, Mapping[str, str]], catch_passed: float) -> dict[str, Any]:
    right = {trial: side == trials[trial]["right_side"] for trial, side in answers.choices.items()}
    caught = [is_right for trial, is_right in right.items() if trials[trial]["comparison"] == CATCH]
    others = [is_right for trial, is_right in right.items() if trials[trial]["comparison"] != CATCH]
    asked = any(trial["comparison"] == CATCH for trial in trials.values())
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
        f"{name} is excluded: {facts['catch_right']} of {facts['n_catch']} catch trials right"
        for name, facts in raters.items()
        if facts["excluded"]
    ]
    said += [
        f"{name} answered {facts['n_answers']} of {n_trials} trials; those count"
        for name, facts in raters.items()
        if facts["n_answers"] < n_trials and not facts["excluded"]
    ]
    if n_kept == 1:
        said.append("one rater is left, so the interval is over pictures alone and says nothing of other people")
    return said
