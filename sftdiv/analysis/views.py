"""How a study is laid out for people: settings as rows, side and strategy as columns or panels, lines with their bands.

In: an ``Analysis``. Out: labels, panels, fitted lines and axis ranges, from which the static figures, the page and the terminal table are all
drawn, so that they cannot disagree. Nothing is computed here that a table of the analysis does not say, but for the band of a line.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.appearance import DOT, missing

SETTING = ("size", "budget", "model", "match", "universe_of", "variant")
PREDICTORS = {
    "level": "diversity level",
    "k_share": "share of unit types, k / k_max",
    "unit_entropy": "measured unit entropy (bit)",
}


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
    """A fitted line over ``x`` and its 1-sigma band, each of shape (points,)."""

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


def level_slopes(analysis: Analysis) -> pd.DataFrame:
    """The slopes against the diversity level, one row a ladder."""
    return analysis.slopes[analysis.slopes["predictor"] == "level"]


def setting_label(row: Mapping[Hashable, Any] | pd.Series, *, name_model: bool) -> str:
    """What the ladders of one table row or panel have in common, in words.

    Args:
        row: A row with the columns of ``SETTING`` and ``strategy``.
        name_model: Whether to name the model (a study with one model need not).
    """
    tokens = row["budget"] == "tokens"
    parts = [f"{row['size']:,.0f} label tokens" if tokens else f"{row['size']:,.0f} examples"]
    parts += [str(row["model"])] if name_model else []
    parts.append("unmatched" if row["match"] == "none" else f"{row['match']}-matched")
    if not missing(row["universe_of"]) and row["universe_of"] not in ("own", "", row["strategy"]):
        parts.append(f"universe of {row['universe_of']}")
    if not missing(row["variant"]) and row["variant"]:
        parts.append(str(row["variant"]))
    return DOT.join(parts)


def with_settings(slopes: pd.DataFrame) -> pd.DataFrame:
    """The slopes with a column ``setting`` (see ``setting_label``), in the order in which people read: size, model, control, side, strategy."""
    name_model = slopes["model"].nunique() > 1
    labels = [setting_label(row, name_model=name_model) for _, row in slopes.iterrows()]
    told = slopes.assign(setting=pd.Series(labels, index=slopes.index, dtype=object), _unmatched=slopes["match"] != "none")
    order = ["size", "model", "variant", "budget", "_unmatched", "match", "setting", "side", "strategy", "ladder"]
    return told.sort_values(order, kind="stable", na_position="first").drop(columns="_unmatched")


def panels(analysis: Analysis) -> list[Panel]:
    """One panel a setting and side, instruction before response, in reading order."""
    told = with_settings(analysis.slopes)
    cells = analysis.study.cells
    found = []
    for (setting, side), rows in told.groupby(["setting", "side"], sort=False):
        inside = cells[cells["ladder"].isin(rows["ladder"]) & (cells["kind"] == "level")]
        found.append(Panel(str(setting), str(side), str(rows["model"].iloc[0]), rows, inside, _baselines_of(rows, analysis.baselines)))
    return found


def _baselines_of(slopes: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """The baselines that a panel's ladders may be compared with: the same model, and for random draws the same size, budget and control."""
    row = slopes.iloc[0]
    same = baselines["model"] == row["model"]
    drawn = (baselines["size"] == row["size"]) & (baselines["budget"] == row["budget"]) & (baselines["match"] == row["match"])
    own = baselines["universe_of"].isin({*slopes["universe_of"].dropna(), *slopes["strategy"]})
    side = baselines["side"].isna() | (baselines["side"] == row["side"])
    kind = baselines["kind"]
    return baselines[same & ((kind == "base") | ((kind == "full") & own & side) | ((kind == "random") & drawn & own & side))]


def fitted_line(slope: pd.Series, x: NDArray[np.float64], *, points: int = 41) -> Line:
    """The posterior mean line of one row of ``Analysis.slopes`` and its 1-sigma band.

    The posterior variance of the line at x is ``sigma^2 / n + slope_sd^2 (x - mean x)^2``, since slope and mean are independent given sigma
    (Gelman et al., Bayesian Data Analysis, 3rd edition, 14.2).

    Args:
        slope: The row.
        x: The predictor's values in the ladder's cells, shape (n,).
        points: At how many places to draw.
    """
    grid = np.linspace(x.min(), x.max(), points)
    variance = float(slope["sigma"]) ** 2 / len(x) + (float(slope["slope_sd"]) * (grid - x.mean())) ** 2
    return Line(grid, float(slope["intercept"]) + float(slope["slope"]) * grid, np.sqrt(variance))


def performance_range(analysis: Analysis, model: str) -> tuple[float, float]:
    """The axis of performance that all panels of a model share: their level cells and the baselines near them.

    A baseline further away than the cells' own spread would flatten every slope; the figures name it at the edge instead.
    """
    cells = analysis.study.cells
    seen = cells.loc[(cells["model"] == model) & (cells["kind"] == "level"), "performance"].dropna().to_numpy(dtype=float)
    if not len(seen):
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    spread = (high - low) or abs(high) or 1.0
    beside = analysis.baselines.loc[analysis.baselines["model"] == model, "performance"].dropna().to_numpy(dtype=float)
    near = beside[(beside > low - spread / 2) & (beside < high + spread / 2)]
    low, high = min([low, *near]), max([high, *near])
    return low - 0.08 * spread, high + 0.08 * spread


def controls(analysis: Analysis) -> pd.DataFrame:
    """Every slope against the level, raw and controlled, one row each: ``group, control, slope, sd`` in reading order.

    A group is one strategy, side, size, model and variant; its controls are the slope as it is, the slopes given length and given label
    tokens (regression), and the raw slopes of its matched or equal-token ladders (design).
    """
    told = with_settings(level_slopes(analysis))
    name_model = told["model"].nunique() > 1
    rows = []
    for _, row in told.iterrows():
        group = DOT.join(
            [row["strategy"], row["side"], f"{row['size']:,.0f}", *([row["model"]] if name_model else []), row["variant"] or ""]
        )
        plain = row["match"] == "none" and row["budget"] != "tokens"
        name = "raw" if plain else (f"{row['match']}-matched" if row["match"] != "none" else "")
        name = DOT.join(part for part in (name, "equal tokens" if row["budget"] == "tokens" else "") if part)
        rows.append((group.removesuffix(DOT), name, row["slope"], row["slope_sd"]))
        if plain:
            rows.append((group.removesuffix(DOT), "given length", row["slope_given_length"], row["slope_given_length_sd"]))
            rows.append((group.removesuffix(DOT), "given label tokens", row["slope_given_tokens"], row["slope_given_tokens_sd"]))
    return pd.DataFrame(rows, columns=["group", "control", "slope", "sd"])
