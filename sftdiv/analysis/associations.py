"""Correlation of each measured diversity metric with performance, within each ladder and across the study.

The input is the cells of a study. The output is one row per (scope, side, metric), with q-values
over the metrics and sides of a scope. Replicates of ladders are the independent units, or levels
where series have one ladder each. Across ladders of different sizes, models or controls, cells
are compared within their own setting only: the mean of the setting is subtracted from both
variables, or from their ranks. This is needed because metrics such as the n-gram ratio fall with
the size of a set, whatever its diversity. Only ladder cells are used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis import correlation
from sftdiv.analysis.correlation import Correlation
from sftdiv.analysis.multiplicity import false_discovery
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import ladders_of, replicates
from sftdiv.analysis.variants import SEPARATOR, ladder_label
from sftdiv.records import SIDES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SETTING = ("size", "budget", "model", "match", "variant")
COMPARABLE = ("primary", "eval_hash", "corpus_hash")
COLUMNS = (
    "scope", "side", "metric", "n", "pearson", "pearson_low", "pearson_high", "pearson_p",
    "spearman", "spearman_p", "q",
)  # fmt: skip


def correlation_table(
    cells: pd.DataFrame,
    *,
    first: Sequence[str],
    details: Collection[str],
    notes: Notes,
) -> pd.DataFrame:
    """Correlate every metric of each side with performance in each scope.

    The scopes are ``all``, ``all`` restricted to one setting where there are several, and each
    ladder.

    Args:
        cells: Sorted cells of a study.
        first: Metrics listed before the others, in this order.
        details: Columns that another metric summarises, which are not tested separately.
        notes: Receives what cannot be computed.
    """
    metrics = measured_metrics(cells, first, details)
    rows: list[dict[str, object]] = []
    for scope, scope_cells in _scopes(cells[(cells["kind"] == "level") & cells["performance"].notna()], notes):
        settings = np.asarray(scope_cells.groupby(list(SETTING), dropna=False, sort=True).ngroup(), dtype=np.int64)
        rows += _scope_rows(scope, scope_cells, settings, metrics, notes)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def measured_metrics(cells: pd.DataFrame, first: Sequence[str], details: Collection[str]) -> list[str]:
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
    settings: Ints,
    metrics: Sequence[str],
    notes: Notes,
) -> list[dict[str, object]]:
    """The rows of one scope, with q-values over them."""
    y = cells["performance"].to_numpy(dtype=float)
    units = _Units.of(cells, settings)
    rows: list[dict[str, object]] = []
    for side in SIDES:
        for metric in metrics:
            row: dict[str, object] = {"scope": scope, "side": side, "metric": metric, "n": len(y)}
            column = f"diversity.{side}.{metric}"
            x = cells[column].to_numpy(dtype=float) if column in cells else np.full(len(y), np.nan)
            if missing := int(np.isnan(x).sum()):
                notes.add(f"{column} is not known for {missing} of {len(x)} cells: no correlation", scope)
            else:
                pearson, spearman = units.correlate(x, y)
                row |= {"pearson": pearson.value, "pearson_low": pearson.low, "pearson_high": pearson.high}
                row |= {"pearson_p": pearson.p, "spearman": spearman.value, "spearman_p": spearman.p}
            rows.append(row)
    p_values = np.array([row.get("pearson_p", np.nan) for row in rows], dtype=float)
    for row, q in zip(rows, false_discovery(p_values), strict=True):
        row["q"] = q
    return rows


@dataclass(frozen=True)
class _Units:
    """What is independent among the cells of a scope: replicates of ladders, or else levels.

    Attributes:
        settings: Setting of each cell, shape (n,).
        ladders: Replicate of each cell; None unless every series has two or more.
        levels: Series and level of each cell, shape (n,).
        one_series: Whether all cells belong to one series.
    """

    settings: Ints
    ladders: Ints | None
    levels: Ints
    one_series: bool

    @classmethod
    def of(cls, cells: pd.DataFrame, settings: Ints) -> _Units:
        names = replicates(cells)
        per_series = pd.Series(names, index=cells.index).groupby(cells["ladder"]).nunique()
        levels = np.asarray(cells.groupby(["ladder", "level"], sort=True).ngroup(), dtype=np.int64)
        return cls(settings, names if (per_series > 1).all() else None, levels, len(per_series) == 1)

    def correlate(self, x: Floats, y: Floats) -> tuple[Correlation, Correlation]:
        """Pearson and Spearman correlation, within settings where there are several."""
        pearson, spearman = (self._coefficient(x, y, ranked=ranked) for ranked in (False, True))
        return pearson, spearman

    def _coefficient(self, x: Floats, y: Floats, *, ranked: bool) -> Correlation:
        if self.ladders is not None:
            return correlation.over_ladders(x, y, ladders=self.ladders, settings=self.settings, ranked=ranked)
        return correlation.over_levels(
            x, y, levels=self.levels, settings=self.settings, ranked=ranked, with_interval=self.one_series
        )
