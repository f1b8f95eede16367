"""Laws of licences: what the metadata, the texts and the page say is what the files of the scene kit are under."""

import csv
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KIT = ROOT / "src/braindiffuser/datasets/simulation/scene_kit"
SPDX = {"GPL-2+": "GPL-2.0-or-later", "public-domain": "LicenseRef-Public-Domain"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs/licences.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pictures():
    with (KIT / "kit.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_is_listed_with_author_origin_and_licence(pictures):
    assert {row["file"] for row in pictures} == {path.relative_to(KIT).as_posix() for path in KIT.rglob("*.webp")}
    assert all(row[name].strip() for row in pictures for name in ("author", "origin", "licence"))


def test_the_metadata_name_every_licence_and_each_has_its_text(pictures):
    named = set(PROJECT["license"].split(" AND "))
    composed = "GPL-3.0-only"  # scenes: pictures in docs
    assert named == {"MIT", composed} | {SPDX.get(row["licence"], row["licence"]) for row in pictures}
    texts = {path.stem for path in (ROOT / "LICENSES").glob("*.txt")}
    assert texts == named - {"MIT", "LicenseRef-Public-Domain"}
    assert set(PROJECT["license-files"]) == {"LICENSE", "LICENSES/*.txt"}


def test_the_page_counts_what_there_is(pictures):
    counts = Counter(SPDX.get(row["licence"], row["licence"]) for row in pictures)
    assert f"| {len(pictures)} in " in PAGE
    told = {name: int(n) for n, name in re.findall(r"(\d+) (GPL[\w.-]+|CC-[\w.-]+|MIT|public domain)", PAGE)}
    assert told == {name.replace("LicenseRef-Public-Domain", "public domain"): n for name, n in counts.items()}


@pytest.mark.parametrize(
    "card", sorted((ROOT / "src/braindiffuser/checkpoints").rglob("card.md")), ids=lambda path: path.parent.name
)
def test_the_card_of_a_bundled_network_says_what_it_was_trained_on(card):
    text = card.read_text(encoding="utf-8")
    assert "**Data**: scenes composed from the scene kit" in text
    assert "Licence: MIT" in text
