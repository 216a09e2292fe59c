"""The tables of the page, as text to show and values to sort by.

In: an ``Analysis``. Out: one ``TableView`` a table; the template gives them their looks. Slopes are
shown times 100, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.slopes import COLLINEAR
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import (
    HUNDREDTHS,
    MISSING,
    format_interval,
    format_number,
    format_share,
    format_signed,
    is_missing,
)
from sftdiv.reporting.study.study_views import control_label, level_slopes, with_settings

Row = dict[Any, Any]
WITH_95 = "\u00a0(95\u00a0%)"


@dataclass(frozen=True)
class Entry:
    """One field of a table: what is shown, what it sorts by (None: last), a second line in small print, and where it leads."""

    text: str
    value: float | str | None = None
    below: str = ""
    href: str = ""


@dataclass(frozen=True)
class Column:
    """The head of one column; numbers stand to the right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class TableView:
    """A table with one head row; ``empty`` says what to print instead where there are no rows."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    empty: str = "Nothing to show."


def said(value: object) -> Entry:
    """A field of words."""
    text = MISSING if is_missing(value) or value == "" else str(value)
    return Entry(text, None if text == MISSING else text)


def ladder(label: str) -> Entry:
    """A ladder's label: strategy and side, and below them the rest."""
    parts = str(label).split(SEPARATOR)
    return Entry(SEPARATOR.join(parts[:2]), str(label), SEPARATOR.join(parts[2:]))


def counted(value: float | None, digits: int = 3) -> Entry:
    """A field with a number."""
    return Entry(format_number(value, digits), _sortable(value))


def quantity(value: float | None, digits: int = 3) -> Entry:
    """A field with a measurement, which keeps its last zeros."""
    return Entry(format_number(value, digits, padded=True), _sortable(value))


def measured(
    value: float | None, sd: float | None, low: float | None = None, high: float | None = None, *, times: float = 100
) -> Entry:
    """A field with an estimate, its standard deviation and, below, its 95 % interval."""
    if value is None or pd.isna(value):
        return Entry(MISSING)
    text = format_signed(times * value) + ("" if sd is None or pd.isna(sd) else f" ± {times * sd:.2f}")
    below = (
        ""
        if low is None or high is None or pd.isna(low) or pd.isna(high)
        else format_interval(times * low, times * high)
    )
    return Entry(text, float(value), below)


def given(row: Row, covariate: str) -> Entry:
    """The slope given a covariate, and below it whether regression can tell the two apart at all."""
    found = measured(row[f"slope_given_{covariate}"], row[f"slope_given_{covariate}_sd"])
    return replace(found, below="not separable") if row[f"collinear_{covariate}"] > COLLINEAR else found


def _sortable(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def view(
    name: str, rows: pd.DataFrame, columns: Sequence[tuple[str, bool, Callable[[Row], Entry]]], empty: str
) -> TableView:
    """A view of a data frame: for each column its title, whether it is numeric, and the field it makes of a row."""
    fields = [[make(row) for _, _, make in columns] for row in rows.to_dict("records")]
    return TableView(name, [Column(title, numeric) for title, numeric, _ in columns], fields, empty)


def slopes(analysis: Analysis) -> TableView:
    """Every ladder's slope against the level with its correlation coefficients."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("ladder", False, lambda row: ladder(row["ladder"])),
        ("n", True, lambda row: counted(row["n"])),
        ("levels", True, lambda row: counted(row["levels"])),
        ("seeds", True, lambda row: counted(row["seeds"])),
        (
            f"slope {HUNDREDTHS}{WITH_95}",
            True,
            lambda row: measured(row["slope"], row["slope_sd"], row["slope_low"], row["slope_high"]),
        ),
        (
            "Pearson" + WITH_95,
            True,
            lambda row: measured(row["pearson"], None, row["pearson_low"], row["pearson_high"], times=1),
        ),
        (
            "Spearman" + WITH_95,
            True,
            lambda row: measured(row["spearman"], None, row["spearman_low"], row["spearman_high"], times=1),
        ),
        (f"residual sd {HUNDREDTHS}", True, lambda row: quantity(100 * row["sigma"])),
    ]
    return view("slopes", with_settings(level_slopes(analysis)), columns, "No ladder has enough levels for a slope.")


def controlled(analysis: Analysis) -> TableView:
    """The raw slope beside the controlled ones, one row a ladder."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("strategy", False, lambda row: said(row["strategy"])),
        ("side", False, lambda row: said(row["side"])),
        ("design", False, lambda row: said(row["setting"])),
        ("raw slope", True, lambda row: measured(row["slope"], row["slope_sd"])),
        ("given response length", True, lambda row: given(row, "length")),
        ("given label tokens", True, lambda row: given(row, "tokens")),
        ("seed as random intercept", True, lambda row: measured(row["slope_mixed"], row["slope_mixed_sd"])),
        (
            "partial r, length",
            True,
            lambda row: Entry(format_signed(row["partial_length"]), _sortable(row["partial_length"])),
        ),
        (
            "partial r, tokens",
            True,
            lambda row: Entry(format_signed(row["partial_tokens"]), _sortable(row["partial_tokens"])),
        ),
        (
            "R² level and length",
            True,
            lambda row: Entry(format_share(row["collinear_length"]), _sortable(row["collinear_length"])),
        ),
        (
            "R² level and tokens",
            True,
            lambda row: Entry(format_share(row["collinear_tokens"]), _sortable(row["collinear_tokens"])),
        ),
    ]
    table = with_settings(level_slopes(analysis)).sort_values(["strategy", "side"], kind="stable")
    return view("controlled", table, columns, "No ladder has enough levels for a slope.")


def differences(analysis: Analysis) -> TableView:
    """Pairs of ladders: the difference of their slopes and the probability that the first is larger."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("a", False, lambda row: ladder(row["a"])),
        ("b", False, lambda row: ladder(row["b"])),
        (
            f"a less b, {HUNDREDTHS}{WITH_95}",
            True,
            lambda row: measured(row["difference"], row["sd"], row["low"], row["high"]),
        ),
        (
            "probability that a > b",
            True,
            lambda row: Entry(format_share(row["probability"]), _sortable(row["probability"])),
        ),
    ]
    return view("differences", analysis.differences, columns, "No two ladders differ in strategy or side alone.")


def correlations(analysis: Analysis) -> TableView:
    """Each metric's correlation with performance, in all cells and within each ladder."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("scope", False, lambda row: ladder(row["scope"])),
        ("side", False, lambda row: said(row["side"])),
        ("metric", False, lambda row: said(str(row["metric"]).replace("_", " "))),
        ("n", True, lambda row: counted(row["n"])),
        (
            "Pearson" + WITH_95,
            True,
            lambda row: measured(row["pearson"], None, row["pearson_low"], row["pearson_high"], times=1),
        ),
        ("p", True, lambda row: counted(row["pearson_p"], 2)),
        ("q", True, lambda row: counted(row["q"], 2)),
        (
            "Spearman" + WITH_95,
            True,
            lambda row: measured(row["spearman"], None, row["spearman_low"], row["spearman_high"], times=1),
        ),
        ("p (Spearman)", True, lambda row: counted(row["spearman_p"], 2)),
    ]
    return view("correlations", analysis.correlations, columns, "No diversity metric varies between the cells.")


def ladders(analysis: Analysis) -> TableView:
    """What each level of each ladder was: types, pool, lengths, and the performance at it."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("ladder", False, lambda row: ladder(row["ladder"])),
        ("level", True, lambda row: counted(row["level"])),
        ("k asked", True, lambda row: counted(row["k_asked"])),
        ("k reached", True, lambda row: counted(row["k_reached"])),
        ("k max", True, lambda row: counted(row["k_max"])),
        ("pool", True, lambda row: counted(row["pool"])),
        ("n", True, lambda row: counted(row["n"])),
        ("response words", True, lambda row: quantity(row["response_words"])),
        ("response tokens", True, lambda row: quantity(row["response_tokens"])),
        ("unit entropy, bit", True, lambda row: quantity(row["unit_entropy"])),
        ("label tokens", True, lambda row: counted(row["label_tokens"])),
        ("seeds", True, lambda row: counted(row["seeds"])),
        ("performance", True, lambda row: quantity(row["performance"])),
        ("sd", True, lambda row: quantity(row["performance_sd"], 2)),
    ]
    return view("ladders", analysis.ladders, columns, "No level was run.")


def baselines(analysis: Analysis) -> TableView:
    """Random draws, the full universe and the base model."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("baseline", False, lambda row: said(row["kind"])),
        ("universe of", False, lambda row: said(row["universe_of"])),
        ("side", False, lambda row: said(row["side"])),
        ("model", False, lambda row: said(row["model"])),
        ("control", False, lambda row: said(control_label(row))),
        ("variant", False, lambda row: said(row["variant"])),
        ("size", True, lambda row: counted(row["size"])),
        ("cells", True, lambda row: counted(row["cells"])),
        ("performance", True, lambda row: quantity(row["performance"])),
        ("sd", True, lambda row: quantity(row["performance_sd"], 2)),
    ]
    return view(
        "baselines",
        analysis.baselines,
        columns,
        "This study has no baselines: random draws, the full universe, the base model.",
    )
