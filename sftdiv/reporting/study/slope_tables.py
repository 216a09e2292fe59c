"""The tables of the study page about slopes: the paper's form, every series, controlled slopes, differences."""

from __future__ import annotations

from dataclasses import replace

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.slopes import COLLINEAR
from sftdiv.reporting.format import MISSING, is_missing
from sftdiv.reporting.study.score_unit import ScoreUnit, score_unit
from sftdiv.reporting.study.study_views import SlopeGrid, is_finding, level_slopes, with_settings
from sftdiv.reporting.study.tables import (
    WITH_95,
    Columns,
    Entry,
    Row,
    TableView,
    estimate,
    ladder,
    measurement,
    number,
    share,
    signed,
    table_view,
    words,
)


def grid_rows(grid: SlopeGrid, unit: ScoreUnit) -> list[tuple[str, list[Entry]]]:
    """Entries of the slope table; ``value`` is 1 for a finding."""
    rows = []
    for setting, slopes in grid.rows:
        entries = []
        for column in grid.columns:
            slope = slopes.get(column)
            if slope is None:
                entries.append(words(None))
                continue
            entry = estimate(slope.to_dict(), "slope", se="slope_se", times=unit.times, decimals=unit.decimals)
            caveats = [] if is_missing(slope["status"]) else [str(slope["status"])]
            caveats += ["not separable from length"] if slope["collinear_length"] > COLLINEAR else []
            below = "; ".join(filter(None, [entry.below, *caveats]))
            entries.append(replace(entry, value=float(is_finding(slope)), below=below))
        rows.append((setting, entries))
    return rows


def slopes(analysis: Analysis) -> TableView:
    """Slope on the level and correlation coefficients of every series."""
    unit = score_unit(analysis)
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        ("n", True, lambda row: number(row["n"])),
        ("levels", True, lambda row: number(row["levels"])),
        ("ladders", True, lambda row: number(row["ladders"])),
        (
            f"slope, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "slope", se="slope_se", times=unit.times, decimals=unit.decimals),
        ),
        ("degrees of freedom", True, lambda row: number(row["degrees"], 2)),
        ("unadjusted p", True, lambda row: number(row["slope_p"], 2)),
        ("p (Holm)", True, lambda row: number(row["slope_p_holm"], 2)),
        ("no finding because", False, lambda row: words(row["status"])),
    ]
    rows = with_settings(level_slopes(analysis))
    return table_view("slopes", rows, columns, "No ladder has enough levels for a slope.")


def slope_details(analysis: Analysis) -> TableView:
    """Standardised slope and correlation coefficients of every series."""
    unit = score_unit(analysis)
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        ("items", True, lambda row: number(row["items"] or None)),
        ("q", True, lambda row: number(row["slope_q"], 2)),
        ("slope in within-treatment SDs", True, lambda row: signed(row["slope_per_sd"])),
        ("Pearson" + WITH_95, True, lambda row: estimate(row, "pearson", times=1)),
        ("Spearman", True, lambda row: signed(row["spearman"])),
        (f"residual SD, {unit.name}", True, lambda row: measurement(unit.times * row["sigma"])),
    ]
    rows = with_settings(level_slopes(analysis))
    return table_view("slope-details", rows, columns, "No ladder has enough levels for a slope.")


def controlled(analysis: Analysis) -> TableView:
    """The raw slope beside the controlled ones, one row per series."""
    unit = score_unit(analysis)

    def given(row: Row, covariate: str) -> Entry:
        name = f"slope_given_{covariate}"
        entry = estimate(row, name, se=f"{name}_se", interval=False, times=unit.times, decimals=unit.decimals)
        if row[f"collinear_{covariate}"] > COLLINEAR:
            return replace(entry, below="not separable")
        if covariate == "tokens" and row["collinear_controls"] > COLLINEAR:
            return Entry(MISSING, below="the same control as length")
        return entry

    columns: Columns = [
        ("strategy", False, lambda row: words(row["strategy"])),
        ("side", False, lambda row: words(row["side"])),
        ("design", False, lambda row: words(row["setting"])),
        (
            f"raw slope, {unit.name}",
            True,
            lambda row: estimate(row, "slope", se="slope_se", interval=False, times=unit.times, decimals=unit.decimals),
        ),
        ("given response length", True, lambda row: given(row, "length")),
        ("given label tokens", True, lambda row: given(row, "tokens")),
        ("partial r, length", True, lambda row: signed(row["partial_length"])),
        ("partial r, tokens", True, lambda row: signed(row["partial_tokens"])),
        ("VIF, length", True, lambda row: number(row["vif_length"])),
        ("VIF, tokens", True, lambda row: number(row["vif_tokens"])),
        ("R² length and tokens", True, lambda row: share(row["collinear_controls"])),
    ]
    rows = with_settings(level_slopes(analysis)).sort_values(["strategy", "side"], kind="stable")
    return table_view("controlled", rows, columns, "No ladder has enough levels for a slope.")


def differences(analysis: Analysis) -> TableView:
    """Pairs of series: the difference of their slopes and the probability that the first is larger."""
    unit = score_unit(analysis)
    columns: Columns = [
        ("a", False, lambda row: ladder(row["a"])),
        ("b", False, lambda row: ladder(row["b"])),
        (
            f"a less b, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "difference", se="se", times=unit.times, decimals=unit.decimals),
        ),
        ("probability that a > b", True, lambda row: share(row["probability"])),
        ("unadjusted p", True, lambda row: number(row["p"], 2)),
        ("p (Holm)", True, lambda row: number(row["p_holm"], 2)),
        ("no finding because", False, lambda row: words(row["status"])),
    ]
    rows = analysis.differences.assign(
        difference_low=analysis.differences["low"], difference_high=analysis.differences["high"]
    )
    return table_view("differences", rows, columns, "No two ladders differ only in strategy or only in side.")
