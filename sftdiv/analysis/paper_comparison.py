"""The slopes of a study beside the published ones of the same strategy and side.

The input is the slope and shape tables of a study. The output is one row per series: its slope and the paper's, each in
its own unit and in residual standard deviations of a run. Scores of different units, models and judges share no scale:
what compares is the sign, the size against the noise of a run, and the sign of the curvature.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from sftdiv.analysis.paper_slopes import MAIN_FIGURE, paper_slopes

Row = dict[Any, Any]
OWN = ("slope", "slope_low", "slope_high", "quadratic", "quadratic_low", "quadratic_high")
NOISE = {"noise": "slope", "noise_low": "slope_low", "noise_high": "slope_high"}
BOTH, OURS, THEIRS, NEITHER = "both", "this study", "the paper", "neither"
COLUMNS = (
    "ladder", "strategy", "side", "size", "status", *OWN, *NOISE, "paper_size", *(f"paper_{name}" for name in OWN),
    "paper_alone_low", "paper_alone_high", *(f"paper_{name}" for name in NOISE), "sign", "excludes_zero", "curvature",
)  # fmt: skip


def paper_comparison(slopes: pd.DataFrame, shapes: pd.DataFrame) -> pd.DataFrame:
    """Each series beside the published ladder of its strategy and side whose size is closest by ratio.

    Args:
        slopes: ``Analysis.slopes``.
        shapes: ``Analysis.shapes``.

    Returns:
        The columns ``COLUMNS``. ``noise*`` is the slope and its interval over the residual standard deviation of a run
        around its line, pooled over the series of a model (the paper's: over its 18 ladders). ``sign`` and
        ``curvature`` say whether slopes and quadratic coefficients have one sign. Series of strategies that the paper
        does not have are left out.
    """
    published = paper_slopes()
    published = published[published["figure"] == MAIN_FIGURE]
    series = slopes[(slopes["predictor"] == "level") & slopes["slope"].notna()]
    mean_square = (series["sigma"].astype(float) ** 2).groupby(series["model"]).transform("mean")
    series = series.assign(noise_sd=mean_square**0.5)
    curves = shapes.set_index("ladder")[[name for name in OWN if name.startswith("quadratic")]]
    rows = []
    for row in series.join(curves, on="ladder").to_dict("records"):
        same = published[(published["strategy"] == row["strategy"]) & (published["side"] == row["side"])]
        if not same.empty:
            ratios = (same["size"] / max(row["size"], 1)).map(lambda ratio: abs(math.log(ratio)))
            rows.append(_beside(row, same.loc[ratios.idxmin()].to_dict()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _beside(ours: Row, theirs: Row) -> Row:
    columns = {name: ours[name] for name in ("ladder", "strategy", "side", "size", "status", *OWN)}
    columns |= {f"paper_{name}": theirs[name] for name in ("size", *OWN, "alone_low", "alone_high")}
    for prefix, row, sd in (("", ours, ours["noise_sd"]), ("paper_", theirs, theirs["pooled_sd"])):
        columns |= {f"{prefix}{name}": row[end] / sd if sd > 0 else math.nan for name, end in NOISE.items()}
    return columns | {
        "sign": _agreement(ours["slope"], theirs["slope"]),
        "excludes_zero": _excluding(_excludes_zero(ours), _excludes_zero(theirs)),
        "curvature": _agreement(ours["quadratic"], theirs["quadratic"]),
    }


def _agreement(ours: float, theirs: float) -> str:
    """Whether two numbers have one sign; empty if one is not known."""
    if math.isnan(ours) or math.isnan(theirs):
        return ""
    return "same" if (ours > 0) == (theirs > 0) else "opposite"


def _excludes_zero(row: Row) -> bool:
    return bool(row["slope_low"] > 0 or row["slope_high"] < 0)


def _excluding(ours: bool, theirs: bool) -> str:
    """Whose 95 % interval excludes zero."""
    if ours and theirs:
        return BOTH
    return OURS if ours else THEIRS if theirs else NEITHER
