"""The tables of the study page, as text to show and values to sort by.

The input is an ``Analysis``, the output one ``TableView`` per table, which the template renders.
Slopes are shown in the unit of the score (`score_unit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import (
    MISSING,
    format_interval,
    format_number,
    format_share,
    format_signed,
    is_missing,
)
from sftdiv.reporting.study.study_views import control_label

Row = dict[Any, Any]
WITH_95 = "\u00a0(95\u00a0%)"


@dataclass(frozen=True)
class Entry:
    """One entry of a table.

    Attributes:
        text: Text to show.
        value: Value to sort by; None sorts last.
        below: Second line, in small print.
        href: Link target.
    """

    text: str
    value: float | str | None = None
    below: str = ""
    href: str = ""


@dataclass(frozen=True)
class Column:
    """The heading of a column; numeric columns are aligned to the right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class TableView:
    """A table with one header row; ``empty`` is shown instead if there are no rows."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    empty: str = "Nothing to show."


Columns = Sequence[tuple[str, bool, Callable[[Row], Entry]]]  # title, whether numeric, entry of a row


def words(value: object) -> Entry:
    """An entry of text."""
    text = MISSING if is_missing(value) or value == "" else str(value)
    return Entry(text, None if text == MISSING else text)


def ladder(label: str) -> Entry:
    """A ladder's label: strategy and side, and the rest below."""
    parts = str(label).split(SEPARATOR)
    return Entry(SEPARATOR.join(parts[:2]), str(label), SEPARATOR.join(parts[2:]))


def number(value: float | None, digits: int = 3) -> Entry:
    """An entry with a number."""
    return Entry(format_number(value, digits), _sortable(value))


def measurement(value: float | None, digits: int = 3) -> Entry:
    """An entry with a measurement, which keeps trailing zeros."""
    return Entry(format_number(value, digits, padded=True), _sortable(value))


def signed(value: float | None) -> Entry:
    """An entry with a signed number of two decimals."""
    return Entry(format_signed(value), _sortable(value))


def share(value: float | None) -> Entry:
    """An entry with a probability or share."""
    return Entry(format_share(value), _sortable(value))


def estimate(row: Row, name: str, *, se: str = "", interval: bool = True, times: float, decimals: int = 2) -> Entry:
    """An entry with an estimate and, below it, its 95 % interval.

    Args:
        row: Row of a table of the analysis.
        name: Column of the estimate.
        se: Column of its standard error, if shown.
        interval: Whether to show the interval, in the columns ``NAME_low`` and ``NAME_high``.
        times: Factor of all numbers.
        decimals: Decimals of all numbers.
    """
    value = row[name]
    if pd.isna(value):
        return Entry(MISSING)
    error = "" if not se or pd.isna(row[se]) else f" ± {times * row[se]:.{decimals}f}"
    entry = Entry(format_signed(times * value, decimals) + error, float(value))
    if not interval or pd.isna(row[f"{name}_low"]) or pd.isna(row[f"{name}_high"]):
        return entry
    return replace(entry, below=format_interval(times * row[f"{name}_low"], times * row[f"{name}_high"], decimals))


def _sortable(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def table_view(name: str, rows: pd.DataFrame, columns: Columns, empty: str) -> TableView:
    """A view of a data frame, with one entry per row and column."""
    entries = [[make(row) for _, _, make in columns] for row in rows.to_dict("records")]
    return TableView(name, [Column(title, numeric) for title, numeric, _ in columns], entries, empty)


def correlations(analysis: Analysis) -> TableView:
    """Correlation of each metric with performance, in all cells and within each ladder."""
    columns: Columns = [
        ("scope", False, lambda row: ladder(row["scope"])),
        ("side", False, lambda row: words(row["side"])),
        ("metric", False, lambda row: words(str(row["metric"]).replace("_", " "))),
        ("n", True, lambda row: number(row["n"])),
        ("Pearson" + WITH_95, True, lambda row: estimate(row, "pearson", times=1)),
        ("unadjusted p", True, lambda row: number(row["pearson_p"], 2)),
        ("q", True, lambda row: number(row["q"], 2)),
        ("Spearman", True, lambda row: signed(row["spearman"])),
        ("unadjusted p (Spearman)", True, lambda row: number(row["spearman_p"], 2)),
    ]
    return table_view("correlations", analysis.correlations, columns, "No diversity metric varies between the cells.")


def ladders(analysis: Analysis) -> TableView:
    """The subsets of each level of each ladder: types, pool, lengths, and performance.

    Columns of the ladder are left out if no cell has them, as with other selectors.
    """
    of_ladder = {"k_asked": "k asked", "k_reached": "k reached", "k_max": "k max", "pool": "pool"}
    of_ladder["tie_jaccard"] = "pool shared with another order of ties, Jaccard"
    known = [name for name in of_ladder if analysis.ladders[name].notna().any()]

    def entry(name: str) -> Callable[[Row], Entry]:
        return lambda row: number(row[name])

    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        ("level", True, lambda row: number(row["level"])),
        *((of_ladder[name], True, entry(name)) for name in known),
        ("n", True, lambda row: number(row["n"])),
        ("response words", True, lambda row: measurement(row["response_words"])),
        ("response tokens", True, lambda row: measurement(row["response_tokens"])),
        ("unit entropy, bit", True, lambda row: measurement(row["unit_entropy"])),
        ("label tokens", True, lambda row: number(row["label_tokens"])),
        ("cut at max_length", True, lambda row: share(row["cut_share"])),
        ("seeds", True, lambda row: number(row["seeds"])),
        ("performance", True, lambda row: measurement(row["performance"])),
        ("sd", True, lambda row: measurement(row["performance_sd"], 2)),
    ]
    return table_view("ladders", analysis.ladders, columns, "No level was run.")


def baselines(analysis: Analysis) -> TableView:
    """Random draws, the full universe, the base model and selectors without levels."""
    columns: Columns = [
        ("baseline", False, lambda row: words(row["selector"] or row["kind"])),
        ("universe of", False, lambda row: words(row["universe_of"])),
        ("side", False, lambda row: words(row["side"])),
        ("model", False, lambda row: words(row["model"])),
        ("control", False, lambda row: words(control_label(row))),
        ("variant", False, lambda row: words(row["variant"])),
        ("size", True, lambda row: number(row["size"])),
        ("cells", True, lambda row: number(row["cells"])),
        ("performance", True, lambda row: measurement(row["performance"])),
        ("sd", True, lambda row: measurement(row["performance_sd"], 2)),
    ]
    empty = "This study has no baselines: random draws, the full universe, the base model, other selectors."
    return table_view("baselines", analysis.baselines, columns, empty)
