"""The tables of the study page about cells and their noise: noise between seeds, power, failures, all cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.power import MAX_LADDERS
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
    share,
    table_view,
    words,
)


def noise(analysis: Analysis) -> TableView:
    """Standard deviation between seeds of one level, and standard error of one evaluation."""
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        ("within-treatment SD (between seeds of a level)", True, lambda row: measurement(row["seed_sd"])),
        ("degrees of freedom", True, lambda row: number(row["degrees"])),
        ("standard error of one evaluation", True, lambda row: measurement(row["score_stderr"])),
    ]
    return table_view("noise", analysis.noise, columns, "No ladder was run.")


def components(analysis: Analysis) -> TableView:
    """Variance components of a run."""
    unit = score_unit(analysis)
    columns: Columns = [
        ("component", False, lambda row: words(row["component"])),
        (f"SD, {unit.name}", True, lambda row: measurement(unit.times * row["sd"])),
        ("share of the variance", True, lambda row: share(row["share"])),
        ("degrees of freedom", True, lambda row: number(row["degrees"])),
        ("series", True, lambda row: number(row["series"])),
    ]
    return table_view("components", analysis.components, columns, "No level has two runs.")


def power(analysis: Analysis) -> TableView:
    """Ladders needed to detect a slope of a given size, one column per slope."""
    table, unit = analysis.power, score_unit(analysis)
    if table.empty:
        return TableView("power", [], [], "The noise of a slope is not known: run at least two ladders.")
    keys = ["ladder", "design", "levels", "runs", "items", "noise_from"]
    sizes = sorted(table["slope"].unique())
    headings = ("series", "design", "levels", "runs per ladder and level", "items", "noise from")
    columns = [Column(title, numeric=title in ("levels", "items") or "runs" in title) for title in headings]
    columns += [Column(f"slope {unit.times * float(slope):.3g} {unit.name}", numeric=True) for slope in sizes]
    rows = []
    for _, group in table.groupby(keys, sort=False):
        needed, first = group.set_index("slope")["ladders"], group.iloc[0]
        counts = [number(first[name]) for name in ("levels", "runs", "items")]
        fixed = [ladder(first["ladder"]), words(first["design"]), *counts, words(first["noise_from"])]
        rows.append([*fixed, *(_ladders(float(needed[slope])) for slope in sizes)])
    return TableView("power", columns, rows)


def _ladders(value: float) -> Entry:
    return Entry(f"> {MAX_LADDERS:,}", value) if value == float("inf") else number(value, 6)


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
