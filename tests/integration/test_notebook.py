"""The notebook runs from its first cell to its last, and is stored without outputs."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples/notebooks/start.ipynb"


def cells_of(content):
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def text_of(cell):
    """All that a cell printed or shows, as one text."""
    shown = [output.get("data", {}) for output in cell["outputs"]]
    printed = [output.get("text", "") for output in cell["outputs"]]
    return "".join(printed) + "".join(str(value) for data in shown for value in data.values())


def test_it_is_stored_without_outputs():
    cells = cells_of(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries that speak with the kernel
def test_it_runs_and_shows_the_page_and_a_verdict(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient, of the extra dev, runs notebooks")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="ipykernel, of the extra dev, runs notebooks")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    install, _, page, table, *_, verdict = cells_of(notebook)
    assert install["outputs"] == []  # the package is there
    assert "<iframe" in text_of(page)
    assert "PixCorr" in text_of(table)
    assert text_of(verdict).strip()
