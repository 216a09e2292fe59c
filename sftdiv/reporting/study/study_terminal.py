"""The slope table of a study for the terminal, in the paper's form."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from rich.table import Table

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import MISSING, format_signed, is_missing
from sftdiv.reporting.study.score_unit import ScoreUnit, score_unit
from sftdiv.reporting.study.study_views import is_finding, level_slopes, slope_grid
from sftdiv.reporting.terminal import open_table


def slope_table(analysis: Analysis) -> Table:
    """Slopes of performance on the diversity level, with one standard error, in the unit of the score.

    Rows are sizes and controls, columns side and strategy. An asterisk marks a finding: a slope whose 95 %
    interval excludes zero and that rests on enough ladders and runs.
    """
    grid, unit = slope_grid(analysis), score_unit(analysis)
    caption = f"{unit.name} from level 0 to level 1 ± 1 standard error; * the 95 % interval excludes zero"
    caption += f"; {reason}" if (reason := _why_no_finding(analysis)) else ""
    caption += f"; {unit.direction}" if unit.direction else ""
    title = f"{escape(analysis.study.name)}: performance against diversity level"
    table = open_table(title, caption=caption, min_width=60)
    table.add_column("")
    previous = ""
    for side, strategy in grid.columns:
        heading = "" if side == previous else side  # only over its first strategy, so that six columns fit a terminal
        table.add_column(f"{escape(heading)}\n" + escape(strategy).replace("_", "\n"), justify="right")
        previous = side
    for setting, slopes in grid.rows:
        entries = [_entry(slopes.get(column), unit) for column in grid.columns]
        table.add_row(escape(setting).replace(SEPARATOR, "\n"), *entries, end_section=True)
    return table


def _why_no_finding(analysis: Analysis) -> str:
    """Why no slope can be a finding; empty if one can."""
    known = level_slopes(analysis)["status"].dropna()
    if known.empty or (known == "").any():
        return ""
    return "no asterisk: " + "; ".join(sorted(set(known)))


def _entry(slope: pd.Series | None, unit: ScoreUnit) -> str:
    if slope is None or is_missing(float(slope["slope"])):
        return MISSING
    sd = "" if is_missing(float(slope["slope_se"])) else f"\n± {unit.times * slope['slope_se']:.{unit.decimals}f}  "
    return f"{format_signed(unit.times * slope['slope'], unit.decimals)}{' *' if is_finding(slope) else '  '}{sd}"
