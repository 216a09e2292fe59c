"""The tables of the study page that compare selectors: scores and differences, cost, diversity, length, overlap."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.selector_length import length_r2
from sftdiv.analysis.selectors import BASELINES
from sftdiv.reporting.figure_io import figure_bytes
from sftdiv.reporting.format import format_interval, format_number, format_share, format_signed
from sftdiv.reporting.study.score_unit import ScoreUnit, score_unit
from sftdiv.reporting.study.selector_figure import selector_differences
from sftdiv.reporting.study.study_views import control_label
from sftdiv.reporting.study.summary_figures import LOOK
from sftdiv.reporting.study.tables import (
    WITH_95,
    Column,
    Columns,
    Entry,
    Row,
    TableView,
    estimate,
    ladder,
    measurement,
    number,
    share,
    table_view,
    words,
)

DIVERSITY = {
    "response_tokens": "response tokens",
    "types": "distinct words",
    "vendi": "Vendi score",
    "coverage": "coverage of the corpus",
    "pairs": "topic-skill pairs",
}


def compared(analysis: Analysis) -> dict[str, Any] | None:
    """Sentences, tables and figure of the section that compares selectors; None without one."""
    if analysis.selectors.empty:
        return None
    has_figure = analysis.selectors["difference"].notna().any()
    svg = figure_bytes(selector_differences(analysis), "svg", look=LOOK, transparent=True) if has_figure else b""
    return {
        "sentences": sentences(analysis),
        "figure": base64.b64encode(svg).decode(),
        "scores": scores(analysis),
        "diversity": diversity(analysis),
        "length": length(analysis),
        "overlap": overlap(analysis),
    }


def sentences(analysis: Analysis) -> list[str]:
    """How many selectors differ from random, the best and the worst, and what length has to do with the gains."""
    table, unit = analysis.selectors, score_unit(analysis)
    tested = table[table["difference"].notna()]
    if tested.empty:
        return ["No selector has random draws of its universe, size and matching to be compared with."]
    text = [
        _count(group, control_label({"match": match, "budget": budget}))
        for (match, budget), group in tested.groupby(["match", "budget"], sort=False)
    ]
    order = tested["difference"].to_numpy().argsort(kind="stable")
    best, worst = tested.iloc[order[-1]], tested.iloc[order[0]]
    text.append(f"Highest: {_difference(best, unit)}. Lowest: {_difference(worst, unit)}.")
    r2 = length_r2(analysis.selector_length)
    if pd.notna(r2):
        text.append(
            f"Across {len(analysis.selector_length)} selectors, the log of response length relative to random explains "
            f"{format_share(r2)} of the variance of the unmatched gains (R²)."
        )
    return text


def _count(group: pd.DataFrame, control: str) -> str:
    sure = group[(group["status"] == "") & ((group["low"] > 0) | (group["high"] < 0))]
    above, corrected = int((sure["difference"] > 0).sum()), int((sure["p_holm"] < 0.05).sum())
    return (
        f"{control.capitalize()}, {len(group)} selectors: {above} above and {len(sure) - above} below random draws "
        f"with a 95 % interval that excludes zero; after Holm's correction, {corrected} at 5 %."
    )


def _difference(row: pd.Series, unit: ScoreUnit) -> str:
    interval = format_interval(unit.times * row["low"], unit.times * row["high"], unit.decimals)
    value = format_signed(unit.times * row["difference"], unit.decimals)
    return f"{row['selector']}, {control_label(row)}: {value} {unit.name} {interval}"


def scores(analysis: Analysis) -> TableView:
    """Score of each selector, its difference to random draws, and what the selection cost."""
    unit = score_unit(analysis)
    rows = analysis.selectors.rename(columns={"low": "difference_low", "high": "difference_high"})
    columns: Columns = [
        ("selector", False, lambda row: ladder(row["selector"])),
        ("control", False, lambda row: words(control_label(row))),
        *_setting_columns(rows),
        ("runs", True, lambda row: number(row["runs"])),
        (f"score{WITH_95}", True, _score),
        (
            f"less random, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "difference", se="se", times=unit.times, decimals=unit.decimals),
        ),
        ("unadjusted p", True, lambda row: number(row["p"], 2)),
        ("p (Holm)", True, lambda row: number(row["p_holm"], 2)),
        ("seconds", True, lambda row: measurement(row["select_seconds"], 2)),
        ("GPU seconds", True, lambda row: number(row["gpu_seconds"], 2)),
        ("LLM calls", True, lambda row: number(row["llm_calls"])),
        ("no finding because", False, lambda row: words(row["status"])),
    ]
    return table_view("selectors", rows, columns, "No selector without levels was run.")


def _setting_columns(rows: pd.DataFrame) -> Columns:
    """Columns of the settings in which the compared rows differ."""
    compared = rows[~rows["selector"].isin(BASELINES)]
    varying = [name for name in ("universe_of", "side", "size", "model") if compared[name].nunique(dropna=False) > 1]

    def entry(name: str) -> Callable[[Row], Entry]:
        return lambda row: number(row[name]) if name == "size" else words(row[name])

    return [(name.replace("_", " "), name == "size", entry(name)) for name in varying]


def _score(row: Row) -> Entry:
    low, high = (format_number(row[name], 3, padded=True) for name in ("score_low", "score_high"))
    below: str = "" if pd.isna(row["score_low"]) else f"[{low},\u00a0{high}]"
    return Entry(format_number(row["score"], 3, padded=True), float(row["score"]), below)


def diversity(analysis: Analysis) -> TableView:
    """What the subsets are like: lengths, the common axes, and the number of selectable examples."""
    table = analysis.selectors
    known = [name for name in DIVERSITY if table[name].notna().any()]

    def entry(name: str) -> Callable[[Row], Entry]:
        return lambda row: measurement(row[name])

    columns: Columns = [
        ("selector", False, lambda row: ladder(row["selector"])),
        ("control", False, lambda row: words(control_label(row))),
        *((DIVERSITY[name], True, entry(name)) for name in known),
        ("selectable examples", True, lambda row: number(row["selectable"], 5)),
    ]
    return table_view("selector-diversity", table[table["selector"] != "base"], columns, "No subset was measured.")


def length(analysis: Analysis) -> TableView:
    """The gain of each selector, unmatched and length-matched, and the difference between the two."""
    unit = score_unit(analysis)
    rows = analysis.selector_length.rename(columns={"low": "difference_low", "high": "difference_high"})

    def gain(name: str) -> Callable[[Row], Entry]:
        return lambda row: estimate(row, name, interval=False, times=unit.times, decimals=unit.decimals)

    columns: Columns = [
        ("selector", False, lambda row: ladder(row["selector"])),
        ("log of length relative to random", True, lambda row: estimate(row, "log_length", interval=False, times=1)),
        (f"gain, unmatched, {unit.name}", True, gain("gain")),
        (f"gain, length-matched, {unit.name}", True, gain("gain_matched")),
        (
            f"goes with length, {unit.name}{WITH_95}",
            True,
            lambda row: estimate(row, "difference", se="se", times=unit.times, decimals=unit.decimals),
        ),
        ("share of the gain", True, lambda row: _share(row["share"])),
        ("runs", True, lambda row: number(row["runs"])),
    ]
    return table_view("selector-length", rows, columns, "No selector was run both unmatched and length-matched.")


def _share(value: float) -> Entry:
    """A share that may lie outside [0, 1]: matching may add to a gain, or turn it."""
    return Entry(format_signed(value), None if pd.isna(value) else float(value))


def overlap(analysis: Analysis) -> list[tuple[str, TableView]]:
    """Overlap of the subsets of each two selectors, one table per kind of matching."""
    views = []
    for match, matrix in analysis.selector_overlap.items():
        names: Sequence[str] = [str(name) for name in matrix.columns]
        columns = [Column("selector"), *(Column(name, numeric=True) for name in names)]
        rows = [
            [words(name), *(share(float(value)) for value in values)]
            for name, values in zip(names, matrix.to_numpy(), strict=True)
        ]
        view = TableView(f"selector-overlap-{match}", columns, rows)
        views.append((control_label({"match": match, "budget": "examples"}), view))
    return views
