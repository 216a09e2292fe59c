"""The notebooks run from their first cell to their last, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from synthetic_study import write_synthetic_study

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NOTEBOOK = NOTEBOOKS / "explore_study.ipynb"
QUICKSTART = NOTEBOOKS / "quickstart.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_the_notebook_runs_on_a_small_study(notebook, tmp_path, monkeypatch):
    slopes = {("macro_topic", "instruction"): 0.02, ("micro_token", "response"): 0.08}
    folder = write_synthetic_study(tmp_path / "small", slopes=slopes, levels=(0.0, 0.5, 1.0), seeds=(0, 1))
    monkeypatch.setenv("SFTDIV_STUDY", str(folder))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    ran = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    outputs = [output for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert "small: " in outputs[0]["text"]
    assert kinds.count("image/svg+xml") == 3 and kinds.count("application/vnd.plotly.v1+json") == 2
    assert sum("text/html" in output.get("data", {}) for output in outputs) >= 3  # the data frames


def test_the_quickstart_selects_compares_measures_and_saves(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTDIV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ran = NotebookClient(
        nbformat.read(QUICKSTART, as_version=4),
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [output for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert sum(page.startswith("<iframe") for page in pages) == 1 and len(pages) == 4  # three tables and the report
    (saved,) = tmp_path.glob("sftdiv-quickstart-*/train.jsonl")
    assert len(saved.read_text().splitlines()) == 100
