"""What the study page shows with ``report.reference=paper``: deviations from its protocol, and the published slopes.

The input is an ``Analysis``, and the tables of ``analysis.paper_protocol`` and ``analysis.paper_comparison`` made from
it. The output is what the template renders.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.paper_comparison import paper_comparison
from sftdiv.analysis.paper_protocol import DECIDED, DEVIATES, UNKNOWN, protocol_table
from sftdiv.analysis.paper_slopes import paper_slopes
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import format_interval, format_number, format_signed
from sftdiv.reporting.study.interactive_summaries import forest_axes
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.tables import WITH_95, Columns, Entry, Row, TableView, estimate, ladder, table_view, words
from sftdiv.reporting.styles import styles

OURS, PAPERS = "this study", "the paper"


@dataclass(frozen=True)
class PaperView:
    """The part of the page on the paper.

    Attributes:
        deviations: One sentence per step that deviates from the paper's protocol.
        summary: How many steps agree, deviate, are not known, or are not in the rows.
        protocol: Every step of the protocol.
        slopes: Slopes beside the published ones.
        ablations: The published ablations.
        comparison: Rows of the chart; empty if no series has a published counterpart.
        residual_sd: Residual standard deviation of the paper's runs, in points of win rate.
    """

    deviations: list[str]
    summary: str
    protocol: TableView
    slopes: TableView
    ablations: TableView
    comparison: pd.DataFrame
    residual_sd: str


def paper_view(analysis: Analysis) -> PaperView:
    """Everything that the page shows of the paper."""
    protocol, comparison = protocol_table(analysis.study), paper_comparison(analysis.slopes, analysis.shapes)
    deviating = protocol[protocol["verdict"] == DEVIATES]
    return PaperView(
        deviations=[f"{row.step}: {row.study} (the paper: {row.paper})" for row in deviating.itertuples()],
        summary=_summary(protocol),
        protocol=_protocol(protocol),
        slopes=_slopes(analysis, comparison),
        ablations=_ablations(),
        comparison=comparison,
        residual_sd=format_number(float(paper_slopes()["pooled_sd"].iloc[0]), 3),
    )


def _summary(protocol: pd.DataFrame) -> str:
    counts = Counter(protocol["verdict"])
    deviating = counts[DEVIATES]
    return (
        f"{deviating or 'None'} of {len(protocol)} steps deviate{'s' if deviating == 1 else ''}; {counts[DECIDED]} are "
        f"not known from the paper and were decided here; {counts[UNKNOWN]} are not in the rows."
    )


def _protocol(table: pd.DataFrame) -> TableView:
    columns: Columns = [
        ("step", False, lambda row: words(row["step"])),
        ("the paper", False, lambda row: words(row["paper"])),
        ("this study", False, lambda row: words(row["study"])),
        ("verdict", False, lambda row: words(row["verdict"])),
    ]
    return table_view("protocol", table, columns, "No cell is on a ladder.")


def _slopes(analysis: Analysis, table: pd.DataFrame) -> TableView:
    unit = score_unit(analysis)
    own: dict[str, Any] = {"times": unit.times, "decimals": unit.decimals}
    columns: Columns = [
        ("series", False, lambda row: ladder(row["ladder"])),
        (f"slope, {unit.name}{WITH_95}", True, lambda row: estimate(row, "slope", **own)),
        (f"paper, points of win rate{WITH_95}", True, _published),
        (f"slope, residual SDs{WITH_95}", True, lambda row: estimate(row, "noise", times=1)),
        (f"paper, residual SDs{WITH_95}", True, lambda row: estimate(row, "paper_noise", times=1)),
        ("sign", False, lambda row: Entry(row["sign"], row["sign"], f"0 excluded: {row['excludes_zero']}")),
        (f"quadratic, {unit.name}{WITH_95}", True, lambda row: estimate(row, "quadratic", **own)),
        (f"paper, quadratic{WITH_95}", True, lambda row: estimate(row, "paper_quadratic", times=1)),
        ("sign of curvature", False, lambda row: words(row["curvature"])),
    ]
    return table_view("paper-slopes", table, columns, "No series has a strategy and side of the paper and a slope.")


def _published(row: Row) -> Entry:
    """The published slope with its pooled interval, the size, and the interval of the ladder alone."""
    pooled = format_interval(row["paper_slope_low"], row["paper_slope_high"])
    alone = format_interval(row["paper_alone_low"], row["paper_alone_high"])
    below = f"{pooled}; alone {alone}; N = {row['paper_size']:,.0f}"
    return Entry(format_signed(row["paper_slope"]), float(row["paper_slope"]), below)


def _ablations() -> TableView:
    table = paper_slopes()
    table = table[table["variant"] != ""].add_prefix("paper_")
    columns: Columns = [
        ("published ablation of micro_token, response", False, lambda row: words(row["paper_variant"])),
        (f"points of win rate{WITH_95}", True, _published),
    ]
    return table_view("paper-ablations", table, columns, "")


def slopes_chart(table: pd.DataFrame) -> go.Figure:
    """Each slope beside the published one, both in residual standard deviations, with 95 % intervals.

    Args:
        table: Result of ``paper_comparison``.
    """
    figure, looks = go.Figure(), styles([OURS, PAPERS])
    labels = [str(label) for label in table["ladder"]]
    for name, prefix, shift in ((OURS, "", 0.14), (PAPERS, "paper_", -0.14)):
        look = looks[name]
        centre, low, high = (table[f"{prefix}{part}"] for part in ("noise", "noise_low", "noise_high"))
        texts = [
            f"<b>{escape(label)}</b><br>{name}: {format_signed(value)} {format_interval(start, end)} residual SDs"
            for label, value, start, end in zip(labels, centre, low, high, strict=True)
        ]
        figure.add_scatter(
            x=_numbers(centre),
            y=[len(labels) - 1 - position + shift for position in range(len(labels))],
            mode="markers",
            name=name,
            marker={"symbol": look.symbol, "size": 9, "color": look.colour},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": _numbers(high - centre),
                "arrayminus": _numbers(centre - low),
                "color": look.colour,
                "width": 0,
                "thickness": 1.6,
            },
            customdata=texts,
            hovertemplate="%{customdata}<extra></extra>",
        )
    ticks = [escape(label).replace(SEPARATOR, "<br>", 2).replace("<br>", SEPARATOR, 1) for label in labels]
    forest_axes(figure, ticks, "slope, residual SDs of a run")
    return figure


def _numbers(values: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in values]
