"""Summary of a study for the chosen trackers: numbers by flat names, tables, figures and the report.

The name of a number identifies its ladder, so that a dashboard can compare the same slope across studies.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.protocols import StudySummary, Tracking

log = logging.getLogger(__name__)
SLOPE_COLUMNS = (
    "slope",
    "slope_se",
    "slope_low",
    "slope_high",
    "pearson",
    "spearman",
    "slope_given_length",
    "slope_given_tokens",
)
TABLES = ("slopes", "correlations", "differences", "ladders", "baselines")


def track_study(options: Sequence[Tracking], analysis: Analysis) -> None:
    """Record the summary of an analyzed study with every chosen tracker.

    Args:
        options: Chosen options of the group ``tracking``.
        analysis: The analysis; its files (figures, ``report.html``) must exist.
    """
    if options:
        record(options, summarize(analysis))


def record(options: Sequence[Tracking], summary: StudySummary) -> None:
    """Send a summary to every tracker; a failing tracker causes a warning only."""
    for option in options:
        try:
            option.log_study(summary)
        except Exception as error:  # trackers raise errors of many libraries, and none may stop an analysis
            log.warning("%s failed to record the study's summary: %s", type(option).__name__, error)


def summarize(analysis: Analysis) -> StudySummary:
    """Numbers, tables, figures and report of an analyzed study."""
    folder = analysis.study.folder
    return StudySummary(
        folder=folder,
        name=analysis.study.name,
        numbers=numbers(analysis),
        tables={name: getattr(analysis, name) for name in TABLES},
        figures={path.stem: path for path in sorted((folder / "figures").glob("*.png"))},
        report=folder / "report.html",
    )


def numbers(analysis: Analysis) -> dict[str, float]:
    """Slopes and correlations by names such as ``slope.level.micro_token.response.500.tiny.unmatched``."""
    values: dict[str, float] = {"cells": len(analysis.study.cells), "failures": len(analysis.study.failures)}
    for row in analysis.slopes.to_dict("records"):
        ladder = _dotted(row["ladder"])
        values |= {f"{column}.{row['predictor']}.{ladder}": row[column] for column in SLOPE_COLUMNS}
    for row in analysis.correlations.to_dict("records"):
        values[f"correlation.{_dotted(row['scope'])}.{row['side']}.{row['metric']}"] = row["pearson"]
    return {name: float(value) for name, value in values.items() if not pd.isna(value)}


def _dotted(label: str) -> str:
    """A ladder's label as part of a flat name."""
    return ".".join(re.sub(r"[^\w=+-]", "", part) for part in label.replace(",", "").split("·"))
