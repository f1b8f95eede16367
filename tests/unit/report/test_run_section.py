import pytest
import yaml

from braindiffuser.report.run_section import duration, run_section, version_sentences
from braindiffuser.report.sections import Code, Facts, Section, Table, Text

MANIFEST = {
    "uid": "demo-0f8936b4",
    "experiment": {"name": "démo", "seed": 7, "regression": {"alphas": [1.0, 10.0]}, "note": None},
    "seed": 7,
    "versions": {"braindiffuser": "0.1.0", "torch": "2.9.0"},
    "machine": {"cpu_count": 2, "memory_gb": 23.5},
    "stages": {
        "fit": {"seconds": 65.0, "peak_memory_gb": 1.5, "finished": "2026-01-02T10:00:00Z"},
        "evaluate": {"seconds": 4.0, "peak_memory_gb": 2.5, "finished": "2026-01-02T10:01:00Z"},
        "analyse": {},
    },
}
STEPS = {
    "fit.text": {"uid": "0123456789abcdef", "finished": "2026-01-02T10:00:00Z", "versions": MANIFEST["versions"]},
    "evaluate": {"uid": "fedcba9876543210", "versions": MANIFEST["versions"]},
}


def blocks(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def rows(table):
    return {row.label: [cell.value for cell in row.cells] for row in table.rows}


def made_by(**versions):
    return {"uid": "0" * 64, "versions": versions}


def test_what_was_run_is_written_down():
    section = run_section(MANIFEST, STEPS)
    (facts,), (times, steps), (code,) = (blocks(section, kind) for kind in (Facts, Table, Code))
    assert facts.facts == {
        "Run": "demo-0f8936b4",
        "Seed": "7",
        "Versions": "braindiffuser 0.1.0, torch 2.9.0",
        "Machine": "cpu count: 2, memory gb: 23.5",
    }
    assert rows(times) == {
        "fit": ["1 min 05 s", "1.5 GiB", "2026-01-02T10:00:00Z"],
        "evaluate": ["4.0 s", "2.5 GiB", "2026-01-02T10:01:00Z"],
        "analyse": ["–", "–", "–"],
        "All": ["1 min 09 s", "2.5 GiB", ""],
    }
    assert rows(steps) == {"fit.text": ["01234567", "2026-01-02T10:00:00Z"], "evaluate": ["fedcba98", "–"]}
    assert yaml.safe_load(code.text) == MANIFEST["experiment"]
    assert code.text.startswith("name: démo")
    assert section.appendix
    assert blocks(section, Text) == []


def test_what_more_test_pictures_would_take_is_said():
    stages = {"reconstruct": {"seconds": 90.0}, "evaluate": {"seconds": 6.0}}
    (said,) = blocks(run_section(MANIFEST | {"stages": stages}, STEPS, n_test=300), Text)
    assert "Drawing took 0.3 s for each of 300 test pictures" in said.text
    assert "scoring 0.0 s" in said.text
    assert "1,000 would take about 5 min 20 s" in said.text
    assert blocks(run_section(MANIFEST | {"stages": stages}, STEPS), Text) == []
    assert blocks(run_section(MANIFEST, STEPS, n_test=300), Text) == []
    taken = STEPS | {"reconstruct.final": made_by(python="3") | {"taken_from": "another"}}
    (said,) = blocks(run_section(MANIFEST | {"stages": stages}, taken, n_test=300), Text)
    assert said.text == "Computed in another run, from the same settings and inputs (another): reconstruct.final."


def test_a_run_of_which_little_is_known_is_still_described():
    section = run_section({"uid": "u", "seed": 0, "versions": {}, "experiment": {}}, {})
    assert all(table.rows == () for table in blocks(section, Table))
    assert Section.model_validate_json(section.model_dump_json()) == section


def test_steps_of_the_same_versions_are_not_spoken_of():
    assert version_sentences(STEPS, MANIFEST["versions"]) == []
    assert version_sentences({}, MANIFEST["versions"]) == []
    assert version_sentences({"fit": {"uid": "a"}, "evaluate": made_by()}, MANIFEST["versions"]) == []


def test_steps_of_other_versions_are_named():
    steps = {
        "prepare": made_by(torch="2.8.0", braindiffuser="0.1.0"),
        "fit.text": made_by(torch="2.7.0", braindiffuser="0.0.9"),
        "fit.vision": made_by(torch="2.8.0", braindiffuser="0.1.0"),
        "evaluate": made_by(torch="2.9.0", braindiffuser="0.1.0"),
    }
    said = version_sentences(steps, MANIFEST["versions"])
    assert said == [
        "fit.text was made by braindiffuser 0.0.9; the present version is 0.1.0.",
        "prepare, fit.vision were made by torch 2.8.0; the present version is 2.9.0.",
        "fit.text was made by torch 2.7.0; the present version is 2.9.0.",
    ]
    absent = {**MANIFEST["versions"], "torch": "unknown", "timm": "unknown"}
    assert version_sentences(steps, absent) == [
        "fit.text was made by braindiffuser 0.0.9; the present version is 0.1.0.",
        "Not installed here, so that their versions were not compared: torch.",
    ]
    section = run_section(MANIFEST, steps)
    assert [(block.text, block.style) for block in blocks(section, Text)] == [(line, "verdict") for line in said]


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [
        (None, "–"),
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (119.6, "2 min 00 s"),
        (3599.7, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations_never_print_sixty(seconds, printed):
    assert duration(seconds) == printed
