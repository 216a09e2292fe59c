"""Whether a diversity metric predicts a series that it was not fitted on, and one line over all strategies.

The input is the cells of a study. Performance and predictor are taken as deviations from their mean in the series: a
metric is asked where in a ladder performance is high, not which strategy is better. The line is fitted on all series
but one and predicts the deviations of that one (leave one ladder out); ``r2_out`` is 1 less the squared errors by the
squared deviations over all left-out series, negative where the metric predicts worse than no change.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.associations import COMPARABLE, measured_metrics
from sftdiv.analysis.series import ladders_of
from sftdiv.records import SIDES

Floats = NDArray[np.float64]
AXIS = "axis."  # prefix of columns on axes that all strategies share
PREDICTION = ("predictor", "series", "n", "r2_out", "r2_in", "same_sign")
AXES = ("axis", "n", "series", "slope", "r2", "r2_level")
EQUIVALENT = ("axis", "ladder", "level", "value", "reference", "equivalent_level")


def prediction_table(cells: pd.DataFrame, *, first: Sequence[str], details: Collection[str]) -> pd.DataFrame:
    """Prediction of left-out series by the level and by every metric of each side, best first.

    Args:
        cells: Sorted cells of a study.
        first: Metrics listed before the others, in this order.
        details: Columns that another metric summarises.
    """
    scored = _largest_comparable(cells)
    metrics = measured_metrics(cells, first, details)
    columns = ["level", *(f"diversity.{side}.{metric}" for side in SIDES for metric in metrics), *axis_columns(cells)]
    rows = [row for column in columns if (row := _predict(scored, column)) is not None]
    table = pd.DataFrame(rows, columns=list(PREDICTION))
    return table.sort_values("r2_out", ascending=False, kind="stable").reset_index(drop=True)


def _largest_comparable(cells: pd.DataFrame) -> pd.DataFrame:
    """Scored ladder cells of the evaluation and corpus with most cells."""
    scored = cells[(cells["kind"] == "level") & cells["performance"].notna()]
    groups = [group for _, group in scored.groupby(list(COMPARABLE), dropna=False, sort=False)]
    return max(groups, key=len) if groups else scored


def _predict(scored: pd.DataFrame, column: str) -> tuple[str, int, int, float, float, float] | None:
    """A row of the table; None with fewer than three series that have the predictor."""
    series = [(x - x.mean(), y - y.mean()) for x, y in _pairs(scored, column)]
    if len(series) < 3:
        return None
    products, squares = np.array([[x @ y, x @ x] for x, y in series]).T
    left_out = products.sum() - products, squares.sum() - squares
    if (left_out[1] <= 0).any():
        return None
    slopes = left_out[0] / left_out[1]
    total = sum(float(y @ y) for _, y in series)
    errors = sum(float(((y - slope * x) ** 2).sum()) for slope, (x, y) in zip(slopes, series, strict=True))
    inside = products.sum() ** 2 / squares.sum() / total if total > 0 else math.nan
    own_sign = float(np.mean(np.sign(products) == np.sign(slopes)))
    outside = 1 - errors / total if total > 0 else math.nan
    return column, len(series), sum(len(y) for _, y in series), outside, float(inside), own_sign


def _pairs(scored: pd.DataFrame, column: str) -> Iterator[tuple[Floats, Floats]]:
    """Predictor and performance of each series in which the predictor is known and varies."""
    if column not in scored:
        return
    for _, ladder in ladders_of(scored):
        x = pd.to_numeric(ladder[column]).to_numpy(dtype=float)
        if not np.isnan(x).any() and np.ptp(x) > 1e-12 * np.abs(x).max():
            yield x, ladder["performance"].to_numpy(dtype=float)


def axis_columns(cells: pd.DataFrame) -> list[str]:
    """Columns on axes that all strategies share, such as ``axis.vendi``."""
    return [name for name in sorted(map(str, cells.columns)) if name.startswith(AXIS) and cells[name].notna().any()]


def axis_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One line over all series on each common axis: its slope, its R², and the R² of such a line on the level.

    Cells of different sizes, models and controls have an intercept of their own.
    """
    scored = _largest_comparable(cells)
    rows = []
    for axis in axis_columns(scored):
        known = scored[scored[axis].notna()]
        setting = np.asarray(known.groupby(["size", "budget", "model", "match"], dropna=False).ngroup())
        y = _centred(known["performance"].to_numpy(dtype=float), setting)
        x, level = (_centred(known[name].to_numpy(dtype=float), setting) for name in (axis, "level"))
        if x @ x > 0 and y @ y > 0 and level @ level > 0:
            shares = [float((v @ y) ** 2 / ((v @ v) * (y @ y))) for v in (x, level)]
            rows.append((axis, len(known), known["ladder"].nunique(), float(x @ y / (x @ x)), *shares))
    return pd.DataFrame(rows, columns=list(AXES))


def _centred(values: Floats, groups: NDArray[np.int64]) -> Floats:
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]


def equivalent_table(cells: pd.DataFrame) -> pd.DataFrame:
    """For each series and level: the level of the reference series that has the same value of a common axis.

    The reference is the first series of the same size and control; between its levels the axis is interpolated
    linearly. NaN where the reference does not reach the value.
    """
    scored = cells[cells["kind"] == "level"]
    rows = []
    for axis in axis_columns(scored):
        for _, group in scored.groupby(["size", "budget", "model", "match", "corpus_hash"], dropna=False, sort=False):
            curves = {label: ladder.groupby("level")[axis].mean().dropna() for label, ladder in ladders_of(group)}
            curves = {label: curve for label, curve in curves.items() if len(curve) > 1}
            if len(curves) < 2:
                continue
            reference, base = next(iter(curves.items()))
            for label, curve in list(curves.items())[1:]:
                for level, value in curve.items():
                    rows.append((axis, label, level, value, reference, _level_at(base, float(value))))
    return pd.DataFrame(rows, columns=list(EQUIVALENT))


def _level_at(curve: pd.Series, value: float) -> float:
    """The level at which a curve over levels has a value; NaN outside its range."""
    ordered = curve.sort_values()
    values, levels = ordered.to_numpy(dtype=float), ordered.index.to_numpy(dtype=float)
    return float(np.interp(value, values, levels, left=math.nan, right=math.nan))
