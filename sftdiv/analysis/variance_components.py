"""Variance components of a run: ladder, draw and training, by the analysis of variance of nested factors.

The input is the scored ladder cells of a study. Within a series and level, cells differ by their ladder, within a
ladder by their draw, within a draw by their training. The sums of squares between successive partitions are set
equal to their expectations (Henderson's method 1 for nested factors, exact for unbalanced cells; Searle, Casella &
McCulloch 1992, Variance Components, chapter 5), pooled over series; a negative estimate is set to zero. Factors
that always change together have one component, and a factor that never varies has none.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.item_scores import item_scores
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import DRAW_SEED, TRAIN_SEED, ladder_seeds, ladders_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
COMPONENTS = ("component", "sd", "degrees", "share", "series")
FACTORS = ("ladder", "draw", "training")


def component_table(cells: pd.DataFrame, *, folder: Path | None, notes: Notes) -> pd.DataFrame:
    """Standard deviation of each component of a cell's performance, pooled over series with the same factors.

    ``items`` is the standard error of one evaluation due to the choice of its items: the spread of item scores
    where they are known, else the evaluation's own standard error. ``share`` is the component's share of the variance
    of a single run.

    Args:
        cells: Sorted cells of a study.
        folder: Study folder, for the scores of items.
        notes: Receives what cannot be computed.
    """
    groups: dict[tuple[str, ...], list[tuple[Floats, list[Ints]]]] = {}
    item_variances = []
    for label, ladder in ladders_of(cells):
        scored = ladder[ladder["performance"].notna()]
        if len(scored) < 2:
            continue
        names, partitions = nested_partitions(scored)
        if "ladder" not in " ".join(names):
            notes.add("one ladder: the variance between ladders is not known", label)
        groups.setdefault(names, []).append((scored["performance"].to_numpy(dtype=float), partitions))
        item_variances.append(_item_variance(scored, folder))
    rows: list[dict[str, object]] = []
    items = float(np.nanmean(item_variances)) if np.isfinite(item_variances).any() else math.nan
    for names, series in groups.items():
        variances, degrees = estimate_components(series)
        total = float(np.nansum([*variances, items]))
        for name, variance, count in zip((*names, "items"), (*variances, items), (*degrees, math.nan), strict=True):
            share = variance / total if total > 0 else math.nan
            sd = math.sqrt(variance) if variance >= 0 else math.nan
            rows.append({"component": name, "sd": sd, "degrees": count, "share": share, "series": len(series)})
    return pd.DataFrame(rows, columns=list(COMPONENTS))


def nested_partitions(cells: pd.DataFrame) -> tuple[tuple[str, ...], list[Ints]]:
    """The factors of a series, and its cells' groups: by level, then by level and each further factor.

    Returns:
        Names of the components, and one array of group numbers of shape (n,) more than names.
    """
    seeds = {"ladder": ladder_seeds(cells)}
    for name, column in (("draw", DRAW_SEED), ("training", TRAIN_SEED)):
        known = column in cells and cells[column].notna().all()
        seeds[name] = cells[column if known else "seed"].to_numpy(dtype=np.int64)
    partitions = [_numbered(cells["level"].to_numpy(dtype=float))]
    names: list[str] = []
    for factor in FACTORS:
        if len(np.unique(seeds[factor])) < 2:
            continue
        finer = _numbered(np.column_stack([partitions[-1], seeds[factor]]))
        if finer.max() > partitions[-1].max():
            names.append(factor)
            partitions.append(finer)
        elif names:
            names[-1] = f"{names[-1]} + {factor}"
    return tuple(names), partitions


def estimate_components(series: list[tuple[Floats, list[Ints]]]) -> tuple[Floats, Floats]:
    """Variances of nested factors and the degrees of freedom of their sums of squares, coarsest factor first.

    Args:
        series: For each series the response, shape (n,), and its partitions, coarsest first.

    Returns:
        Two arrays of shape (factors,); NaN without a degree of freedom.
    """
    count = len(series[0][1]) - 1
    squares, degrees, expected = np.zeros(count), np.zeros(count), np.zeros((count, count))
    for y, partitions in series:
        sums = [_between(y, partition) for partition in partitions]
        traces = np.array([[_trace(outer, inner) for inner in partitions[1:]] for outer in partitions])
        squares += np.diff(sums)
        expected += np.diff(traces, axis=0)
        degrees += np.diff([partition.max() + 1 for partition in partitions])
    variances = np.full(count, np.nan)
    for factor in reversed(range(count)):
        if degrees[factor] < 1:
            continue
        finer = np.nansum(expected[factor, factor + 1 :] * variances[factor + 1 :])
        variances[factor] = max(0.0, (squares[factor] - finer) / expected[factor, factor])
    return variances, degrees


def _between(y: Floats, groups: Ints) -> float:
    """Sum over groups of (sum of the group)^2 / its size."""
    return float((np.bincount(groups, y) ** 2 / np.bincount(groups)).sum())


def _trace(outer: Ints, inner: Ints) -> float:
    """Expectation of ``_between`` over ``outer`` for unit variance of ``inner``: sum of squared overlaps / size."""
    table = np.zeros((outer.max() + 1, inner.max() + 1))
    np.add.at(table, (outer, inner), 1)
    return float(((table**2).sum(axis=1) / table.sum(axis=1)).sum())


def _item_variance(cells: pd.DataFrame, folder: Path | None) -> float:
    scores = item_scores(cells, folder) if folder is not None else None
    if scores is not None:
        return float((scores.var(axis=1, ddof=1) / scores.shape[1]).mean())
    column = f"score.{cells['primary'].iloc[0]}.stderr"
    return float((pd.to_numeric(cells[column]) ** 2).mean()) if column in cells else math.nan


def _numbered(values: NDArray[np.generic]) -> Ints:
    """Number of each distinct row, from 0, shape (n,)."""
    return np.asarray(np.unique(values, axis=0, return_inverse=True)[1], dtype=np.int64).ravel()
