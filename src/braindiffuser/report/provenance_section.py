"""The section on what reconstructions were drawn from: every input of the generator, its source and its hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from braindiffuser.plain_data import hash_json
from braindiffuser.report.numbers import join
from braindiffuser.report.sections import Cell, Row, Section, Table, Text

TEST = "tests/integration/test_pipeline.py::test_truth_of_test_stimuli_never_reaches_a_reconstruction"
"""The test of this package that sets the true features of test pictures to zero and compares reconstructions byte for byte."""
TRUTH = "arrays/truth/"
"""Where true features of test pictures lie in a run's folder."""


@dataclass(frozen=True)
class Input:
    """One input of a step of the generator, or of the decoders.

    Attributes:
        to: what it is given to, such as "Low level".
        name: what it is, such as "decoded latents".
        source: array, folder of pictures or file in the run's folder; "" if it has none, as a network.
        made_by: step that made it; "" for a network.
        sha256: hash of its content.
    """

    to: str
    name: str
    source: str
    made_by: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """What reconstructions were drawn from.

    Attributes:
        drawn_from: inputs of the generator.
        decoded_from: inputs of the decoders whose features it was given.
        truth: target group → hash of the true features of the test pictures.
        decoded: target group → hash of the decoded features, those of the same groups that the generator draws from.
        remarks: what else enters a picture, or is not covered by the test; a sentence each.
    """

    drawn_from: Sequence[Input]
    decoded_from: Sequence[Input]
    truth: Mapping[str, str]
    decoded: Mapping[str, str]
    remarks: Sequence[str] = field(default=())


def content_hash(files: Mapping[str, str], name: str) -> str | None:
    """Return one hash of an array, a folder of pictures or a file, from the hashes of its files; None if there is no such file.

    SHA-256 of the JSON of names inside the folder → SHA-256 of each file. Equal arrays have equal hashes under any name.

    Args:
        files: of a run: name → SHA-256, as its records hold them.
        name: of the array's folder, the folder of pictures, or the file.

    >>> content_hash({"a/0": "x", "b/0": "x"}, "a") == content_hash({"a/0": "x", "b/0": "x"}, "b")
    True
    """
    if name in files:
        return files[name]
    inside = {path.removeprefix(f"{name}/"): sha for path, sha in files.items() if path.startswith(f"{name}/")}
    return hash_json(inside) if inside else None


def provenance_section(provenance: Provenance) -> Section:
    """Print every input of the generator with its source and hash, and say whether truth is among them."""
    said = [Text(text=sentence, style="verdict") for sentence in (truth_sentence(provenance), *provenance.remarks)]
    n_truth = len(provenance.truth)
    text = (
        f"The {len(provenance.drawn_from)} inputs of the generator, each with the step that made it and a hash of its content as "
        "the records of the run hold it."
    )
    return Section(
        name="provenance",
        title="What reconstructions were drawn from",
        blocks=(
            Text(text=text),
            *said,
            _table("Inputs of the generator", provenance.drawn_from, ""),
            _table(
                "What the decoded features were computed from", provenance.decoded_from, "What was decoded from what"
            ),
            *([_truth_table(provenance.truth)] if n_truth else []),
        ),
        appendix=True,
    )


def truth_sentence(provenance: Provenance) -> str:
    """Say whether true features of test pictures are among the inputs, by name or by content."""
    inputs = [*provenance.drawn_from, *provenance.decoded_from]
    named = sorted({each.source for each in inputs if each.source.startswith(TRUTH)})
    if named:
        return f"True features of test pictures are among the inputs: {join(named)}. These pictures are no reconstructions."
    equal = [group for group, sha in provenance.decoded.items() if provenance.truth.get(group) == sha]
    if equal:
        return (
            f"Decoded features of {join(equal)} are the true ones, byte for byte: they were not decoded from responses, and "
            "these pictures are no reconstructions."
        )
    return (
        "True features of the test pictures (arrays/truth) are not among them. A test of this package sets these arrays to zero "
        f"and finds the same pictures, byte for byte ({TEST})."
    )


def _table(caption: str, inputs: Sequence[Input], fold: str) -> Table:
    rows = [
        Row(
            label=f"{each.to}: {each.name}",
            cells=(Cell(value=each.source or "–"), Cell(value=each.made_by or "–"), Cell(value=each.sha256[:16])),
        )
        for each in inputs
    ]
    return Table(
        caption=caption, corner="Input", columns=("Source", "Made by", "SHA-256 begins"), rows=tuple(rows), fold=fold
    )


def _truth_table(truth: Mapping[str, str]) -> Table:
    rows = [Row(label=f"{TRUTH}{group}", cells=(Cell(value=sha[:16]),)) for group, sha in truth.items()]
    return Table(
        caption="True features of the test pictures, from which only the ceiling is drawn",
        corner="Not among the inputs",
        columns=("SHA-256 begins",),
        rows=tuple(rows),
        fold="What is not among them",
    )
