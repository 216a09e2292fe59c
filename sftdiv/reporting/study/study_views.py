"""How a study is laid out for people: settings as rows, side and strategy as columns or panels, lines with their bands.

In: an ``Analysis``. Out: labels, panels, fitted lines and axis ranges, from which the static
figures, the page and the terminal table are all drawn, so that they cannot disagree. Nothing is
computed here that a table of the analysis does not say, but for the band of a line.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.regression import fit_line
from sftdiv.analysis.slopes import COLLINEAR
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
    """Ladders drawn on one pair of axes: one side, one setting; ``slopes`` holds their rows of ``Analysis.slopes`` (all predictors)."""

    setting: str
    side: str
    model: str
    slopes: pd.DataFrame
    cells: pd.DataFrame
    baselines: pd.DataFrame


@dataclass(frozen=True)
class Line:
    """A fitted line over ``x`` and the ends of its 1-sigma band, each of shape (points,)."""

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def level_slopes(analysis: Analysis) -> pd.DataFrame:
    """The slopes against the diversity level, one row a ladder."""
    return analysis.slopes[analysis.slopes["predictor"] == "level"]


def excludes_zero(slope: pd.Series) -> bool:
    """Whether the 95 % interval of one row of ``Analysis.slopes`` leaves out zero."""
    return bool(slope["slope_low"] > 0 or slope["slope_high"] < 0)


def setting_label(row: Mapping[Hashable, Any] | pd.Series, *, name_model: bool) -> str:
    """What the ladders of one table row or panel have in common, in words.

    Args:
        row: Has ``variants.FAMILY`` and ``variant``.
        name_model: Whether to name the model (a study with one model need not).
    """
    parts = [f"{row['size']:,.0f}", *([str(row["model"])] if name_model else []), control_label(row)]
    parts += [f"universe of {row['universe_of']}"] if is_foreign(row["universe_of"], row["strategy"]) else []
    parts += [str(row["variant"])] if row["variant"] else []
    return SEPARATOR.join(parts)


def control_label(row: Mapping[Hashable, Any] | pd.Series) -> str:
    """What a design holds fixed, in words: ``unmatched``, ``length-matched``, ``unmatched · equal tokens`` ..."""
    matched = "unmatched" if row["match"] == "none" else f"{row['match']}-matched"
    return f"{matched}{SEPARATOR}equal tokens" if row["budget"] == "tokens" else matched


def with_settings(slopes: pd.DataFrame) -> pd.DataFrame:
    """The slopes with a column ``setting`` (see ``setting_label``), in reading order: size, model, control, side, strategy."""
    name_model = slopes["model"].nunique() > 1
    labels = [setting_label(row, name_model=name_model) for _, row in slopes.iterrows()]
    told = slopes.assign(
        setting=pd.Series(labels, index=slopes.index, dtype=object), _unmatched=slopes["match"] != "none"
    )
    order = ["size", "model", "variant", "budget", "_unmatched", "match", "setting", "side", "strategy", "ladder"]
    return told.sort_values(order, kind="stable", na_position="first").drop(columns="_unmatched")


def panels(analysis: Analysis) -> list[Panel]:
    """One panel a setting and side, instruction before response, in reading order."""
    told = with_settings(analysis.slopes)
    cells = analysis.study.cells
    found = []
    for (setting, side), rows in told.groupby(["setting", "side"], sort=False):
        inside = cells[cells["ladder"].isin(rows["ladder"]) & (cells["kind"] == "level")]
        found.append(
            Panel(
                str(setting),
                str(side),
                str(rows["model"].iloc[0]),
                rows,
                inside,
                _baselines_of(rows, analysis.baselines),
            )
        )
    return found


def _baselines_of(slopes: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """The baselines that a panel's ladders may be compared with: the same model, and for random draws the same size, budget and control."""
    row = slopes.iloc[0]
    same = baselines["model"] == row["model"]
    drawn = (
        (baselines["size"] == row["size"])
        & (baselines["budget"] == row["budget"])
        & (baselines["match"] == row["match"])
    )
    own = baselines["universe_of"].isin({*slopes["universe_of"].dropna(), *slopes["strategy"]})
    same &= baselines["variant"].isin({"", *slopes["variant"]})
    side = baselines["side"].isna() | (baselines["side"] == row["side"])
    kind = baselines["kind"]
    return baselines[
        same & ((kind == "base") | ((kind == "full") & own & side) | ((kind == "random") & drawn & own & side))
    ]


def score_name(analysis: Analysis) -> str:
    """What the axis of performance is called: the last part of the score's name where there is one score, negated where less is better."""
    cells = analysis.study.cells
    names = cells["primary"].dropna().unique()
    if len(names) != 1:
        return "performance"
    return f"{'' if cells['higher_is_better'].all() else 'minus '}{str(names[0]).rsplit('.', 1)[-1]}"


def fitted_line(cells: pd.DataFrame, predictor: str, *, points: int = 41) -> Line | None:
    """The posterior mean line through the cells of one ladder and its 1-sigma band (the central 68 % at each place); None without a fit.

    Args:
        cells: The ladder's cells; neither the predictor nor ``performance`` is missing in any.
        predictor: A column, a key of ``PREDICTORS``.
        points: At how many places to draw.
    """
    x = cells[predictor].to_numpy(dtype=float)
    fit = fit_line(x, cells["performance"].to_numpy(dtype=float))
    if fit is None:
        return None
    grid = np.linspace(x.min(), x.max(), points)
    return Line(grid, *fit.band(grid))


def performance_range(analysis: Analysis, model: str) -> tuple[float, float]:
    """The axis of performance that all panels of a model share: their level cells and the baselines near them.

    A baseline further away than the cells' own spread would flatten every slope; the figures name
    it at the edge instead.
    """
    cells = analysis.study.cells
    seen = (
        cells.loc[(cells["model"] == model) & (cells["kind"] == "level"), "performance"].dropna().to_numpy(dtype=float)
    )
    if not len(seen):
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    spread = (high - low) or abs(high) or 1.0
    beside = analysis.baselines.loc[analysis.baselines["model"] == model, "performance"].dropna().to_numpy(dtype=float)
    near = beside[(beside > low - spread / 2) & (beside < high + spread / 2)]
    low, high = min([low, *near]), max([high, *near])
    return low - 0.08 * spread, high + 0.08 * spread


def baselines_in(panel: Panel, span: tuple[float, float]) -> tuple[pd.DataFrame, list[tuple[bool, str]]]:
    """A panel's baselines within the axis, and those beyond it as (is above, words), which stand at its edge."""
    known = panel.baselines.dropna(subset=["performance"])
    within = known["performance"].between(*span)
    beyond = set()
    for row in known[~within].to_dict("records"):
        above = bool(row["performance"] > span[1])
        beyond.add((above, f"{'↑' if above else '↓'} {BASELINES[row['kind']]} {format_number(row['performance'], 3)}"))
    return known[within], sorted(beyond)


def controls(analysis: Analysis) -> pd.DataFrame:
    """Every slope against the level, raw and controlled, one row each: ``group, control, slope, sd`` in reading order.

    A group is one strategy, side, size, model and variant; its controls are the slope as it is, the
    slopes given length and given label tokens (regression; left out where the level explains over
    ``COLLINEAR`` of the covariate, for then the number says nothing), and the slopes of its matched
    or equal-token ladders (design).
    """
    told = with_settings(level_slopes(analysis))
    name_model = told["model"].nunique() > 1
    rows = []
    for _, row in told.iterrows():
        model, variant = [str(row["model"])] if name_model else [], [str(row["variant"])] if row["variant"] else []
        group = SEPARATOR.join([row["strategy"], row["side"], f"{row['size']:,.0f}", *model, *variant])
        control = control_label(row)
        rows.append((group, control, row["slope"], row["slope_sd"]))
        for name in ("length", "tokens") if control == "unmatched" else ():
            if not row[f"collinear_{name}"] > COLLINEAR:
                rows.append(
                    (group, f"unmatched, given {name}", row[f"slope_given_{name}"], row[f"slope_given_{name}_sd"])
                )
    return pd.DataFrame(rows, columns=["group", "control", "slope", "sd"])


@dataclass(frozen=True)
class SlopeGrid:
    """The slope table in the paper's form: ``columns`` are (side, strategy), ``rows`` settings; a field is a row of ``Analysis.slopes``."""

    columns: list[tuple[str, str]]
    rows: list[tuple[str, dict[tuple[str, str], pd.Series]]]


def slope_grid(analysis: Analysis) -> SlopeGrid:
    """Slopes against the level, settings (size, controls) down, side and strategy across; a field is missing where no ladder was run."""
    told = with_settings(level_slopes(analysis))
    columns = sorted({(str(row["side"]), str(row["strategy"])) for _, row in told.iterrows()})
    rows: dict[str, dict[tuple[str, str], pd.Series]] = {}
    for _, row in told.iterrows():
        rows.setdefault(str(row["setting"]), {})[str(row["side"]), str(row["strategy"])] = row
    return SlopeGrid(columns, list(rows.items()))
