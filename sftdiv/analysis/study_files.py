"""The tables of an analysis as files for other programs, and files written whole or not at all.

In: an ``Analysis``. Out: ``slopes.csv``, ``correlations.csv`` and ``cells.parquet`` in a folder.
Equal input gives equal bytes: cells are sorted by name, and what measures the machine (seconds,
memory) stays in each cell's ``result.json``, so that a killed and resumed sweep leaves the same
``cells.parquet`` as an undisturbed one.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.storage.files import write_atomically

OF_THE_MACHINE = ("time.", "speed.", "memory.")


def write_tables(analysis: Analysis, folder: Path) -> list[Path]:
    """Write ``slopes.csv``, ``correlations.csv`` and ``cells.parquet`` into ``folder`` and name them."""
    paths = []
    for name, table in (("slopes.csv", analysis.slopes), ("correlations.csv", analysis.correlations)):
        write_atomically(folder / name, table.to_csv(index=False, lineterminator="\n"))
        paths.append(folder / name)
    write_bytes(folder / "cells.parquet", cells_table(analysis.study.cells).to_parquet(index=False))
    return [*paths, folder / "cells.parquet"]


def cells_table(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells, sorted by name, without what measures the machine; columns by name."""
    kept = [name for name in sorted(cells.columns) if not name.startswith(OF_THE_MACHINE)]
    return cells[kept].sort_values("cell", kind="stable").reset_index(drop=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file under a temporary name in the same folder, flush it to the disk, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).chmod(0o644)  # mkstemp makes it private
    Path(name).replace(path)
