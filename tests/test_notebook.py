"""The notebook runs from its first cell to its last on a small study, and is kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from synthetic_study import write_synthetic_study

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "explore_study.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_outputs_are_stripped(notebook):
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
