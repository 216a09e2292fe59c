"""The slope table in the terminal, for the end of a sweep, in the paper's form.

In: an ``Analysis``. Out: a rich table; who prints it decides where.
"""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import HUNDREDTHS, MISSING, format_signed, is_missing
from sftdiv.reporting.study.study_views import excludes_zero, slope_grid


def slope_table(analysis: Analysis) -> Table:
    """Slopes of performance on the diversity level, times 100, with one posterior standard deviation.

    Rows are sizes and controls, columns side and strategy. An asterisk marks a slope whose 95 %
    interval leaves out zero.
    """
    grid = slope_grid(analysis)
    caption = f"slope {HUNDREDTHS} ± 1 sd from level 0 to level 1; * the 95 % interval leaves out zero"
    title = f"{escape(analysis.study.name)}: performance against diversity level"
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        min_width=60,
    )
    table.add_column("")
    before = ""
    for side, strategy in grid.columns:
        spanning = (
            "" if side == before else side
        )  # the side stands over its first strategy, so that six columns fit a terminal
        table.add_column(f"{escape(spanning)}\n" + escape(strategy).replace("_", "\n"), justify="right")
        before = side
    for setting, fields in grid.rows:
        table.add_row(
            escape(setting).replace(SEPARATOR, "\n"),
            *(_field(fields.get(column)) for column in grid.columns),
            end_section=True,
        )
    return table


def _field(slope: pd.Series | None) -> str:
    if slope is None or is_missing(float(slope["slope"])):
        return MISSING
    sd = "" if is_missing(float(slope["slope_sd"])) else f"\n± {100 * slope['slope_sd']:.2f}  "
    return f"{format_signed(100 * slope['slope'])}{' *' if excludes_zero(slope) else '  '}{sd}"
