"""What docs state of the code is what the code says."""

import re
from pathlib import Path

import pytest

from braindiffuser.stages import stages_table

ROOT = Path(__file__).parents[2]


def test_the_table_of_stages_is_the_records():
    page = (ROOT / "docs" / "concepts" / "run-folder.md").read_text(encoding="utf-8")
    assert stages_table() in page


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name
)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_a_word_of_the_glossary_is_explained_once():
    table = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row != "word"]  # the heads of the tables
    words = [word for row in rows for word in row.split(", ") if "`" not in word]
    assert len(words) > 20
    assert sorted(set(words)) == sorted(words)
