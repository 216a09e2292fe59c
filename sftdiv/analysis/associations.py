"""Correlation of each measured diversity metric with performance, within each ladder and across the study.

The input is the cells of a study. The output is one row per (scope, side, metric), with q-values
over the metrics and sides of a scope. Across ladders of different sizes, models or controls, cells
are compared within their own setting only: the mean of the setting is subtracted from both
variables, or from their ranks. This is needed because metrics such as the n-gram ratio fall with
the size of a set, whatever its diversity. Only ladder cells are used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis import correlation
from sftdiv.analysis.correlation import Correlation
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.slopes import ladders_of
from sftdiv.analysis.variants import SEPARATOR, ladder_label
from sftdiv.records import SIDES

Floats = NDArray[np.float64]
SETTING = ("size", "budget", "model", "match", "variant")
COMPARABLE = ("primary", "eval_hash", "corpus_hash")
COLUMNS = (
    "scope", "side", "metric", "n", "pearson", "pearson_low", "pearson_high", "pearson_p",
    "spearman", "spearman_low", "spearman_high", "spearman_p", "q",
)  # fmt: skip


def correlation_table(
    cells: pd.DataFrame,
    *,
    first: Sequence[str],
    details: Collection[str],
    rng: np.random.Generator,
    resamples: int,
    notes: Notes,
) -> pd.DataFrame:
    """Correlate every metric of each side with performance in each scope.

    The scopes are ``all``, ``all`` restricted to one setting where there are several, and each
    ladder.

    Args:
        cells: Sorted cells of a study.
        first: Metrics listed before the others, in this order.
        details: Columns that another metric summarises, which are not tested separately.
        rng: Random generator of the bootstraps.
        resamples: Number of samples in each bootstrap.
        notes: Receives what cannot be computed.
    """
    metrics = _metrics(cells, first, details)
    rows: list[dict[str, object]] = []
    for scope, scope_cells in _scopes(cells[(cells["kind"] == "level") & cells["performance"].notna()], notes):
        settings = np.asarray(scope_cells.groupby(list(SETTING), dropna=False, sort=True).ngroup(), dtype=np.int64)
        rows += _scope_rows(scope, scope_cells, settings, metrics, rng=rng, resamples=resamples, notes=notes)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _metrics(cells: pd.DataFrame, first: Sequence[str], details: Collection[str]) -> list[str]:
    """The measured metrics: those of ``first``, then the others by name."""
    prefixes = tuple(f"diversity.{side}." for side in SIDES)
    measured = {name.split(".", 2)[2] for name in map(str, cells.columns) if name.startswith(prefixes)}
    measured.difference_update(details)
    return [*(name for name in first if name in measured), *sorted(measured.difference(first))]


def _scopes(scored: pd.DataFrame, notes: Notes) -> Iterator[tuple[str, pd.DataFrame]]:
    """Named sets of cells over which correlations are computed."""
    comparable = [group for _, group in scored.groupby(list(COMPARABLE), dropna=False, sort=False)]
    for group in comparable:
        scope = SEPARATOR.join(["all", *(_evaluation_names(group, scored) if len(comparable) > 1 else [])])
        yield scope, group
        settings = [cells for _, cells in group.groupby(list(SETTING), dropna=False, sort=False)]
        if len(settings) > 1:
            detail = f"{len(settings)} settings of size, model, match ..."
            notes.add(f"correlations over {scope!r} compare cells within their own setting only ({detail})")
            yield from ((SEPARATOR.join([scope, _setting(cells)]), cells) for cells in settings)
    if len(comparable) > 1:
        notes.add(
            f"{len(comparable)} pairs of evaluation and corpus: correlations across all cells are computed separately"
        )
    yield from ladders_of(scored)


def _evaluation_names(cells: pd.DataFrame, scored: pd.DataFrame) -> Sequence[str]:
    """What distinguishes the evaluation and corpus of these cells from the others."""
    return [f"{name}={str(cells[name].iloc[0])[:32]}" for name in COMPARABLE if scored[name].nunique(dropna=False) > 1]


def _setting(cells: pd.DataFrame) -> str:
    """The label of a ladder without strategy and side."""
    row = {str(name): value for name, value in cells.iloc[0].items()} | {"universe_of": None}
    return SEPARATOR.join(ladder_label(row).split(SEPARATOR)[2:])


def _scope_rows(
    scope: str,
    cells: pd.DataFrame,
    settings: NDArray[np.int64],
    metrics: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int,
    notes: Notes,
) -> list[dict[str, object]]:
    """The rows of one scope, with q-values over them."""
    y = cells["performance"].to_numpy(dtype=float)
    samples = correlation.resample(cells["seed"].to_numpy(), rng=rng, resamples=resamples)
    rows: list[dict[str, object]] = []
    for side in SIDES:
        for metric in metrics:
            row: dict[str, object] = {"scope": scope, "side": side, "metric": metric, "n": len(y)}
            column = f"diversity.{side}.{metric}"
            x = cells[column].to_numpy(dtype=float) if column in cells else np.full(len(y), np.nan)
            if missing := int(np.isnan(x).sum()):
                notes.add(f"{column} is not known for {missing} of {len(x)} cells: no correlation", scope)
            else:
                pearson, spearman = _both(x, y, settings, samples)
                row |= _columns("pearson", pearson) | _columns("spearman", spearman)
            rows.append(row)
    p_values = np.array([row.get("pearson_p", np.nan) for row in rows], dtype=float)
    for row, q in zip(rows, correlation.false_discovery(p_values), strict=True):
        row["q"] = q
    return rows


def _columns(name: str, result: Correlation) -> dict[str, float]:
    return {name: result.value, f"{name}_low": result.low, f"{name}_high": result.high, f"{name}_p": result.p}


def _both(
    x: Floats, y: Floats, settings: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[Correlation, Correlation]:
    """Pearson and Spearman correlation, within settings where there are several."""
    groups = len(np.unique(settings))
    if groups == 1:
        return correlation.pearson(x, y, samples), correlation.spearman(x, y, samples)
    pearson = correlation.pearson(_centred(x, settings), _centred(y, settings), samples, groups=groups)
    x_ranks, y_ranks = (_centred(_ranks_within(values, settings), settings) for values in (x, y))
    return pearson, correlation.pearson(x_ranks, y_ranks, samples, groups=groups)


def _centred(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Deviations from the group mean, shape (n,)."""
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]


def _ranks_within(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Ranks within the group divided by its size, so that large groups do not weigh more, shape (n,)."""
    ranks = np.empty_like(values)
    for group in np.unique(groups):
        members = groups == group
        ranks[members] = correlation.ranks(values[members]) / members.sum()
    return ranks
