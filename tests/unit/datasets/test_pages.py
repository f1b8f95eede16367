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
