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
