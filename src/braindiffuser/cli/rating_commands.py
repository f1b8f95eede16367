"""The command of ratings by people: make a page of choices, score its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from braindiffuser.cli.app import ONE_RUN, app
from braindiffuser.cli.endings import stoppable
from braindiffuser.cli.options import expanded
from braindiffuser.cli.screen import fail, print_out, say
from braindiffuser.errors import command_line
from braindiffuser.ratings.rules import CATCH_PASSED


@app.command(
    rich_help_panel=ONE_RUN,
    epilog="Example: **braindiffuser ratings make runs/demo --out page.html** writes a page that raters open in a browser; "
    "**braindiffuser ratings make seen/ ours/ theirs/ --out page.html** compares methods; "
    "**braindiffuser ratings score page.html answers-*.json** scores what they save.",
)
def ratings(
    what: Annotated[Literal["make", "score"], typer.Argument(help="make a page of choices, or score answers to it.")],
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="make: a run (or several of the same test pictures), or what was seen and then the reconstructions of each "
            "method, folders or stacks as `evaluate` takes them. score: the page, then files of answers."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", callback=expanded, help="make: the page to write; its key is written beside it."),
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", min=2, help="make: pictures to ask about, for each comparison.")
    ] = 60,
    catch: Annotated[
        int, typer.Option("--catch", min=0, help="make: trials that show the seen picture itself as one of the two.")
    ] = 8,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="make: of what is drawn, and on which side it stands.")
    ] = 0,
    key: Annotated[
        Path | None, typer.Option("--key", callback=expanded, help="score: key of the page; default: beside it.")
    ] = None,
    catch_passed: Annotated[
        float,
        typer.Option("--catch-passed", min=0, max=1, help="score: share of catch trials that a rater must get right."),
    ] = CATCH_PASSED,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", callback=expanded, help="score: also write the scores to this new JSON file."),
    ] = None,
) -> None:
    """Let people choose which picture is closer to what was seen, and score their choices."""
    places = [expanded(path) for path in paths]
    with stoppable("nothing was written; the same command begins again"):
        if what == "make":
            _make(places, out, trials, catch, seed)
        else:
            _score(places, key, catch_passed, json_file)


def _make(sources: list[Path], out: Path | None, trials: int, catch: int, seed: int) -> None:
    from braindiffuser.ratings.answer_key import key_path
    from braindiffuser.ratings.page import make_ratings

    if out is None:
        fail("name the page to write, as in `braindiffuser ratings make runs/demo --out page.html`")
    say(*make_ratings(sources, out, trials, catch, seed))
    print_out(f"Page: {out}")
    print_out(f"Key, which raters must not get: {key_path(out)}")


def _score(places: list[Path], key: Path | None, catch_passed: float, json_file: Path | None) -> None:
    from rich.markdown import Markdown

    from braindiffuser.plain_data import write_json
    from braindiffuser.ratings.answers import ratings_markdown, score_ratings

    page, *files = places
    if not files:
        fail(f"name files of answers too, as in {command_line('ratings', 'score', page, 'answers.json')}")
    if json_file is not None and json_file.exists():
        fail(f"--json {json_file} is there already: name another file")
    scores = score_ratings(page, files, key, catch_passed)
    print_out(Markdown(ratings_markdown(scores)))
    say(*scores["remarks"])
    if json_file is not None:
        write_json(json_file, scores)
