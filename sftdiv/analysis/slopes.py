"""Slopes of performance on level, share of types and measured entropy, raw and controlled, for every series.

The input is the cells of a study. The output is one row per (series, predictor). Only ladder cells
are used. Intervals treat ladders as the independent runs or, with a single ladder, its levels (see
`inference`); the choice of benchmark items is part of them where the scores of items are known.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis import correlation
from sftdiv.analysis.checks import is_constant
from sftdiv.analysis.inference import LadderModel, p_value
from sftdiv.analysis.multiplicity import false_discovery, holm
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import Series, ladders_of, series_of
from sftdiv.analysis.student_t import explained
from sftdiv.analysis.variants import FAMILY

Floats = NDArray[np.float64]
PREDICTORS = ("level", "k_share", "unit_entropy")
COVARIATES = {
    "length": ("diversity.response.length", "mean response length"),
    "tokens": ("train.label_tokens", "number of label tokens"),
}
COLLINEAR = (
    0.9  # R^2 (VIF 10) above which a slope given a covariate rests on at most a tenth of the predictor's variance
)
SLOPE = np.array([0.0, 1.0])
COLUMNS = (
    "ladder", *FAMILY, "variant", "predictor", "design", "ladders", "n", "seeds", "levels",
    "slope", "slope_se", "degrees", "slope_low", "slope_high", "slope_p", "slope_p_holm", "slope_q", "status",
    "slope_per_sd", "items", "sigma", "intercept",
    "pearson", "pearson_low", "pearson_high", "spearman", "spearman_p",
    "slope_given_length", "slope_given_length_se", "partial_length",
    "slope_given_tokens", "slope_given_tokens_se", "partial_tokens",
    "collinear_length", "collinear_tokens", "vif_length", "vif_tokens", "collinear_controls",
)  # fmt: skip


def slope_table(cells: pd.DataFrame, *, folder: Path | None, notes: Notes) -> pd.DataFrame:
    """Regress performance on every predictor, for every series.

    Args:
        cells: Sorted cells of a study.
        folder: Study folder, for the scores of benchmark items; None for none.
        notes: Receives what cannot be computed.

    Returns:
        Table with the columns ``COLUMNS``; NaN where a number cannot be computed. ``slope_p_holm`` and
        ``slope_q`` correct over the series of one predictor.
    """
    rows = []
    for label, ladder in ladders_of(cells):
        series = series_of(ladder, folder)
        _note_design(series, label, notes)
        identity = {name: ladder[name].iloc[0] for name in (*FAMILY, "variant")}
        for predictor in PREDICTORS:
            columns = _slope_row(series, label, predictor, notes)
            rows.append({"ladder": label, **identity, "predictor": predictor, **columns})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for _, group in table.groupby("predictor", sort=False):
        p_values = group["slope_p"].to_numpy(dtype=float)
        table.loc[group.index, "slope_p_holm"] = holm(p_values)
        table.loc[group.index, "slope_q"] = false_discovery(p_values)
    return table.assign(slope_per_sd=table["slope"].astype(float) / _run_sd(cells, table))


def _run_sd(cells: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Standard deviation of performance between the runs of one series and level, pooled over comparable series."""
    ladders = cells[(cells["kind"] == "level") & cells["performance"].notna()]
    levels = ladders.groupby(["ladder", "level"], dropna=False)["performance"]
    scatter = ladders.assign(_square=(ladders["performance"] - levels.transform("mean")) ** 2, _one=1.0)
    scatter["_degrees"] = scatter["_one"] - 1 / levels.transform("size")
    comparable = ["primary", "eval_hash", "corpus_hash", "model"]
    sums = scatter.groupby(comparable, dropna=False)[["_square", "_degrees"]].transform("sum")
    degrees = sums["_degrees"].where(sums["_degrees"] > 0.5)
    sd = (sums["_square"] / degrees) ** 0.5
    sd = sd.where(sd > 0)
    by_ladder = sd.groupby(scatter["ladder"]).first()
    return table["ladder"].map(by_ladder).astype(float)


def _note_design(series: Series, label: str, notes: Notes) -> None:
    """Say which runs are independent."""
    if not len(series):
        notes.add("no cell has a performance: no slope", label)
    elif series.ladder_count == 1:
        notes.add(
            "one ladder: which types each level keeps is one draw that all runs share, so intervals hold for this "
            "ladder only, take its levels as independent, and no slope counts as a finding; replicate=0,1,2,... draws "
            "more ladders",
            label,
        )
    if len(series) and series.items is None:
        notes.add("scores of single items are not known: intervals leave out the choice of benchmark items", label)


def _slope_row(series: Series, label: str, predictor: str, notes: Notes) -> dict[str, Any]:
    """The columns of one series and predictor."""
    cells = series.cells
    row: dict[str, Any] = {
        "design": "replicated" if series.ladder_count > 1 else "shared",
        "ladders": series.ladder_count,
        "n": len(series),
        "seeds": cells["seed"].nunique(),
        "levels": cells["level"].nunique(),
    }
    x = series.column(predictor)
    if not len(x) or is_constant(cells["performance"]):  # the study has a note on it
        return row
    if predictor == "k_share" and np.isnan(x).all():  # not selected by a ladder of unit types
        return row
    if np.isnan(x).any():
        notes.add(f"{predictor} is not known for {int(np.isnan(x).sum())} of {len(x)} cells: no slope on it", label)
        return row
    model = series.fit(x)
    if model is None:
        notes.add(_why_no_line(series, x, predictor), label)
        return row
    row |= _raw(model)
    row |= _correlations(series, x)
    return row | _controlled(series, x, label, notes)


def _why_no_line(series: Series, x: Floats, predictor: str) -> str:
    if len(x) >= 3 and len(np.unique(x)) == 1:
        return f"{predictor} is the same in every cell: no slope on it"
    if series.ladder_count > 1:
        return f"fewer than two ladders have two values of {predictor}: no slope over ladders"
    levels = len(np.unique(series.levels))
    cells = f"{len(x)} scored cell{'s' if len(x) > 1 else ''} on {levels} level{'s' if levels > 1 else ''}"
    return f"{cells}: a line and its uncertainty need 3 levels of one ladder, or 2 ladders"


def _raw(model: LadderModel) -> dict[str, Any]:
    """The slope without covariates."""
    slope = model.contrast(SLOPE)
    low, high = slope.interval()
    return {
        "slope": slope.center,
        "slope_se": slope.scale,
        "degrees": slope.degrees,
        "slope_low": low,
        "slope_high": high,
        "slope_p": p_value(slope),
        "status": model.status,
        "items": 0 if model.items is None else model.items.shape[1],
        "sigma": model.residual_sd,
        "intercept": float(model.coefficients[0]),
    }


def _correlations(series: Series, x: Floats) -> dict[str, float]:
    """Pearson and Spearman correlation with their intervals."""
    settings = np.zeros(len(x), dtype=np.int64)
    row: dict[str, float] = {}
    for name, ranked in (("pearson", False), ("spearman", True)):
        if series.ladder_count > 1:
            found = correlation.over_ladders(x, series.y, ladders=series.ladders, settings=settings, ranked=ranked)
        else:
            levels = np.unique(series.levels, return_inverse=True)[1]
            found = correlation.over_levels(x, series.y, levels=levels, settings=settings, ranked=ranked)
        row |= {name: found.value} | ({} if ranked else {"pearson_low": found.low, "pearson_high": found.high})
    return row | {"spearman_p": found.p}


def _controlled(series: Series, x: Floats, label: str, notes: Notes) -> dict[str, float]:
    """Slopes given each covariate, and what the covariates share with the predictor and with each other."""
    row: dict[str, float] = {}
    known = {}
    for name, (column, words) in COVARIATES.items():
        covariate = series.column(column)
        if np.isnan(covariate).any():
            notes.add(f"the {words} of some cells is not known: no slope is controlled for it", label)
            continue
        shared = explained(x, covariate)
        if math.isnan(shared):
            notes.add(f"the {words} is the same in every cell: there is nothing to control for", label)
            continue
        known[name] = covariate
        row |= {f"collinear_{name}": shared, f"partial_{name}": correlation.partial(x, series.y, covariate)}
        row[f"vif_{name}"] = 1 / (1 - shared) if shared < 1 else math.inf
        if shared > COLLINEAR:
            advice = "use the matched ladder instead of the controlled slope"
            notes.add(f"diversity and the {words} are not separable (R^2 above {COLLINEAR}): {advice}", label)
        model = series.fit(x, covariate)
        if model is None:
            notes.add(f"no slope given the {words}: too few cells, or diversity is a linear function of it", label)
            continue
        slope = model.contrast(np.array([0.0, 1.0, 0.0]))
        row |= {f"slope_given_{name}": slope.center, f"slope_given_{name}_se": slope.scale}
    if len(known) == 2:
        row["collinear_controls"] = explained(known["length"], known["tokens"])
    return row
