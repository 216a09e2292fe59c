"""The slope table of a study for the terminal, in the paper's form."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from rich.table import Table

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import HUNDREDTHS, MISSING, format_signed, is_missing
from sftdiv.reporting.study.study_views import excludes_zero, slope_grid
from sftdiv.reporting.terminal import open_table


def slope_table(analysis: Analysis) -> Table:
    """Slopes of performance on the diversity level, times 100, with one posterior standard deviation.

    Rows are sizes and controls, columns side and strategy. An asterisk marks a slope whose 95 %
    interval excludes zero.
    """
    grid = slope_grid(analysis)
    caption = f"slope {HUNDREDTHS} ± 1 sd from level 0 to level 1; * the 95 % interval excludes zero"
    title = f"{escape(analysis.study.name)}: performance against diversity level"
    table = open_table(title, caption=caption, min_width=60)
    table.add_column("")
    previous = ""
    for side, strategy in grid.columns:
        heading = "" if side == previous else side  # only over its first strategy, so that six columns fit a terminal
        table.add_column(f"{escape(heading)}\n" + escape(strategy).replace("_", "\n"), justify="right")
        previous = side
    for setting, slopes in grid.rows:
        entries = [_entry(slopes.get(column)) for column in grid.columns]
        table.add_row(escape(setting).replace(SEPARATOR, "\n"), *entries, end_section=True)
    return table


def _entry(slope: pd.Series | None) -> str:
    if slope is None or is_missing(float(slope["slope"])):
        return MISSING
    sd = "" if is_missing(float(slope["slope_sd"])) else f"\n± {100 * slope['slope_sd']:.2f}  "
    return f"{format_signed(100 * slope['slope'])}{' *' if excludes_zero(slope) else '  '}{sd}"
