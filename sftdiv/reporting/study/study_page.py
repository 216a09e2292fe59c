"""``report.html``: a study as one page that opens from disk, with no network.

In: an ``Analysis`` and where the cells' folders are, seen from the page. Out: HTML as text,
plotly.js inlined once, the same bytes for the same input. Whatever comes from data is escaped, and
the page's own content policy forbids every request and every script but the two that it holds. The
trade: 5 MB of plotly.js in every page, so that it can be sent around as one file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.slopes import COLLINEAR
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.study import cell_tables, findings, interactive, judged, tables
from sftdiv.reporting.study.study_views import (
    BASELINES,
    PREDICTORS,
    Panel,
    SlopeGrid,
    excludes_zero,
    panels,
    performance_range,
    score_name,
    slope_grid,
)
from sftdiv.reporting.styles import GREY, Style, styles

HERE = Path(__file__).parent
CONTENTS = [
    ("found", "What was found"),
    ("setting", "Setting"),
    ("slopes-paper", "Slopes"),
    ("performance", "Performance"),
    ("arena", "Arena"),
    ("metrics", "Metrics"),
    ("controls", "Confounders"),
    ("differences-of-slopes", "Differences"),
    ("ladder-levels", "Levels"),
    ("shared", "Overlap"),
    ("noise-floor", "Noise and power"),
    ("failed", "What failed"),
    ("all-cells", "Every cell"),
    ("reproduce", "How to reproduce"),
]
_SHAPES = {
    "circle": "M4,0A4,4 0 1,1 -4,0A4,4 0 1,1 4,0Z",
    "square": "M-4,-4H4V4H-4Z",
    "triangle-up": "M0,-5L5,4H-5Z",
    "diamond": "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
    "triangle-down": "M0,5L5,-4H-5Z",
    "cross": "M-5,-2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
    "x": "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
}
_DASHES = {
    "solid": "none",
    "dash": "7 5",
    "dashdot": "7 4 2 4",
    "dot": "2 4",
    "longdash": "12 5",
    "longdashdot": "12 4 2 4",
}


def render_page(
    analysis: Analysis,
    *,
    prefix: str = "",
    beside: Sequence[str] = (),
    analyze_command: str,
    command: str | None = None,
    settings: str | None = None,
    standings: pd.DataFrame | None = None,
    standing_words: str = "",
) -> str:
    """The page.

    Args:
        analysis: Of the study.
        prefix: What leads from the page's folder to the study's: empty, or a relative path that
            ends in a slash.
        beside: Relative addresses of the files written with the page.
        analyze_command: The command that makes this page.
        command: The command of the sweep, where it is known.
        settings: Resolved settings of one cell as YAML, if known.
        standings: The cells' Arena scores, where a judge compared them.
        standing_words: The judge and the baseline of those scores.
    """

    def link(cell: str) -> str:
        return f"{quote(prefix)}{quote(cell, safe='')}/"

    script, plotly = (HERE / "page.js").read_text(encoding="utf-8"), get_plotlyjs()
    shown, specs = _charts(analysis, link)
    grid = slope_grid(analysis)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja").render(
        name=analysis.study.name,
        contents=[entry for entry in CONTENTS if entry[0] != "arena" or standings is not None],
        findings=findings.sentences(analysis),
        notes=analysis.notes,
        facts=findings.setting_facts(analysis),
        versions=findings.versions(analysis),
        grid={"columns": grid.columns, "rows": _grid_rows(grid)},
        grid_sides=[(side, len(list(group))) for side, group in groupby(grid.columns, key=lambda column: column[0])],
        legend=_legend(analysis, shown),
        predictors=PREDICTORS.items(),
        panels=[
            {"id": f"performance-{position}", "title": f"{one.side}{SEPARATOR}{one.setting}"}
            for position, one in enumerate(shown)
        ],
        scopes=list(specs.get("correlation", {})),
        overlaps=list(specs.get("overlap", {})),
        collinear=COLLINEAR,
        has_slopes="controlled-slopes" in specs,
        slopes=tables.slopes(analysis),
        judge_sentence=judged.judge_noise_sentence(analysis),
        judge_noise=judged.judge_noise(analysis),
        arena=None if standings is None else judged.arena(standings, link),
        arena_words=standing_words,
        controlled=tables.controlled(analysis),
        differences=tables.differences(analysis),
        correlations=tables.correlations(analysis),
        ladders=tables.ladders(analysis),
        baselines=tables.baselines(analysis),
        noise=cell_tables.noise(analysis),
        power=cell_tables.power(analysis),
        failures=cell_tables.failures(analysis, link),
        cells=cell_tables.cells(analysis, link),
        charts=in_script(specs),
        plotly=plotly,
        script=script,
        script_hashes=f"{_policy_hash(plotly)} {_policy_hash(script)}",
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        beside=beside,
        analyze_command=analyze_command,
        command=command,
        settings=settings,
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _charts(analysis: Analysis, link: Callable[[str], str]) -> tuple[list[Panel], dict[str, dict[str, Any]]]:
    """The panels, and for each chart of the page its variants: name -> plotly's data and layout."""
    shown = panels(analysis)
    looks = styles(analysis.slopes["strategy"])
    primary = score_name(analysis)
    specs: dict[str, dict[str, Any]] = {}
    for position, panel in enumerate(shown):
        span = performance_range(analysis, panel.model)
        specs[f"performance-{position}"] = {
            predictor: interactive.performance(panel, looks, predictor=predictor, span=span, primary=primary, link=link)
            for predictor in PREDICTORS
        }
    table = analysis.correlations
    if not table.empty:
        specs["correlation"] = {
            scope: interactive.metric_correlations(table[table["scope"] == scope]) for scope in table["scope"].unique()
        }
    if not analysis.slopes.empty:
        specs["controlled-slopes"] = {"": interactive.controlled_slopes(analysis)}
    if analysis.overlaps:
        specs["overlap"] = {label: interactive.overlap(matrix) for label, matrix in analysis.overlaps.items()}
    return shown, {
        name: {key: json.loads(figure.to_json(engine="json")) for key, figure in made.items()}
        for name, made in specs.items()
    }


def _grid_rows(grid: SlopeGrid) -> list[tuple[str, list[tables.Entry]]]:
    """Fields of the slope table; ``value`` is 1 where the interval leaves out zero."""
    rows = []
    for setting, fields in grid.rows:
        entries = []
        for column in grid.columns:
            slope = fields.get(column)
            if slope is None:
                entries.append(tables.said(None))
                continue
            entry = tables.measured(slope["slope"], slope["slope_sd"], slope["slope_low"], slope["slope_high"])
            entries.append(tables.Entry(entry.text, float(excludes_zero(slope)), entry.below))
        rows.append((setting, entries))
    return rows


def _legend(analysis: Analysis, shown: Sequence[Panel]) -> list[tuple[str, dict[str, str]]]:
    looks: dict[str, Style] = styles(analysis.slopes["strategy"])
    entries = [
        (name, {"colour": look.colour, "dashes": _DASHES[look.dash], "shape": _SHAPES[look.symbol]})
        for name, look in looks.items()
    ]
    kinds = [kind for kind in BASELINES if any((panel.baselines["kind"] == kind).any() for panel in shown)]
    dashes = {kind: _DASHES[interactive.BASELINE_DASHES[kind]] for kind in kinds}
    return entries + [(BASELINES[kind], {"colour": GREY, "dashes": dashes[kind], "shape": ""}) for kind in kinds]


def in_script(value: Any) -> str:
    """JSON that may stand inside a script element: no character of it can end the element or open a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy_hash(script: str) -> str:
    """The content policy's name of an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
