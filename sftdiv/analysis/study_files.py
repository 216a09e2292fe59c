"""Writes the tables of an analysis: ``slopes.csv``, ``correlations.csv``, ``cells.parquet``, ``selectors.csv``.

The last one is written where the study has selectors without levels. Equal input gives equal bytes. Cells are sorted by
name, and columns that measure the machine (seconds, memory) are left out; they are in the ``result.json`` of each cell.
A killed and resumed sweep therefore leaves the same ``cells.parquet`` as an uninterrupted one.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.storage.files import write_atomically
from sftdiv.text.csv_cells import csv_text

MACHINE_COLUMNS = ("time.", "speed.", "memory.")


def write_tables(analysis: Analysis, folder: Path) -> list[Path]:
    """Write the tables into a folder and return their paths."""
    contents: dict[str, str | bytes] = {
        "slopes.csv": csv_text(analysis.slopes),
        "correlations.csv": csv_text(analysis.correlations),
        "cells.parquet": cells_table(analysis.study.cells).to_parquet(index=False),
    }
    if not analysis.selectors.empty:
        contents["selectors.csv"] = csv_text(analysis.selectors.drop(columns=["select_seconds", "gpu_seconds"]))
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def cells_table(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells sorted by name and the columns by name, without the columns that measure the machine."""
    columns = [name for name in sorted(cells.columns) if not name.startswith(MACHINE_COLUMNS)]
    return cells[columns].sort_values("cell", kind="stable").reset_index(drop=True)
