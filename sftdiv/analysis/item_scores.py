"""Scores of each benchmark item in each cell, for the share of an interval that the choice of items has.

The input is the cells of a series and the files ``CELL/evaluation/OPTION/TASK.parquet`` that lm-eval
tasks leave. The output is a matrix of the primary score by item, or nothing if a cell lacks its file,
if the cells have other items, or if the mean over items is not the score (an aggregate such as a
perplexity or an F1, or a group of tasks that are not weighted by size).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sftdiv.storage.cell import undamaged

Floats = NDArray[np.float64]
METRIC = "metric."  # prefix of the metric columns
TOLERANCE = 1e-6  # relative, between the mean over items and the score


def item_scores(cells: pd.DataFrame, folder: Path) -> Floats | None:
    """The primary score of each item in each cell, negated where lower is better.

    Args:
        cells: Cells of one series.
        folder: Study folder.

    Returns:
        Shape (cells, items), items in a fixed order; None as the module docstring says.
    """
    if cells.empty or cells["primary"].isna().any():
        return None
    columns = []
    for cell, primary in zip(cells["cell"], cells["primary"], strict=True):
        scores = _read(folder / str(cell), str(primary))
        if scores is None:
            return None
        columns.append(scores)
    table = pd.DataFrame(columns).reset_index(drop=True)
    if table.shape[1] < 2 or table.isna().any(axis=None):
        return None
    sign = np.where(cells["higher_is_better"].astype(bool), 1.0, -1.0)
    matrix = table.to_numpy(dtype=np.float64) * sign[:, None]
    performance = cells["performance"].to_numpy(dtype=float)
    close = np.abs(matrix.mean(axis=1) - performance) <= TOLERANCE * np.abs(performance) + 1e-12
    return matrix if close.all() else None


def _read(cell: Path, primary: str) -> pd.Series | None:
    """Values of the score ``TASK.METRIC`` or ``TASK.METRIC.FILTER`` by item (number and content hash)."""
    for path in sorted((cell / "evaluation").glob("*/*.parquet")):
        if primary.startswith(f"{path.stem}."):
            metric, _, filtered = primary.removeprefix(f"{path.stem}.").partition(".")
            scores = _file_scores(undamaged(path), path.stat().st_mtime_ns, metric, filtered or "none")
            if scores is not None:
                return scores
    return None


@lru_cache(maxsize=4096)
def _file_scores(path: Path, _modified: int, metric: str, filtered: str) -> pd.Series | None:
    """One metric in one file, read again only if the file was modified."""
    names = pq.read_schema(path).names
    if "item_hash" not in names or f"{METRIC}{metric}" not in names:
        return None
    rows = pd.read_parquet(path, columns=["item", "item_hash", "filter", f"{METRIC}{metric}"])
    rows = rows[rows["filter"] == filtered].dropna().sort_values(["item", "item_hash"])
    if rows.empty or rows.duplicated(["item", "item_hash"]).any():
        return None
    index = pd.MultiIndex.from_frame(rows[["item", "item_hash"]])
    return pd.Series(rows[f"{METRIC}{metric}"].to_numpy(dtype=float), index=index)
