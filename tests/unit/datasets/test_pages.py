"""Examples on the pages of datasets are experiment files that can be read."""

import re
from pathlib import Path

import pytest
import yaml

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.part import as_part, known_kinds

FOLDER = Path(__file__).parents[3] / "docs" / "datasets"
INDEX = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {INDEX, FOLDER / "fetch.md"})
EXAMPLE = re.compile(r"(?:^    \S.*\n)?^    dataset:.*\n(?:^    .*\n)*", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_a_page_are_short_and_name_its_kind(page):
    examples = EXAMPLE.findall(page.read_text(encoding="utf-8"))
    assert examples
    for example in examples:
        content = yaml.safe_load(example)
        assert len(example.splitlines()) <= 6
        part = as_part(Dataset, content["dataset"])
        assert part.kind == page.stem in known_kinds(Dataset)


def test_the_index_lists_every_kind_once():
    rows = re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\) \| \S.* \|$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    assert [kind for kind, _ in rows] == list(known_kinds(Dataset))
    assert {page.name for page in PAGES} == {target for kind, target in rows if kind != "simulated"}


@pytest.mark.parametrize("page", [*PAGES, INDEX, FOLDER.parents[1] / "README.md"], ids=lambda page: page.stem)
def test_the_first_lines_of_a_page_lead_to_a_first_page_with_the_bundled_networks(page):
    """Check, run, and where the page lies, with the networks that need no download, before anything else."""
    text = page.read_text(encoding="utf-8")
    top = text[: text.index("## What is read")] if page in PAGES else text
    assert yaml.safe_load(re.search(r"^    preset:.*\n(?:    name:.*\n)?", top, re.MULTILINE)[0])["preset"] == "demo"
    checked, ran = top.index("    braindiffuser check "), top.index("    braindiffuser run --config")
    assert EXAMPLE.search(top).start() < checked < ran
    file, out = re.search(r"braindiffuser run --config (\S+) --out (\S+)", top).groups()
    assert f"braindiffuser check {file}" in top
    assert f"`{out}/report/index.html`" in top
