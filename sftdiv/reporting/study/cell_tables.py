"""The tables of the page that are about cells and their noise: noise floor, power, what failed, every cell.

In: an ``Analysis``. Out: ``TableView`` objects, as in ``tables``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.reporting.format import HUNDREDTHS, format_number
from sftdiv.reporting.study.tables import Column, Entry, Row, TableView, counted, ladder, quantity, said, view


def noise(analysis: Analysis) -> TableView:
    """How far two seeds of one level are apart, and how precise one evaluation is."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("ladder", False, lambda row: ladder(row["ladder"])),
        ("sd between seeds", True, lambda row: quantity(row["seed_sd"])),
        ("degrees of freedom", True, lambda row: counted(row["degrees"])),
        ("standard error of one evaluation", True, lambda row: quantity(row["score_stderr"])),
    ]
    return view("noise", analysis.noise, columns, "No ladder was run.")


def power(analysis: Analysis) -> TableView:
    """Seeds needed for a slope of a given size, one column a slope."""
    table = analysis.power
    if table.empty:
        return TableView("power", [], [], "The noise between seeds is not known: run at least two seeds.")
    wide = table.pivot(index="ladder", columns="slope", values="seeds").reindex(table["ladder"].unique())
    heads = [
        Column("ladder"),
        *(Column(f"slope {100 * slope:.3g} {HUNDREDTHS}", numeric=True) for slope in wide.columns),
    ]
    rows = [
        [ladder(label), *(_seeds(value) for value in values)]
        for label, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return TableView("power", heads, rows)


def _seeds(value: float) -> Entry:
    return Entry("> 10,000", float(value)) if value == float("inf") else counted(value, 6)


def failures(analysis: Analysis, link: Callable[[str], str]) -> TableView:
    """The cells that failed, at what stage and with what message."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("cell", False, lambda row: _linked(row["cell"], link)),
        ("stage", False, lambda row: said(row["stage"])),
        ("message", False, lambda row: said(row["message"])),
    ]
    return view("failures", analysis.study.failures, columns, "No cell failed.")


def cells(analysis: Analysis, link: Callable[[str], str]) -> TableView:
    """Every finished cell with a link to its folder."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("cell", False, lambda row: _linked(row["cell"], link)),
        ("kind", False, lambda row: said(row["kind"])),
        ("strategy", False, lambda row: said(row["strategy"])),
        ("side", False, lambda row: said(row["side"])),
        ("size", True, lambda row: counted(row["size"])),
        ("match", False, lambda row: said(row["match"])),
        ("model", False, lambda row: said(row["model"])),
        ("level", True, lambda row: counted(row["level"])),
        ("seed", True, lambda row: counted(row["seed"])),
        ("k", True, lambda row: counted(row.get("k_asked"))),
        ("unit entropy, bit", True, lambda row: quantity(row.get("unit_entropy"))),
        ("response tokens", True, lambda row: quantity(row.get("diversity.response.length"))),
        ("label tokens", True, lambda row: counted(row.get("train.label_tokens"))),
        ("performance", True, _performance),
    ]
    return view("cells", analysis.study.cells.sort_values("cell", kind="stable"), columns, "No cell is finished.")


def _performance(row: Row) -> Entry:
    error: Any = row.get(f"score.{row['primary']}.stderr")
    below = "" if error is None or pd.isna(error) else f"± {format_number(error, 2)}"
    return replace(quantity(row["performance"]), below=below)


def _linked(cell: str, link: Callable[[str], str]) -> Entry:
    return Entry(str(cell), str(cell), href=link(str(cell)))
