"""The tables of the study page about cells and their noise: noise between seeds, power, failures, all cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.reporting.format import format_number
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.tables import (
    Column,
    Columns,
    Entry,
    Row,
    TableView,
    ladder,
    measurement,
    number,
    table_view,
    words,
)


def noise(analysis: Analysis) -> TableView:
    """Standard deviation between seeds of one level, and standard error of one evaluation."""
    columns: Columns = [
        ("ladder", False, lambda row: ladder(row["ladder"])),
        ("within-treatment SD (between seeds of a level)", True, lambda row: measurement(row["seed_sd"])),
        ("degrees of freedom", True, lambda row: number(row["degrees"])),
        ("standard error of one evaluation", True, lambda row: measurement(row["score_stderr"])),
    ]
    return table_view("noise", analysis.noise, columns, "No ladder was run.")


def power(analysis: Analysis) -> TableView:
    """Seeds needed to detect a slope of a given size, one column per slope."""
    table, unit = analysis.power, score_unit(analysis)
    if table.empty:
        return TableView("power", [], [], "The noise between seeds is not known: run at least two seeds.")
    wide = table.pivot(index="ladder", columns="slope", values="seeds").reindex(table["ladder"].unique())
    slopes = [Column(f"slope {unit.times * float(slope):.3g} {unit.name}", numeric=True) for slope in wide.columns]
    rows = [
        [ladder(label), *(_seeds(value) for value in values)]
        for label, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return TableView("power", [Column("ladder"), *slopes], rows)


def _seeds(value: float) -> Entry:
    return Entry("> 10,000", float(value)) if value == float("inf") else number(value, 6)


def failures(analysis: Analysis, link: Callable[[str], str]) -> TableView:
    """Failed cells with stage and message."""
    columns: Columns = [
        ("cell", False, lambda row: _linked(row["cell"], link)),
        ("stage", False, lambda row: words(row["stage"])),
        ("message", False, lambda row: words(row["message"])),
    ]
    return table_view("failures", analysis.study.failures, columns, "No cell failed.")


def cells(analysis: Analysis, link: Callable[[str], str]) -> TableView:
    """Every finished cell with a link to its folder."""
    columns: Columns = [
        ("cell", False, lambda row: _linked(row["cell"], link)),
        ("kind", False, lambda row: words(row["kind"])),
        ("strategy", False, lambda row: words(row["strategy"])),
        ("side", False, lambda row: words(row["side"])),
        ("size", True, lambda row: number(row["size"])),
        ("match", False, lambda row: words(row["match"])),
        ("model", False, lambda row: words(row["model"])),
        ("level", True, lambda row: number(row["level"])),
        ("seed", True, lambda row: number(row["seed"])),
        ("k", True, lambda row: number(row.get("k_asked"))),
        ("unit entropy, bit", True, lambda row: measurement(row.get("unit_entropy"))),
        ("response tokens", True, lambda row: measurement(row.get("diversity.response.length"))),
        ("label tokens", True, lambda row: number(row.get("train.label_tokens"))),
        ("performance", True, _performance),
    ]
    rows = analysis.study.cells.sort_values("cell", kind="stable")
    return table_view("cells", rows, columns, "No cell is finished.")


def _performance(row: Row) -> Entry:
    error: Any = row.get(f"score.{row['primary']}.stderr")
    below = "" if error is None or pd.isna(error) else f"± {format_number(error, 2)}"
    return replace(measurement(row["performance"]), below=below)


def _linked(cell: str, link: Callable[[str], str]) -> Entry:
    return Entry(str(cell), str(cell), href=link(str(cell)))
