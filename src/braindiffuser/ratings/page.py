"""The page that raters open: one file with pictures, script and style in it, which asks nothing of any network.

Its key, which tells the right side of each choice, is a file of its own: the page holds pictures in random order and nothing
of what they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.files import replacing
from braindiffuser.picture_files import RawPicture
from braindiffuser.plain_data import hash_json
from braindiffuser.ratings.answer_key import key_path, write_key
from braindiffuser.ratings.choices import Choice, Shown, plan_choices
from braindiffuser.ratings.pictures import rated_pictures

ANSWERS_FORMAT = "braindiffuser-ratings-1"
LARGEST_SIDE = 256
"""Larger pictures are shrunk to this many pixels."""


def make_ratings(
    sources: Sequence[str | Path], page: Path, n_trials: int = 60, n_catch: int = 8, seed: int = 0
) -> tuple[str, ...]:
    """Write a page of choices, and its key beside it.

    Args:
        sources: as `rated_pictures` takes them.
        page: where it is written; its key is written beside it, see `key_path`.
        n_trials: pictures to ask about, for each comparison.
        n_catch: catch trials, by which raters are excluded who do not look.
        seed: of what is drawn, and on which side it stands.

    Returns:
        Sentences on what is taken for what, on what is left out, and on how many trials there are.

    Raises:
        RunError: if the page or its key is there already; what `rated_pictures` and `plan_choices` raise.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise RunError(f"{page} would be no page: name a file that ends in .html")
    if page.exists():
        raise RunError(f"{page} is there already, and answers may have been given to it: name another file")
    if key_path(page).exists():
        raise RunError(
            f"{key_path(page)} is there already, though its page is not: name another file, or delete it if nobody has "
            "that page"
        )
    found = rated_pictures(sources)
    methods = list(found.made)
    rng = np.random.default_rng(seed)
    planned = plan_choices(list(found.names), methods, n_trials, n_catch, rng)
    asked = dict.fromkeys(shown for choice in planned for shown in _shown_in(choice))
    uris = {shown: _data_uri(found.picture(shown.method, shown.name)) for shown in asked}
    choices, alike = _told_apart(planned, uris)
    shown = list(dict.fromkeys(each for choice in choices for each in _shown_in(choice)))
    order = [shown[number] for number in rng.permutation(len(shown))]
    pictures = {each: uris[each] for each in order}
    trials = [_trial(number, choice, order) for number, choice in enumerate(choices)]
    kit = hash_json([trials, [hashlib.sha256(uri.encode()).hexdigest() for uri in pictures.values()]])[:16]
    text = _render(kit, list(pictures.values()), trials)
    key = {
        "kit": kit,
        "page_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "seen": found.seen.label,
        "methods": methods,
        "trials": {trial["id"]: _answer(choice) for trial, choice in zip(trials, choices, strict=True)},
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_key(key_path(page), key)  # first: a page without its key could not be scored
        with replacing(page) as beside:
            beside.write_bytes(text.encode("utf-8"))
    except BaseException:
        if not page.exists():
            key_path(page).unlink(missing_ok=True)
        raise
    return (*found.remarks, *alike, _counts_sentence(choices, n_trials, len(found.names)))


def _counts_sentence(choices: Sequence[Choice], n_trials: int, n_pictures: int) -> str:
    """Say how many trials a page has, and that there were no pictures for more where more were asked for."""
    n_catch = sum(choice.kind == "catch" for choice in choices)
    catch = "1 catch trial" if n_catch == 1 else f"{n_catch} catch trials"
    few = f"; {n_pictures} pictures are all there are, of {n_trials} asked for" if n_pictures < n_trials else ""
    return f"the page has {len(choices) - n_catch} choices and {catch}{few}"


def _shown_in(choice: Choice) -> tuple[Shown, Shown, Shown]:
    return Shown("", choice.seen), choice.right, choice.wrong


def _told_apart(choices: Sequence[Choice], uris: Mapping[Shown, str]) -> tuple[list[Choice], list[str]]:
    """Leave out choices between two equal pictures, which nobody can make.

    Returns:
        The others, and a sentence for each comparison that lacks some.

    Raises:
        RunError: if fewer than two are left of a comparison.
    """
    kept = [choice for choice in choices if uris[choice.right] != uris[choice.wrong]]
    said = []
    first: dict[tuple[str, str], Choice] = {}
    for choice in choices:
        first.setdefault((choice.kind, choice.comparison), choice)
    for (kind, comparison), choice in first.items():
        n, n_kept = (
            sum((each.kind, each.comparison) == (kind, comparison) for each in some) for some in (choices, kept)
        )
        pictures = {
            "method": f"pictures of {choice.right.method} and {comparison}",
            "other_picture": "reconstructions of two pictures",
            "catch": "a reconstruction and the picture that was seen",
        }[kind]
        if kind != "catch" and n_kept < 2:
            raise RunError(
                f"{n - n_kept} of {n} choices are between equal pictures ({pictures}): give pictures that differ"
            )
        if n_kept < n:
            are = "is" if n - n_kept == 1 else "are"
            said.append(f"{n - n_kept} of {n} choices would be between equal pictures ({pictures}), and {are} left out")
    return kept, said


def _trial(number: int, choice: Choice, order: Sequence[Shown]) -> dict[str, Any]:
    """Return what the page holds of a choice: numbers of pictures, nothing of what they are."""
    right, wrong = order.index(choice.right), order.index(choice.wrong)
    left, on_right = (right, wrong) if choice.right_side == "left" else (wrong, right)
    return {"id": f"t{number + 1:03d}", "seen": order.index(Shown("", choice.seen)), "left": left, "right": on_right}


def _answer(choice: Choice) -> dict[str, str]:
    return {
        "right_side": choice.right_side,
        "kind": choice.kind,
        "comparison": choice.comparison,
        "seen": choice.seen,
        "right": f"{choice.right.method or 'seen'}/{choice.right.name}",
        "wrong": f"{choice.wrong.method}/{choice.wrong.name}",
    }


def _data_uri(raw: RawPicture) -> str:
    """Write a picture as PNG inside a data URI, shrunk if it is large."""
    import base64
    import io

    image = Image.fromarray(raw)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _render(kit: str, pictures: Sequence[str], trials: Sequence[Mapping[str, Any]]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("braindiffuser.ratings", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = {"format": ANSWERS_FORMAT, "kit": kit, "pictures": list(pictures), "trials": list(trials)}
    text: str = environment.get_template("ratings.html.jinja").render(
        content=json.dumps(content).replace("<", "\\u003c")
    )
    return text
