"""Whether performance is a straight line of the level, and what it does in each half of the ladder.

The input is the cells of a study. The output is one row per series: a lack-of-fit test of the line, the
quadratic coefficient, and the changes from level 0 to 1/2 and from 1/2 to 1. With replicated ladders each of them is
computed within ladders and tested over ladders. With one ladder the lack of fit is tested against the
scatter of the runs of one level, so that it concerns this ladder only, and the halves have no interval.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from sftdiv.analysis.checks import is_constant
from sftdiv.analysis.inference import mean_of, p_value
from sftdiv.analysis.multiplicity import holm
from sftdiv.analysis.series import Series, ladders_of, series_of

Floats = NDArray[np.float64]
HALVES = {"first_half": (0.0, 0.5), "second_half": (0.5, 1.0)}
SHAPE = (
    "ladder", "design", "lack_of_fit_f", "lack_of_fit_p", "lack_of_fit_p_holm",
    "quadratic", "quadratic_low", "quadratic_high", "quadratic_p",
    "first_half", "first_half_low", "first_half_high", "second_half", "second_half_low", "second_half_high",
)  # fmt: skip


def shape_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per series with at least three levels."""
    rows = []
    for label, ladder in ladders_of(cells):
        series = series_of(ladder)
        if len(np.unique(series.levels)) < 3 or is_constant(series.cells["performance"]):
            continue
        profiles, levels = _profiles(series)
        is_replicated = series.ladder_count > 1
        f, p = lack_of_fit_over_ladders(profiles, levels) if is_replicated else lack_of_fit_of_runs(series)
        row: dict[str, object] = {"ladder": label, "design": "replicated" if is_replicated else "shared"}
        row |= {"lack_of_fit_f": f, "lack_of_fit_p": p} | _quadratic(series) | _halves(profiles, levels)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(SHAPE))
    return table.assign(lack_of_fit_p_holm=holm(table["lack_of_fit_p"].to_numpy(dtype=float)))


def _profiles(series: Series) -> tuple[Floats, Floats]:
    """Mean performance of each ladder at the levels that all ladders have, shape (ladders, levels), and the levels."""
    frame = pd.DataFrame({"ladder": series.ladders, "level": series.levels, "y": series.y})
    table = frame.pivot_table(index="ladder", columns="level", values="y", aggfunc="mean").dropna(axis=1)
    return table.to_numpy(dtype=np.float64), table.columns.to_numpy(dtype=np.float64)


def lack_of_fit_over_ladders(profiles: Floats, levels: Floats) -> tuple[float, float]:
    """F test that the mean profile over ladders is a line, and its p-value.

    Deviations from the line are tested against their scatter between ladders, with the correction of the degrees of
    freedom for unequal variances and correlations (Greenhouse & Geisser 1959, Psychometrika 24).

    Args:
        profiles: Shape (ladders, levels).
        levels: Shape (levels,).
    """
    ladders, count = len(profiles), len(levels) - 2
    if ladders < 2 or count < 1:
        return math.nan, math.nan
    design = np.column_stack([np.ones_like(levels), levels])
    basis = np.linalg.qr(np.column_stack([design, np.eye(len(levels))]))[0][:, 2 : 2 + count]
    deviations = profiles @ basis
    mean = deviations.mean(axis=0)
    covariance = np.cov(deviations, rowvar=False).reshape(count, count)
    scatter = float(np.trace(covariance))
    if scatter <= 0:
        return math.nan, math.nan
    f = ladders * float(mean @ mean) / scatter
    epsilon = scatter**2 / (count * float((covariance**2).sum()))
    return f, float(stats.f.sf(f, count * epsilon, (ladders - 1) * count * epsilon))


def lack_of_fit_of_runs(series: Series) -> tuple[float, float]:
    """The classical lack-of-fit F test of a line against the scatter of runs at one level, and its p-value."""
    levels, group = np.unique(series.levels, return_inverse=True)
    means = np.bincount(group, series.y) / np.bincount(group)
    pure = float(((series.y - means[group]) ** 2).sum())
    line = np.polynomial.Polynomial.fit(series.levels, series.y, 1)
    rest = float(((series.y - line(series.levels)) ** 2).sum()) - pure
    degrees, error_degrees = len(levels) - 2, len(series) - len(levels)
    if degrees < 1 or error_degrees < 1 or pure <= 0:
        return math.nan, math.nan
    f = (rest / degrees) / (pure / error_degrees)
    return f, float(stats.f.sf(f, degrees, error_degrees))


def _quadratic(series: Series) -> dict[str, float]:
    """The coefficient of the squared level: negative where performance saturates."""
    model = series.fit(series.levels, series.levels**2)
    if model is None:
        return {}
    estimate = model.contrast(np.array([0.0, 0.0, 1.0]))
    low, high = estimate.interval()
    return {
        "quadratic": estimate.center,
        "quadratic_low": low,
        "quadratic_high": high,
        "quadratic_p": p_value(estimate),
    }


def _halves(profiles: Floats, levels: Floats) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, (start, end) in HALVES.items():
        at = [np.flatnonzero(np.isclose(levels, level)) for level in (start, end)]
        if not all(len(found) for found in at):
            continue
        changes = profiles[:, at[1][0]] - profiles[:, at[0][0]]
        row[name] = float(changes.mean())
        if len(changes) > 1:
            row[f"{name}_low"], row[f"{name}_high"] = mean_of(changes).interval()
    return row
