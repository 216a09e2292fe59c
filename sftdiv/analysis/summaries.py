"""Tables of ladders, baselines, noise between seeds, and overlap of subsets.

The input is the cells of a study. Means are taken over seeds only, of cells that agree in
everything else.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sftdiv.analysis.notes import Notes
from sftdiv.analysis.overlap import by_level, jaccard
from sftdiv.analysis.series import ladders_of
from sftdiv.storage.cell import SUBSET, cell_file
from sftdiv.storage.file_digests import DamagedFileError
from sftdiv.text.lines import first_line

MEANS = {
    "k_asked": "k_asked",
    "k_max": "k_max",
    "k_reached": "k_reached",
    "pool": "pool",
    "tie_jaccard": "tie_jaccard",
    "n": "n",
    "response_words": "subset.response_words",
    "response_tokens": "diversity.response.length",
    "unit_entropy": "unit_entropy",
    "label_tokens": "train.label_tokens",
    "cut_share": "cut_share",
}
BASELINE = ("kind", "selector", "universe_of", "side", "size", "budget", "model", "match", "variant")


def ladder_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per (ladder, level): means over seeds, the number of scored seeds, and their performance."""
    rows = []
    for label, ladder in ladders_of(cells):
        for level, rung in ladder.groupby("level", sort=True):
            row = {"ladder": label, "level": level} | {name: rung[column].mean() for name, column in MEANS.items()}
            rows.append(row | _performance(rung, "seeds"))
    return pd.DataFrame(rows, columns=["ladder", "level", *MEANS, "seeds", "performance", "performance_sd"])


def baseline_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per kind of baseline and setting: the number of scored cells and their performance."""
    rows = []
    baselines = cells[cells["kind"] != "level"]
    own = (baselines["kind"] == "selector") & (baselines["universe_of"] == "own")  # that of the strategy's units
    baselines = baselines.assign(universe_of=baselines["universe_of"].mask(own, baselines["strategy"]))
    for keys, group in baselines.groupby(list(BASELINE), dropna=False, sort=False):
        rows.append(dict(zip(BASELINE, keys, strict=True)) | _performance(group, "cells"))
    return pd.DataFrame(rows, columns=[*BASELINE, "cells", "performance", "performance_sd"])


def _performance(cells: pd.DataFrame, count: str) -> dict[str, float]:
    """Number of cells with a performance (column ``count``), and its mean and standard deviation."""
    scored = cells["performance"].dropna()
    return {count: len(scored), "performance": scored.mean(), "performance_sd": scored.std(ddof=1)}


def noise_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per ladder: ``seed_sd`` pooled over levels, its ``degrees`` of freedom, and ``score_stderr``.

    ``seed_sd = sqrt(sum of squared deviations from the level mean / sum of (cells per level - 1))``
    covers everything that a seed changes: draw, training, and evaluation noise if its prompts or
    samples change too. ``score_stderr`` is the mean standard error of one evaluation.
    """
    rows = []
    for label, ladder in ladders_of(cells):
        scored = ladder[ladder["performance"].notna()]
        deviations = scored["performance"] - scored.groupby("level")["performance"].transform("mean")
        degrees = len(scored) - scored["level"].nunique()
        column = f"score.{ladder['primary'].iloc[0]}.stderr"
        stderr = pd.to_numeric(scored[column]).mean() if column in scored else math.nan
        seed_sd = math.sqrt(float((deviations**2).sum()) / degrees) if degrees else math.nan
        rows.append((label, seed_sd, degrees, stderr))
    return pd.DataFrame(rows, columns=["ladder", "seed_sd", "degrees", "score_stderr"])


def overlap_tables(cells: pd.DataFrame, folder: Path, *, notes: Notes) -> dict[str, pd.DataFrame]:
    """The mean Jaccard index between the subsets of each two levels, by ladder, from ``subset.parquet``."""
    tables = {}
    for label, ladder in ladders_of(cells):
        paths = [folder / name / SUBSET for name in ladder["cell"]]
        exists = np.array([path.exists() for path in paths])
        if not exists.all():
            notes.add("subset.parquet is missing for some cells, which the overlap of subsets leaves out", label)
        if exists.any():
            ids = [subset_ids(path.parent) for path in paths if path.exists()]
            tables[label] = by_level(jaccard(ids), ladder["level"].to_numpy(dtype=float)[exists])
    return tables


def subset_ids(cell: Path) -> pa.ChunkedArray:
    """Ids of the examples of a cell."""
    path = cell_file(cell, SUBSET)
    try:
        return pq.read_table(path, columns=["id"])["id"]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DamagedFileError(
            f"{path} is damaged ({first_line(error)}); remove its cell's result.json, and the cell's command writes "
            "both again"
        ) from error
