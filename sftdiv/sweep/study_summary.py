"""What a study found, sent to W&B: the numbers by flat names, the tables, the figures and the report.

In: an analysis and where the cells were sent. Out: one W&B run a study. A name says all that tells
a ladder from the others, so that a dashboard can compare the same slope across studies.
"""

from __future__ import annotations

import re

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.tracking.session import Destination
from sftdiv.tracking.study_run import log_study

SENT = (
    "slope",
    "slope_sd",
    "slope_low",
    "slope_high",
    "pearson",
    "spearman",
    "slope_given_length",
    "slope_given_tokens",
)


def track_study(where: Destination, analysis: Analysis) -> None:
    """Send a study's summary; W&B's failure is told and changes nothing."""
    folder = analysis.study.folder
    log_study(
        where,
        folder=folder,
        name=analysis.study.name,
        numbers=numbers(analysis),
        tables={
            name: getattr(analysis, name) for name in ("slopes", "correlations", "differences", "ladders", "baselines")
        },
        figures={path.stem: path for path in sorted((folder / "figures").glob("*.png"))},
        report=folder / "report.html",
    )


def numbers(analysis: Analysis) -> dict[str, float]:
    """Slopes and correlations by names such as ``slope.level.micro_token.response.500.tiny.unmatched``."""
    found: dict[str, float] = {"cells": len(analysis.study.cells), "failures": len(analysis.study.failures)}
    for line in analysis.slopes.to_dict("records"):
        found |= {f"{name}.{line['predictor']}.{_dotted(line['ladder'])}": line[name] for name in SENT}
    for line in analysis.correlations.to_dict("records"):
        found[f"correlation.{_dotted(line['scope'])}.{line['side']}.{line['metric']}"] = line["pearson"]
    return {name: float(value) for name, value in found.items() if not pd.isna(value)}


def _dotted(label: str) -> str:
    """A ladder's label as part of a flat name."""
    return ".".join(re.sub(r"[^\w=+-]", "", part) for part in label.replace(",", "").split("·"))
