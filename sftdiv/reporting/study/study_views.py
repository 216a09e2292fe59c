"""The layout of a study: settings as rows, side and strategy as columns or panels, lines with their bands.

The input is an ``Analysis``. The output is labels, panels, fitted lines and axis ranges, which the
static figures, the page and the terminal table share, so that they agree. Only the bands of the
lines are computed here; all other numbers are in the tables of the analysis.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.series import series_of
from sftdiv.analysis.slopes import COLLINEAR
from sftdiv.analysis.student_t import ONE_SIGMA
from sftdiv.analysis.variants import SEPARATOR, is_foreign
from sftdiv.reporting.format import format_number

PREDICTORS = {
    "level": "diversity level",
    "k_share": "share of unit types, k / k_max",
    "unit_entropy": "measured unit entropy (bit)",
}
BASELINES = {"random": "random draw", "full": "full universe", "base": "base model"}


@dataclass(frozen=True)
class Panel:
    """Ladders drawn on one pair of axes: one side and one setting.

    ``slopes`` are their rows of ``Analysis.slopes``, for all predictors.
    """

    setting: str
    side: str
    model: str
    slopes: pd.DataFrame
    cells: pd.DataFrame
    baselines: pd.DataFrame


@dataclass(frozen=True)
class Line:
    """A fitted line over ``x`` and the limits of its pointwise 68 % band, each of shape (points,)."""

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def known_predictors(analysis: Analysis) -> dict[str, str]:
    """The predictors, with their axis titles, that at least one ladder cell has; the level is always one of them."""
    ladders = analysis.study.cells[analysis.study.cells["kind"] == "level"]
    return {name: title for name, title in PREDICTORS.items() if name == "level" or ladders[name].notna().any()}


def level_slopes(analysis: Analysis) -> pd.DataFrame:
    """The slopes on the diversity level, one row per ladder."""
    return analysis.slopes[analysis.slopes["predictor"] == "level"]


def excludes_zero(slope: Mapping[Hashable, Any] | pd.Series) -> bool:
    """Whether the 95 % interval of a row of ``Analysis.slopes`` excludes zero."""
    return bool(slope["slope_low"] > 0 or slope["slope_high"] < 0)


def is_finding(slope: Mapping[Hashable, Any] | pd.Series) -> bool:
    """Whether a slope is shown as a finding: its interval excludes zero, and it rests on enough ladders and runs."""
    return excludes_zero(slope) and slope["status"] == ""


def setting_label(row: Mapping[Hashable, Any] | pd.Series, *, name_model: bool) -> str:
    """The setting that the ladders of one table row or panel share.

    Args:
        row: Mapping with the keys ``variants.FAMILY`` and ``variant``.
        name_model: Whether to include the model; needed only with several models.
    """
    parts = [f"{row['size']:,.0f}", *([str(row["model"])] if name_model else []), control_label(row)]
    parts += [f"universe of {row['universe_of']}"] if is_foreign(row["universe_of"], row["strategy"]) else []
    parts += [str(row["variant"])] if row["variant"] else []
    return SEPARATOR.join(parts)


def control_label(row: Mapping[Hashable, Any] | pd.Series) -> str:
    """What a design controls for: ``unmatched``, ``length-matched``, ``unmatched · equal tokens`` ..."""
    matched = "unmatched" if row["match"] == "none" else f"{row['match']}-matched"
    return f"{matched}{SEPARATOR}equal tokens" if row["budget"] == "tokens" else matched


def with_settings(slopes: pd.DataFrame) -> pd.DataFrame:
    """The slopes with a column ``setting``, ordered by size, model, control, side and strategy."""
    name_model = slopes["model"].nunique() > 1
    labels = [setting_label(row, name_model=name_model) for _, row in slopes.iterrows()]
    labelled = slopes.assign(
        setting=pd.Series(labels, index=slopes.index, dtype=object), _unmatched=slopes["match"] != "none"
    )
    order = ["size", "model", "variant", "budget", "_unmatched", "match", "setting", "side", "strategy", "ladder"]
    return labelled.sort_values(order, kind="stable", na_position="first").drop(columns="_unmatched")


def panels(analysis: Analysis) -> list[Panel]:
    """One panel per setting and side, in the order of ``with_settings``."""
    cells = analysis.study.cells
    shown = []
    for (setting, side), slopes in with_settings(analysis.slopes).groupby(["setting", "side"], sort=False):
        panel_cells = cells[cells["ladder"].isin(slopes["ladder"]) & (cells["kind"] == "level")]
        baselines = _comparable_baselines(slopes, analysis.baselines)
        shown.append(Panel(str(setting), str(side), str(slopes["model"].iloc[0]), slopes, panel_cells, baselines))
    return shown


def _comparable_baselines(slopes: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """The baselines comparable with a panel's ladders.

    All have the same model; full sets and random draws the same side and universe; random draws
    also the same size, budget and control.
    """
    row, kind = slopes.iloc[0], baselines["kind"]
    same_model = (baselines["model"] == row["model"]) & baselines["variant"].isin({"", *slopes["variant"]})
    same_side = baselines["side"].isna() | (baselines["side"] == row["side"])
    same_source = same_side & baselines["universe_of"].isin({*slopes["universe_of"].dropna(), *slopes["strategy"]})
    same_design = (baselines[["size", "budget", "match"]] == row[["size", "budget", "match"]]).all(axis=1)
    full, random = (kind == "full") & same_source, (kind == "random") & same_source & same_design
    return baselines[same_model & ((kind == "base") | full | random)]


def score_name(analysis: Analysis) -> str:
    """Title of the performance axis: the last part of the score's name, with "minus" if lower is better.

    With several primary scores it is "performance".
    """
    cells = analysis.study.cells
    names = cells["primary"].dropna().unique()
    if len(names) != 1:
        return "performance"
    return f"{'' if cells['higher_is_better'].all() else 'minus '}{str(names[0]).rsplit('.', 1)[-1]}"


def fitted_line(cells: pd.DataFrame, predictor: str, *, points: int = 41) -> Line | None:
    """The line through the cells of a series and its pointwise 68 % band, as `inference` has it; None without a fit.

    Args:
        cells: Cells of the ladder, none with a missing predictor or performance.
        predictor: Column of the predictor, a key of ``PREDICTORS``.
        points: Number of points on the line.
    """
    x = cells[predictor].to_numpy(dtype=float)
    model = series_of(cells).fit(x)
    if model is None:
        return None
    grid = np.linspace(x.min(), x.max(), points)
    at = [model.contrast(np.array([1.0, value])) for value in grid]
    limits = np.array([estimate.interval(ONE_SIGMA) for estimate in at])
    return Line(grid, np.array([estimate.center for estimate in at]), limits[:, 0], limits[:, 1])


def performance_range(analysis: Analysis, model: str) -> tuple[float, float]:
    """The performance axis that all panels of a model share, over their ladder cells and the baselines near them.

    A baseline farther away than half the range of the cells would flatten every slope, so the
    figures name it at the edge instead.
    """
    cells, baselines = analysis.study.cells, analysis.baselines
    scores = cells.loc[(cells["model"] == model) & (cells["kind"] == "level"), "performance"].dropna().astype(float)
    if scores.empty:
        return 0.0, 1.0
    low, high = float(scores.min()), float(scores.max())
    spread = (high - low) or abs(high) or 1.0
    of_baselines = baselines.loc[baselines["model"] == model, "performance"].dropna().to_numpy(dtype=float)
    near = of_baselines[(of_baselines > low - spread / 2) & (of_baselines < high + spread / 2)]
    low, high = min([low, *near]), max([high, *near])
    return low - 0.08 * spread, high + 0.08 * spread


def baselines_in(panel: Panel, span: tuple[float, float]) -> tuple[pd.DataFrame, list[tuple[bool, str]]]:
    """A panel's baselines within the performance axis, and those outside as (is above, label)."""
    known = panel.baselines.dropna(subset=["performance"])
    within = known["performance"].between(*span)
    outside = set()
    for row in known[~within].to_dict("records"):
        above = bool(row["performance"] > span[1])
        outside.add((above, f"{'↑' if above else '↓'} {BASELINES[row['kind']]} {format_number(row['performance'], 3)}"))
    return known[within], sorted(outside)


def controls(analysis: Analysis) -> pd.DataFrame:
    """Every slope on the level, raw and controlled, with the columns ``group, control, slope, se``.

    A group is one strategy, side, size, model and variant. Its controls are: none; regression on
    length or label tokens (left out if the level explains more than ``COLLINEAR`` of the covariate,
    as the slope is then meaningless; length alone if the two are collinear); and the design of its
    matched or equal-token ladders.
    """
    slopes = with_settings(level_slopes(analysis))
    name_model = slopes["model"].nunique() > 1
    rows = []
    for _, row in slopes.iterrows():
        parts = [
            row["strategy"],
            row["side"],
            f"{row['size']:,.0f}",
            row["model"] if name_model else "",
            row["variant"],
        ]
        group = SEPARATOR.join(str(part) for part in parts if part)
        control = control_label(row)
        rows.append((group, control, row["slope"], row["slope_se"]))
        redundant = row["collinear_controls"] > COLLINEAR
        for name in ("length",) if redundant else ("length", "tokens"):
            if control == "unmatched" and not row[f"collinear_{name}"] > COLLINEAR:
                slope, se = row[f"slope_given_{name}"], row[f"slope_given_{name}_se"]
                rows.append((group, f"unmatched, given {name}", slope, se))
    return pd.DataFrame(rows, columns=["group", "control", "slope", "se"])


@dataclass(frozen=True)
class SlopeGrid:
    """The slope table in the paper's form.

    Attributes:
        columns: Pairs of (side, strategy).
        rows: Settings, each with its rows of ``Analysis.slopes`` by column.
    """

    columns: list[tuple[str, str]]
    rows: list[tuple[str, dict[tuple[str, str], pd.Series]]]


def slope_grid(analysis: Analysis) -> SlopeGrid:
    """Slopes on the level by setting and by side and strategy; combinations without a ladder are missing."""
    slopes = with_settings(level_slopes(analysis))
    columns = sorted({(str(row["side"]), str(row["strategy"])) for _, row in slopes.iterrows()})
    rows: dict[str, dict[tuple[str, str], pd.Series]] = {}
    for _, row in slopes.iterrows():
        rows.setdefault(str(row["setting"]), {})[str(row["side"]), str(row["strategy"])] = row
    return SlopeGrid(columns, list(rows.items()))
