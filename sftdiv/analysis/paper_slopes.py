"""The published slopes, with intervals: a reference to set beside the slopes of a study.

The input is ``paper_figures.csv``: the points of figures 3, 5 and 6 of Li, Li, Dong, Liu, *From Macro to Micro* (arXiv
2505.24768, AAAI 2026), win rates read off to 0.1 points, one run per level. The output is the slope of each ladder,
refitted to its points. The paper gives slopes without an uncertainty. Two are computed here: from the residuals of all
18 ladders of figure 3 together, which takes their noise to be equal, and from the seven residuals of a ladder alone,
which is honest about one run per level and wide. Both take the levels as independent, although their sets are nested.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.student_t import StudentT

Floats = NDArray[np.float64]
FILE = "paper_figures.csv"
MAIN_FIGURE = 3  # six strategy-sides x three sizes x seven levels; figures 5 and 6 are ablations
STRATEGIES = {"macro": "macro_topic", "meso": "meso_tag", "micro": "micro_token"}
LADDER = ["figure", "side", "size", "strategy", "variant"]
COLUMNS = (
    *LADDER, "levels", "slope", "slope_se", "degrees", "slope_low", "slope_high", "alone_se", "alone_low",
    "alone_high", "residual_sd", "pooled_sd", "quadratic", "quadratic_se", "quadratic_low", "quadratic_high",
)  # fmt: skip


def paper_points() -> pd.DataFrame:
    """The published points.

    Returns:
        One row per run: ``figure, side, size, strategy, variant, level, win_rate`` (in %) ``, marker``; ``variant`` is
        empty in figure 3, and ``marker`` says whether a point was seen or inferred.
    """
    points = pd.read_csv(Path(__file__).with_name(FILE), comment="#", keep_default_na=False)
    numerator, _, denominator = zip(*points["level"].str.partition("/").to_numpy(), strict=True)
    return points.assign(
        size=points["size"].str.removesuffix("k").astype(int) * 1000,
        strategy=points["granularity"].map(STRATEGIES),
        level=[float(top) / float(bottom or 1) for top, bottom in zip(numerator, denominator, strict=True)],
    ).drop(columns="granularity")


@functools.cache
def paper_slopes() -> pd.DataFrame:
    """The slope of every published ladder, in points of win rate from level 0 to level 1.

    Returns:
        The columns ``COLUMNS``, one row per ladder. ``slope_se`` and the interval use the variance pooled over the
        ladders of figure 3 and its degrees of freedom, also for the ablations; ``alone_*`` that of the ladder, with
        two degrees of freedom fewer than levels. ``residual_sd`` is that of the ladder and ``pooled_sd`` that of
        figure 3; ``quadratic`` is the coefficient of the squared level.
    """
    ladders = list(_ladders())
    main = [(degrees, variance) for row, degrees, variance in ladders if row["figure"] == MAIN_FIGURE]
    pooled_degrees = sum(degrees for degrees, _ in main)
    pooled = sum(degrees * variance for degrees, variance in main) / pooled_degrees
    rows = []
    for row, _, variance in ladders:
        se = float(row["alone_se"]) * (pooled / variance) ** 0.5
        low, high = StudentT(float(row["slope"]), se, pooled_degrees).interval()
        rows.append(
            row
            | {
                "slope_se": se,
                "degrees": pooled_degrees,
                "slope_low": low,
                "slope_high": high,
                "pooled_sd": pooled**0.5,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _ladders() -> Iterator[tuple[dict[str, float | int | str], int, float]]:
    """Columns of each ladder that need no other one, its degrees of freedom and its residual variance."""
    for key, points in paper_points().groupby(LADDER, sort=False):
        level, win_rate = points["level"].to_numpy(dtype=float), points["win_rate"].to_numpy(dtype=float)
        line, curve = _fit(level, win_rate, 1), _fit(level, win_rate, 2)
        alone_low, alone_high = line.interval()
        quadratic_low, quadratic_high = curve.interval()
        centred = level - level.mean()
        variance = line.scale**2 * float(centred @ centred)
        columns = {
            "levels": len(points),
            "slope": line.center,
            "alone_se": line.scale,
            "alone_low": alone_low,
            "alone_high": alone_high,
            "residual_sd": variance**0.5,
            "quadratic": curve.center,
            "quadratic_se": curve.scale,
            "quadratic_low": quadratic_low,
            "quadratic_high": quadratic_high,
        }
        yield dict(zip(LADDER, key, strict=True)) | columns, int(line.degrees), variance


def _fit(level: Floats, win_rate: Floats, order: int) -> StudentT:
    """The highest coefficient of a polynomial by least squares, and its standard error."""
    design = np.vander(level, order + 1)
    weights = np.linalg.pinv(design)
    residuals = win_rate - design @ (weights @ win_rate)
    degrees = len(level) - order - 1
    se = np.sqrt(float(residuals @ residuals) / degrees * float(weights[0] @ weights[0]))
    return StudentT(float(weights[0] @ win_rate), float(se), degrees)
