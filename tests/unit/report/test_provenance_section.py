from dataclasses import replace
from pathlib import Path

import pytest

from braindiffuser.report.provenance_section import (
    TEST,
    Input,
    Provenance,
    content_hash,
    provenance_section,
    truth_sentence,
)
from braindiffuser.report.sections import Table, Text

FOUND = Provenance(
    drawn_from=[
        Input("Low level", "decoded latents", "arrays/predictions/latents", "fit.latents", "a" * 64),
        Input("Low level", "network vdvae", "", "", "b" * 64),
    ],
    decoded_from=[Input("Decoded latents", "test responses", "arrays/responses/test", "prepare.responses", "c" * 64)],
    truth={"latents": "d" * 64},
    decoded={"latents": "a" * 64},
)


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def test_every_input_has_its_source_its_maker_and_its_hash():
    section = provenance_section(FOUND)
    drawn, decoded, truth = tables(section)
    assert {row.label: [cell.value for cell in row.cells] for row in drawn.rows} == {
        "Low level: decoded latents": ["arrays/predictions/latents", "fit.latents", "a" * 16],
        "Low level: network vdvae": ["–", "–", "b" * 16],
    }
    assert [row.label for row in decoded.rows] == ["Decoded latents: test responses"]
    assert [row.label for row in truth.rows] == ["arrays/truth/latents"]
    assert not drawn.fold
    assert decoded.fold
    assert section.appendix


def test_truth_is_said_to_be_absent_only_where_it_is():
    assert "are not among them" in truth_sentence(FOUND)
    leaked = Input("Full", "true vision", "arrays/truth/vision", "extract.vision", "e" * 64)
    for changed in (replace(FOUND, drawn_from=[leaked]), replace(FOUND, decoded_from=[leaked])):
        assert truth_sentence(changed).startswith(
            "True features of test pictures are among the inputs: arrays/truth/vision"
        )
    copied = replace(FOUND, decoded=FOUND.truth)
    assert "Decoded features of latents are the true ones, byte for byte" in truth_sentence(copied)
    said = [block.text for block in provenance_section(copied).blocks if isinstance(block, Text)]
    assert not any("are not among them" in text for text in said)


def test_remarks_stand_beside_the_statement():
    section = provenance_section(replace(FOUND, remarks=["Calibration is transductive."]))
    said = [block.text for block in section.blocks if isinstance(block, Text) and block.style == "verdict"]
    assert said[1:] == ["Calibration is transductive."]


def test_the_test_that_is_named_is_there():
    path, _, name = TEST.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[3] / path).read_text()


def test_equal_content_has_equal_hashes_under_any_name_and_other_content_others():
    files = {"arrays/a/0": "x", "arrays/a/zarr.json": "y", "arrays/b/0": "x", "arrays/b/zarr.json": "y", "c.json": "z"}
    assert content_hash(files, "arrays/a") == content_hash(files, "arrays/b")
    assert content_hash(files | {"arrays/b/0": "w"}, "arrays/b") != content_hash(files, "arrays/b")
    assert content_hash(files | {"arrays/b/1": "w"}, "arrays/b") != content_hash(files, "arrays/b")
    assert content_hash(files, "c.json") == "z"
    assert content_hash(files, "arrays") != content_hash(files, "arrays/a")


@pytest.mark.parametrize("name", ["arrays/predictions", "array", "arrays/a2"])
def test_what_is_not_there_has_none(name):
    assert content_hash({"arrays/a/0": "x"}, name) is None
