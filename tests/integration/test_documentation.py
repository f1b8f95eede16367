"""Laws of the documentation as a site: it is built without a warning, and every public name and entry is in it."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import braindiffuser
from braindiffuser.experiment import Experiment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it, from a copy: pages of the reference are written beside the others."""
    place = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "docs", place / "docs", ignore=shutil.ignore_patterns("generated", "examples", "sg_*"))
    for name in ("CHANGELOG.md", "examples", "src"):
        (place / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html", "docs", "site"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return place / "site"


def test_every_page_is_reached_from_the_first(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    pages = {page for page in pages if page.parts[0] != "examples"}  # written by the examples themselves
    first = (site / "index.html").read_text(encoding="utf-8")
    for page in pages - {Path("index.html")}:
        above = site / page.parent / "index.html"  # of decisions and of the reference
        links = first if page.parent == Path() or not above.is_file() else first + above.read_text(encoding="utf-8")
        assert (site / page).is_file()
        assert f'"{page}"' in links or f'"{page.name}"' in links, page


def test_every_public_name_has_its_place(site):
    page = (site / "reference/generated/braindiffuser.html").read_text(encoding="utf-8")
    for name in braindiffuser.__all__:
        assert name.startswith("__") or f".{name}" in page, name


def test_every_entry_has_its_line(site):
    page = (site / "reference/generated/entries.html").read_text(encoding="utf-8")
    text = html.unescape(re.sub("<[^>]+>", "", page))
    for part in (Experiment.load("demo"), *Experiment.load("brain-diffuser").parts.values()):
        for name, field in type(part).model_fields.items():
            assert f">{name}<" in page, name
            assert (field.description or "").replace("`", "") in text


def test_entries_say_their_values_in_plain_words(site):
    page = (site / "reference/generated/entries.html").read_text(encoding="utf-8")
    text = html.unescape(re.sub("<[^>]+>", "", page))
    assert "whole number, at least 0, below 2⁶³" in text
    assert "ridge, or module:Class of yours" in text
    assert "3 of: whole number" in text  # the grid of a simulated recording
    assert "anything</p></td>" not in page
    assert not re.search(r"[0-9]e\+[0-9]", text)


def test_examples_stand_in_the_order_in_which_they_are_needed(site):
    page = (site / "examples/index.html").read_text(encoding="utf-8")
    order = list(dict.fromkeys(re.findall(r'href="plot_(\w+)\.html"', page)))
    assert order[:4] == ["decode_arrays", "score_two_methods", "numbers_of_a_run", "regions"]
    assert len(order) == len(list((ROOT / "examples/gallery").glob("plot_*.py")))


def test_code_has_the_style_sheet_that_folds_its_lines(site):
    page = (site / "commands.html").read_text(encoding="utf-8")
    assert "_static/site.css" in page
    assert "white-space: pre-wrap" in (site / "_static/site.css").read_text(encoding="utf-8")


def test_nothing_comes_from_the_network(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text


@pytest.mark.parametrize("script", sorted((ROOT / "examples/gallery").glob("plot_*.py")), ids=lambda path: path.stem)
def test_every_example_ran_and_shows_a_figure(site, script):
    page = (site / "examples" / f"{script.stem}.html").read_text(encoding="utf-8")
    assert f"sphx_glr_{script.stem}_001" in page
    assert "Total running time" in page
    assert "[Text(" not in html.unescape(page)
