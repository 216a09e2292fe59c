"""What the report says of a judge: its noise floor beside the slopes, and the cells' Arena scores.

In: an ``Analysis`` whose performance is a judge's win rate; the standings of its cells. Out: a
sentence and ``TableView`` objects. The noise floor is ``score.judge.noise`` of the rows: the
standard deviation to expect of the difference of two identical runs of the judge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.slopes import ladders_of
from sftdiv.reporting.format import HUNDREDTHS, format_interval, format_number, format_signed
from sftdiv.reporting.study.study_views import level_slopes
from sftdiv.reporting.study.tables import Entry, Row, TableView, counted, ladder, measured, quantity, said, view

JUDGED, NOISE = "judge.", "score.judge.noise"
COLUMNS = ["ladder", "slope", "slope_sd", "slope_low", "slope_high", "judge_noise", "ratio"]


def judge_noise_table(analysis: Analysis) -> pd.DataFrame:
    """One row a ladder that a judge scored twice: its slope and the judge's noise floor, the root mean square over its cells."""
    cells = analysis.study.cells
    if NOISE not in cells:
        return pd.DataFrame(columns=COLUMNS)
    slopes = level_slopes(analysis).set_index("ladder")
    rows = []
    for label, cells_of_ladder in ladders_of(cells):
        noise = pd.to_numeric(cells_of_ladder[NOISE]).dropna()
        if str(cells_of_ladder["primary"].iloc[0]).startswith(JUDGED) and len(noise):
            slope, floor = slopes.loc[label], float(np.sqrt((noise**2).mean()))
            ratio = abs(slope["slope"]) / floor if floor else float("nan")
            rows.append(
                (label, slope["slope"], slope["slope_sd"], slope["slope_low"], slope["slope_high"], floor, ratio)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def judge_noise_sentence(analysis: Analysis) -> str:
    """The noise floor beside the slopes in one sentence; empty where no judge was asked twice."""
    table = judge_noise_table(analysis)
    if table.empty:
        return ""
    floor = 100 * float(np.sqrt((table["judge_noise"] ** 2).mean()))
    slopes = 100 * table["slope"].dropna()
    ends = (
        sorted(
            {format_signed(slopes.min()), format_signed(slopes.max())},
            key=lambda text: text == format_signed(slopes.max()),
        )
        if len(slopes)
        else []
    )
    told = f"; the slope over the whole range is {' to '.join(ends)}\u00a0{HUNDREDTHS}" if ends else ""
    return f"Two identical runs of the judge differ by {format_number(floor, 2)}\u00a0{HUNDREDTHS} (1 sd) in a cell's win rate{told}."


def judge_noise(analysis: Analysis) -> TableView:
    """Slope and noise floor, one row a ladder."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("ladder", False, lambda row: ladder(row["ladder"])),
        (
            f"slope {HUNDREDTHS}",
            True,
            lambda row: measured(row["slope"], row["slope_sd"], row["slope_low"], row["slope_high"]),
        ),
        (f"two identical judge runs differ by, {HUNDREDTHS}", True, lambda row: quantity(100 * row["judge_noise"])),
        ("slope over that", True, lambda row: quantity(row["ratio"], 2)),
    ]
    return view("judge-noise", judge_noise_table(analysis), columns, "No judge was asked twice.")


def arena(standings: pd.DataFrame, link: Callable[[str], str]) -> TableView:
    """The cells on one scale, best first; columns of ``standings`` as in ``arena.csv``."""
    columns: list[tuple[str, bool, Callable[[Row], Entry]]] = [
        ("cell", False, lambda row: Entry(str(row["cell"]), str(row["cell"]), href=link(str(row["cell"])))),
        ("level", True, lambda row: counted(row["level"])),
        ("score", True, lambda row: _with_interval(row, "score", 1, 0)),
        ("win rate, %", True, lambda row: _with_interval(row, "win_rate", 100, 1)),
        ("length-controlled, %", True, lambda row: quantity(100 * row["length_controlled_win_rate"])),
        ("prompts", True, lambda row: counted(row["n"])),
        ("unreadable, %", True, lambda row: counted(100 * row["unreadable"])),
    ]
    return view("arena-table", standings, columns, "No cell was judged.")


def _with_interval(row: Row, name: str, times: float, decimals: int) -> Entry:
    """An estimate that has no sign, and its 95 % interval below it."""
    value, low, high = (row[key] * times for key in (name, f"{name}_low", f"{name}_high"))
    if pd.isna(value):
        return said(None)
    below = "" if pd.isna(low) or pd.isna(high) else format_interval(low, high, decimals).replace("+", "")
    return Entry(f"{value:.{decimals}f}", float(value), below)
