"""How each measured diversity metric goes with performance, within each ladder and across the study.

In: the cells of a study. Out: one row a (scope, side, metric), with q-values over the metrics x
sides of the scope. Across ladders of different sizes, models or controls, cells are compared within
their own setting only (the setting's mean is taken off both variables, or off their ranks): metrics
such as the n-gram ratio fall with the size of a set, whatever its diversity. The trade: only ladder
cells enter.
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
    """Every metric on each side, in each scope: ``all``, ``all`` of one setting where there are several, and each ladder.

    Args:
        cells: The sorted cells of a study.
        first: Metrics listed before the others, in this order.
        details: Columns that another metric summarises; as metrics of their own they would count twice.
        rng: For the bootstraps.
        resamples: Of each bootstrap.
        notes: Where what cannot be computed is told.
    """
    metrics = _metrics(cells, first, details)
    tables = []
    for scope, inside in _scopes(cells[(cells["kind"] == "level") & cells["performance"].notna()], notes):
        settings = np.asarray(inside.groupby(list(SETTING), dropna=False, sort=True).ngroup(), dtype=np.int64)
        tables.append(_scope_table(scope, inside, settings, metrics, rng=rng, resamples=resamples, notes=notes))
    rows = [row for table in tables for row in table]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _metrics(cells: pd.DataFrame, first: Sequence[str], details: Collection[str]) -> list[str]:
    """The measured metrics: ``first``, then the others by name."""
    prefixes = tuple(f"diversity.{side}." for side in SIDES)
    found = {name.split(".", 2)[2] for name in map(str, cells.columns) if name.startswith(prefixes)}
    found.difference_update(details)
    return [*(name for name in first if name in found), *sorted(found.difference(first))]


def _scopes(scored: pd.DataFrame, notes: Notes) -> Iterator[tuple[str, pd.DataFrame]]:
    """The named sets of cells that correlations are computed over."""
    judged = [inside for _, inside in scored.groupby(list(COMPARABLE), dropna=False, sort=False)]
    for inside in judged:
        several = len(judged) > 1
        scope = SEPARATOR.join(["all", *(_judged_by(inside, scored) if several else [])])
        yield scope, inside
        settings = [cells for _, cells in inside.groupby(list(SETTING), dropna=False, sort=False)]
        if len(settings) > 1:
            apart = f"{len(settings)} settings of size, model, match ..."
            notes.add(f"correlations over {scope!r} compare cells within their own setting only ({apart})")
            yield from ((SEPARATOR.join([scope, _setting(cells)]), cells) for cells in settings)
    if len(judged) > 1:
        notes.add(
            f"{len(judged)} pairs of evaluation and corpus: correlations across all cells are given for each alone"
        )
    yield from ladders_of(scored)


def _judged_by(inside: pd.DataFrame, scored: pd.DataFrame) -> Sequence[str]:
    """What tells these cells' evaluation and corpus from the others'."""
    return [f"{name}={str(inside[name].iloc[0])[:32]}" for name in COMPARABLE if scored[name].nunique(dropna=False) > 1]


def _setting(cells: pd.DataFrame) -> str:
    """A ladder's label without the strategy and the side."""
    row = {str(name): value for name, value in cells.iloc[0].items()} | {"universe_of": None}
    return SEPARATOR.join(ladder_label(row).split(SEPARATOR)[2:])


def _scope_table(
    scope: str,
    inside: pd.DataFrame,
    settings: NDArray[np.int64],
    metrics: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int,
    notes: Notes,
) -> list[dict[str, object]]:
    """The rows of one scope, with q-values over them."""
    y = inside["performance"].to_numpy(dtype=float)
    samples = correlation.resample(inside["seed"].to_numpy(), rng=rng, resamples=resamples)
    rows: list[dict[str, object]] = []
    for side in SIDES:
        for metric in metrics:
            row: dict[str, object] = {"scope": scope, "side": side, "metric": metric, "n": len(y)}
            column = f"diversity.{side}.{metric}"
            x = inside[column].to_numpy(dtype=float) if column in inside else np.full(len(y), np.nan)
            if missing := int(np.isnan(x).sum()):
                notes.add(f"{column} is not known for {missing} of {len(x)} cells: no correlation", scope)
            else:
                pearson, spearman = _both(x, y, settings, samples)
                row |= {
                    "pearson": pearson.value,
                    "pearson_low": pearson.low,
                    "pearson_high": pearson.high,
                    "pearson_p": pearson.p,
                }
                row |= {
                    "spearman": spearman.value,
                    "spearman_low": spearman.low,
                    "spearman_high": spearman.high,
                    "spearman_p": spearman.p,
                }
            rows.append(row)
    p_values = np.array([row.get("pearson_p", np.nan) for row in rows], dtype=float)
    for row, q in zip(rows, correlation.false_discovery(p_values), strict=True):
        row["q"] = q
    return rows


def _both(
    x: Floats, y: Floats, settings: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[Correlation, Correlation]:
    """Pearson and Spearman, within settings where there are several."""
    groups = len(np.unique(settings))
    if groups == 1:
        return correlation.pearson(x, y, samples), correlation.spearman(x, y, samples)
    pearson = correlation.pearson(_centred(x, settings), _centred(y, settings), samples, groups=groups)
    by_rank = [_centred(_ranks_within(values, settings), settings) for values in (x, y)]
    return pearson, correlation.pearson(by_rank[0], by_rank[1], samples, groups=groups)


def _centred(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Deviations from the mean of each one's group, (n,)."""
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]


def _ranks_within(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Ranks within each one's group as shares of its size, so that a large group's ranks weigh no more, (n,)."""
    found = np.empty_like(values)
    for group in np.unique(groups):
        inside = groups == group
        found[inside] = correlation.ranks(values[inside]) / inside.sum()
    return found
