"""``report.html``: a study as one page that opens from disk, without network access.

The input is an ``Analysis`` and the addresses of the cells. The output is HTML text with
plotly.js inlined once, the same bytes for the same input. All data is escaped, and the page's content security policy
forbids every request and every script but its own. A page has 5 MB of plotly.js, and can be sent as one file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.inference import LEAST_DEGREES, LEAST_LADDERS
from sftdiv.analysis.slopes import COLLINEAR
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.html import render_html, script_hash
from sftdiv.reporting.study import (
    cell_tables,
    findings,
    interactive,
    interactive_summaries,
    judged,
    paper_tables,
    selector_tables,
    shape_tables,
    slope_tables,
    tables,
)
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.study_views import (
    BASELINES,
    Panel,
    known_predictors,
    panels,
    performance_range,
    score_name,
    slope_grid,
)
from sftdiv.reporting.styles import GREY, styles

HERE = Path(__file__).parent
CONTENTS = [
    ("found", "Findings"),
    ("setting", "Setting"),
    ("slopes-paper", "Slopes"),
    ("reference", "Beside the paper"),
    ("performance", "Performance"),
    ("selectors-compared", "Selectors"),
    ("shape", "Shape"),
    ("arena", "Arena"),
    ("metrics", "Metrics"),
    ("controls", "Confounders"),
    ("differences-of-slopes", "Differences"),
    ("ladder-levels", "Levels"),
    ("shared", "Overlap"),
    ("noise-floor", "Noise and power"),
    ("failed", "Failed cells"),
    ("all-cells", "All cells"),
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
    "solid": "none", "dash": "7 5", "dashdot": "7 4 2 4", "dot": "2 4", "longdash": "12 5", "longdashdot": "12 4 2 4",
}  # fmt: skip


def render_page(
    analysis: Analysis,
    *,
    link: Callable[[str], str],
    answers_page: str | None = None,
    beside: Sequence[str] = (),
    analyze_command: str,
    command: str | None = None,
    settings: str | None = None,
    standings: pd.DataFrame | None = None,
    standing_words: str = "",
    with_paper: bool = False,
) -> str:
    """Render the page.

    Args:
        analysis: Analysis of the study.
        link: Address of a cell, relative to the page.
        answers_page: Address of the page with the answers of all cells, if there is one.
        beside: Relative paths of the files written with the page.
        analyze_command: Command that renders this page.
        command: Command of the sweep, if known.
        settings: Resolved settings of one cell as YAML, if known.
        standings: Arena scores of the cells, if a judge compared them.
        standing_words: Judge and baseline of those scores.
        with_paper: Whether to show the deviations from the paper's protocol, and the published slopes.
    """
    script, plotly = (HERE / "study.js").read_text(encoding="utf-8"), get_plotlyjs()
    paper = paper_tables.paper_view(analysis) if with_paper else None
    shown, specs = _charts(analysis, link, paper)
    absent = {"arena": standings is None, "reference": paper is None, "selectors-compared": analysis.selectors.empty}
    return render_html(
        HERE,
        "study",
        name=analysis.study.name,
        contents=[entry for entry in CONTENTS if not absent.get(entry[0])],
        notes=analysis.notes,
        **_texts(analysis),
        **_chart_values(analysis, shown, specs),
        **_tables(analysis, link),
        arena=None if standings is None else judged.arena(standings, link),
        arena_words=standing_words,
        paper=paper,
        charts=in_script(specs),
        plotly=plotly,
        script=script,
        script_hashes=f"{script_hash(plotly)} {script_hash(script)}",
        answers_page=answers_page,
        beside=beside,
        analyze_command=analyze_command,
        command=command,
        settings=settings,
    )


def _texts(analysis: Analysis) -> dict[str, Any]:
    """Sentences and facts of the page."""
    return {
        "findings": findings.sentences(analysis),
        "facts": findings.setting_facts(analysis),
        "versions": findings.versions(analysis),
        "judge_sentence": judged.judge_noise_sentence(analysis),
        "collinear": COLLINEAR,
        "compared": selector_tables.compared(analysis),
        "unit": score_unit(analysis),
        "least_ladders": LEAST_LADDERS,
        "least_degrees": LEAST_DEGREES,
    }


def _chart_values(analysis: Analysis, shown: Sequence[Panel], specs: Mapping[str, Any]) -> dict[str, Any]:
    """The charts' containers, choices and legend."""
    titles = [f"{panel.side}{SEPARATOR}{panel.setting}" for panel in shown]
    return {
        "legend": _legend(analysis, shown),
        "predictors": known_predictors(analysis).items(),
        "panels": [{"id": f"performance-{position}", "title": title} for position, title in enumerate(titles)],
        "scopes": list(specs.get("correlation", {})),
        "overlaps": list(specs.get("overlap", {})),
        "has_slopes": "controlled-slopes" in specs,
    }


def _tables(analysis: Analysis, link: Callable[[str], str]) -> dict[str, Any]:
    """The tables of the page."""
    grid = slope_grid(analysis)
    return {
        "grid": {"columns": grid.columns, "rows": slope_tables.grid_rows(grid, score_unit(analysis))},
        "grid_sides": [(side, len(list(group))) for side, group in groupby(grid.columns, key=lambda column: column[0])],
        "slopes": slope_tables.slopes(analysis),
        "slope_details": slope_tables.slope_details(analysis),
        "judge_noise": judged.judge_noise(analysis),
        "controlled": slope_tables.controlled(analysis),
        "differences": slope_tables.differences(analysis),
        "shapes": shape_tables.shapes(analysis),
        "against_random": shape_tables.against_random(analysis),
        "prediction": shape_tables.prediction(analysis),
        "axes": shape_tables.axes(analysis),
        "equivalent": shape_tables.equivalent(analysis),
        "correlations": tables.correlations(analysis),
        "ladders": tables.ladders(analysis),
        "baselines": tables.baselines(analysis),
        "noise": cell_tables.noise(analysis),
        "components": cell_tables.components(analysis),
        "power": cell_tables.power(analysis),
        "failures": cell_tables.failures(analysis, link),
        "cells": cell_tables.cells(analysis, link),
    }


def _charts(
    analysis: Analysis, link: Callable[[str], str], paper: paper_tables.PaperView | None
) -> tuple[list[Panel], dict[str, dict[str, Any]]]:
    """The panels, and for each chart of the page its variants: name -> data and layout for plotly."""
    shown = panels(analysis)
    looks = styles(analysis.slopes["strategy"])
    primary, predictors, unit = score_name(analysis), known_predictors(analysis), score_unit(analysis)
    specs: dict[str, dict[str, Any]] = {}
    for position, panel in enumerate(shown):
        span = performance_range(analysis, panel.model)
        specs[f"performance-{position}"] = {
            predictor: interactive.performance(
                panel, looks, predictor=predictor, span=span, primary=primary, unit=unit, link=link
            )
            for predictor in predictors
        }
    table = analysis.correlations
    if not table.empty:
        specs["correlation"] = {
            scope: interactive_summaries.metric_correlations(table[table["scope"] == scope])
            for scope in table["scope"].unique()
        }
    if not analysis.slopes.empty:
        specs["controlled-slopes"] = {"": interactive_summaries.controlled_slopes(analysis)}
    if paper is not None and not paper.comparison.empty:
        specs["paper-chart"] = {"": paper_tables.slopes_chart(paper.comparison)}
    if analysis.overlaps:
        specs["overlap"] = {label: interactive_summaries.overlap(matrix) for label, matrix in analysis.overlaps.items()}
    return shown, {
        name: {key: json.loads(figure.to_json(engine="json")) for key, figure in variants.items()}
        for name, variants in specs.items()
    }


def _legend(analysis: Analysis, shown: Sequence[Panel]) -> list[tuple[str, dict[str, str]]]:
    """Names of strategies and baselines, with colour, dashes and marker shape."""
    looks = styles(analysis.slopes["strategy"])
    entries = [
        (name, {"colour": look.colour, "dashes": _DASHES[look.dash], "shape": _SHAPES[look.symbol]})
        for name, look in looks.items()
    ]
    kinds = [kind for kind in BASELINES if any((panel.baselines["kind"] == kind).any() for panel in shown)]
    dashes = {kind: _DASHES[interactive.BASELINE_DASHES[kind]] for kind in kinds}
    return entries + [(BASELINES[kind], {"colour": GREY, "dashes": dashes[kind], "shape": ""}) for kind in kinds]


def in_script(value: Any) -> str:
    """JSON for a script element: none of its characters can end the element or open a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
