"""What the study page shows of a judge: its noise floor beside the slopes, and the Arena scores of the cells.

The input is an ``Analysis`` whose performance is a judge's win rate, and the standings of its
cells. The noise floor is ``score.judge.noise`` of the rows: the expected standard deviation of the
difference between two identical runs of the judge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.series import ladders_of
from sftdiv.reporting.format import format_interval, format_number, format_signed
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.study_views import level_slopes
from sftdiv.reporting.study.tables import (
    Columns,
    Entry,
    Row,
    TableView,
    estimate,
    ladder,
    measurement,
    number,
    table_view,
    words,
)

JUDGED, NOISE = "judge.", "score.judge.noise"
COLUMNS = ["ladder", "slope", "slope_se", "slope_low", "slope_high", "judge_noise", "ratio"]


def judge_noise_table(analysis: Analysis) -> pd.DataFrame:
    """Slope and noise floor (root mean square over cells) of each ladder that was judged twice."""
    cells = analysis.study.cells
    if NOISE not in cells:
        return pd.DataFrame(columns=COLUMNS)
    slopes = level_slopes(analysis).set_index("ladder")
    rows = []
    for label, ladder_cells in ladders_of(cells):
        noise = pd.to_numeric(ladder_cells[NOISE]).dropna()
        if str(ladder_cells["primary"].iloc[0]).startswith(JUDGED) and len(noise):
            slope, floor = slopes.loc[label], float(np.sqrt((noise**2).mean()))
            ratio = abs(slope["slope"]) / floor if floor else float("nan")
            columns = [slope[name] for name in COLUMNS[1:5]]
            rows.append((label, *columns, floor, ratio))
    return pd.DataFrame(rows, columns=COLUMNS)


def judge_noise_sentence(analysis: Analysis) -> str:
    """The noise floor and the range of the slopes in one sentence; empty if no ladder was judged twice."""
    table, unit = judge_noise_table(analysis), score_unit(analysis)
    if table.empty:
        return ""
    floor = format_number(unit.times * float(np.sqrt((table["judge_noise"] ** 2).mean())), 2)
    sentence = f"Two identical runs of the judge differ by {floor} {unit.name} (1 standard deviation) in a cell"
    slopes = unit.times * table["slope"].dropna()
    if len(slopes):
        low, high = (format_signed(value, unit.decimals) for value in (slopes.min(), slopes.max()))
        limits = low if low == high else f"{low} to {high}"
        sentence += f"; the slope over the whole range is {limits}"
    return f"{sentence}."


def judge_noise(analysis: Analysis) -> TableView:
    """Slope and noise floor, one row per ladder."""
    unit = score_unit(analysis)
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        (
            f"slope, {unit.name}",
            True,
            lambda row: estimate(row, "slope", se="slope_se", times=unit.times, decimals=unit.decimals),
        ),
        (
            f"difference of identical judge runs, {unit.name}",
            True,
            lambda row: measurement(unit.times * row["judge_noise"]),
        ),
        ("ratio", True, lambda row: measurement(row["ratio"], 2)),
    ]
    return table_view("judge-noise", judge_noise_table(analysis), columns, "No ladder was judged twice.")


def arena(standings: pd.DataFrame, link: Callable[[str], str]) -> TableView:
    """The cells on one scale, best first; columns of ``standings`` as in ``arena.csv``."""
    columns: Columns = [
        ("cell", False, lambda row: Entry(str(row["cell"]), str(row["cell"]), href=link(str(row["cell"])))),
        ("level", True, lambda row: number(row["level"])),
        ("score", True, lambda row: _with_interval(row, "score", 1, 0)),
        ("win rate, %", True, lambda row: _with_interval(row, "win_rate", 100, 1)),
        ("length-controlled, %", True, lambda row: _with_interval(row, "length_controlled_win_rate", 100, 1)),
        ("prompts", True, lambda row: number(row["n"])),
        ("unreadable, %", True, lambda row: number(100 * row["unreadable"])),
    ]
    return table_view("arena-table", standings, columns, "No cell was judged.")


def _with_interval(row: Row, name: str, times: float, decimals: int) -> Entry:
    """An unsigned estimate, and its 95 % interval below it."""
    value, low, high = (row[key] * times for key in (name, f"{name}_low", f"{name}_high"))
    if pd.isna(value):
        return words(None)
    below = "" if pd.isna(low) or pd.isna(high) else format_interval(low, high, decimals).replace("+", "")
    return Entry(f"{value:.{decimals}f}", float(value), below)
