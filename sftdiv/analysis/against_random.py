"""Level 1 of each series against random draws from the same universe, of the same size, budget and matching.

At level 1 nothing is pruned: the most diverse subset differs from a random one by its draw alone, so that runs with
their own draw are independent. Where both have the same replicates (or seeds) they are compared pairwise.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.inference import LEAST_LADDERS, TOO_FEW, mean_of, p_value
from sftdiv.analysis.multiplicity import holm
from sftdiv.analysis.series import DRAW_SEED, ladders_of, replicates
from sftdiv.analysis.student_t import StudentT
from sftdiv.analysis.variants import is_foreign

Floats = NDArray[np.float64]
SAME = ("side", "size", "budget", "model", "match", "eval_hash", "corpus_hash", "primary")
AGAINST = ("ladder", "level_1", "random", "difference", "se", "low", "high", "degrees", "p", "p_holm", "runs", "status")


def random_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per series that has runs at level 1 and random draws from its universe."""
    rows = []
    for label, ladder in ladders_of(cells):
        top = ladder[(ladder["level"] == 1) & ladder["performance"].notna()]
        drawn = _draws(cells, ladder.iloc[0])
        if top.empty or drawn.empty:
            continue
        ours, theirs = _by_run(top), _by_run(drawn)
        estimate = difference_of_runs(ours, theirs)
        low, high = estimate.interval() if estimate.degrees >= 1 else (math.nan, math.nan)
        runs = min(len(ours), len(theirs))
        columns = (estimate.center, estimate.scale, low, high, estimate.degrees, p_value(estimate))
        status = "" if runs >= LEAST_LADDERS else TOO_FEW
        rows.append((label, ours.mean(), theirs.mean(), *columns, runs, status))
    table = pd.DataFrame(rows, columns=[name for name in AGAINST if name != "p_holm"])
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))[list(AGAINST)]


def _draws(cells: pd.DataFrame, series: pd.Series) -> pd.DataFrame:
    """The random draws comparable with a series."""
    foreign = is_foreign(series["universe_of"], series["strategy"])
    universe = series["universe_of"] if foreign else series["strategy"]
    chosen = (cells["kind"] == "random") & (cells["universe_of"] == universe) & cells["performance"].notna()
    for name in SAME:
        chosen &= cells[name] == series[name]
    return cells[chosen]


def _by_run(cells: pd.DataFrame) -> pd.Series:
    """Mean performance by replicate and draw, the independent runs."""
    known = DRAW_SEED in cells and cells[DRAW_SEED].notna().all()
    keys = [replicates(cells), cells[DRAW_SEED if known else "seed"].to_numpy(dtype=np.int64)]
    return cells.groupby(keys)["performance"].mean()


def difference_of_runs(ours: pd.Series, theirs: pd.Series) -> StudentT:
    """The difference of two means: paired where both have the same runs (index), else Welch's."""
    if set(ours.index) == set(theirs.index):
        differences = (ours - theirs.reindex(ours.index)).to_numpy(dtype=float)
        return mean_of(differences) if len(differences) > 1 else StudentT(float(differences[0]), math.nan, 0)
    center = float(ours.mean() - theirs.mean())
    if min(len(ours), len(theirs)) < 2:
        return StudentT(center, math.nan, 0)
    parts = np.array([values.var(ddof=1) / len(values) for values in (ours, theirs)])
    spread = float((parts**2 / [len(ours) - 1, len(theirs) - 1]).sum())
    degrees = float(parts.sum() ** 2 / spread) if spread > 0 else len(ours) + len(theirs) - 2
    return StudentT(center, math.sqrt(float(parts.sum())), degrees)
