"""Leak that goes with level: whether more diverse subsets share text with more test items, ladder by ladder.

Diverse subsets meet more of a benchmark's items, so a slope may be bought by leak. The columns ``leak.NAME`` (items of
a benchmark that share text with the subset; `data.decontamination`) are compared with the level; `leak_table` also
serves as a table of covariates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sftdiv.analysis.notes import Notes

PREFIX, ITEMS = "leak.", "corpus.benchmark_items."
MIN_CORRELATION = 0.5  # Spearman's, from which leak is said to go with level
MIN_DIFFERENCE = 3  # items, between the levels with the smallest and the largest mean leak


def leak_columns(cells: pd.DataFrame) -> list[str]:
    """Columns of leaked items that any cell has."""
    return [name for name in map(str, cells.columns) if name.startswith(PREFIX) and cells[name].notna().any()]


def leak_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Leak by ladder and benchmark.

    Args:
        cells: Cells of a study, with ``kind, ladder, variant, level`` and the columns ``leak.NAME``.

    Returns:
        Columns ``ladder, benchmark, items`` (NaN if unknown), ``low`` and ``high`` (mean leaked items at the lowest and
        the highest level), ``correlation`` (Spearman's between level and leak; NaN where one is constant) and ``goes``
        (whether leak goes with level).
    """
    rows = []
    ladders = cells[cells["kind"] == "level"].groupby(["ladder", "variant"], sort=False)
    for (label, variant), ladder in ladders:
        for column in leak_columns(ladder):
            name = column.removeprefix(PREFIX)
            leaks = ladder[["level", column]].dropna().astype(float)
            means = leaks.groupby("level")[column].mean()
            constant = means.nunique() < 2 or len(means) < 2
            ranked = leaks.rank()
            correlation = np.nan if constant else float(np.corrcoef(ranked["level"], ranked[column])[0, 1])
            rows.append(
                {
                    "ladder": f"{label} {variant}".strip(),
                    "benchmark": name,
                    "items": float(ladder[ITEMS + name].max()) if ITEMS + name in ladder else np.nan,
                    "low": float(means.iloc[0]),
                    "high": float(means.iloc[-1]),
                    "correlation": correlation,
                    "goes": abs(correlation) >= MIN_CORRELATION and means.max() - means.min() >= MIN_DIFFERENCE,
                }
            )
    columns = ["ladder", "benchmark", "items", "low", "high", "correlation", "goes"]
    return pd.DataFrame(rows, columns=columns)


def check_leaks(cells: pd.DataFrame, notes: Notes) -> None:
    """Add a note for each ladder along which the leaked items of a benchmark rise or fall with the level."""
    for row in leak_table(cells).to_dict("records"):
        if row["goes"]:
            of_items = "" if np.isnan(row["items"]) else f" of {row['items']:,.0f}"
            notes.add(
                f"leak goes with level: subsets share text with {row['low']:,.4g} items{of_items} of "
                f"{row['benchmark']} at the lowest level and {row['high']:,.4g} at the highest, so its slope may be "
                "leak; compare the scores on clean items (.clean), or leave the examples out with "
                "corpus.decontaminate=drop",
                row["ladder"],
            )
