"""The scored cells of one series (strategy, side, size, control ...) as arrays, and the models fitted to them.

A series is what the tables call by its label. It consists of one or more ladders: cells whose types were pruned in
the same order, ``seed.ladder`` in their rows. Rows without that column were made before ladders could be
replicated: all cells of their series share one ladder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.inference import LadderModel, fit_ladders
from sftdiv.analysis.item_scores import item_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LADDER_SEED, DRAW_SEED, TRAIN_SEED, REPLICATE = "seed.ladder", "seed.draw", "seed.train", "replicate"
SHARED = -1  # ladder of rows that name none


@dataclass(frozen=True)
class Series:
    """Cells of one series that have a performance.

    Attributes:
        cells: Their rows.
        y: Performance, shape (n,).
        levels: Level, shape (n,).
        ladders: Ladder, shape (n,).
        items: Score of each item, shape (n, items), if known.
    """

    cells: pd.DataFrame
    y: Floats
    levels: Floats
    ladders: Ints
    items: Floats | None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def ladder_count(self) -> int:
        """Number of ladders."""
        return len(np.unique(self.ladders))

    def column(self, name: str) -> Floats:
        """A column of the cells, shape (n,); NaN where the rows lack it."""
        if name not in self.cells:
            return np.full(len(self.cells), np.nan)
        return pd.to_numeric(self.cells[name]).to_numpy(dtype=float)

    def fit(self, *predictors: Floats) -> LadderModel | None:
        """A linear model of performance on predictors, each of shape (n,); see ``inference.fit_ladders``."""
        return fit_ladders(
            np.column_stack(predictors), self.y, ladders=self.ladders, levels=self.levels, items=self.items
        )

    def where(self, chosen: NDArray[np.bool_]) -> Series:
        """Some of the cells, by a mask of shape (n,)."""
        items = None if self.items is None else self.items[chosen]
        return replace(
            self,
            cells=self.cells[chosen],
            y=self.y[chosen],
            levels=self.levels[chosen],
            ladders=self.ladders[chosen],
            items=items,
        )


def ladders_of(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Label and cells of each series, in the order of the study."""
    for label, ladder in cells[cells["kind"] == "level"].groupby("ladder", sort=False):
        yield str(label), ladder


def ladder_seeds(cells: pd.DataFrame) -> Ints:
    """The ladder of each cell, shape (n,); ``SHARED`` where the row names none."""
    if LADDER_SEED not in cells:
        return np.full(len(cells), SHARED, dtype=np.int64)
    return pd.to_numeric(cells[LADDER_SEED]).fillna(SHARED).to_numpy(dtype=np.int64)


def replicates(cells: pd.DataFrame) -> Ints:
    """The replicate of each cell, which series share, shape (n,): ``replicate``, or the ladder where rows lack it."""
    if REPLICATE in cells and cells[REPLICATE].notna().all():
        return cells[REPLICATE].to_numpy(dtype=np.int64)
    return ladder_seeds(cells)


def series_of(cells: pd.DataFrame, folder: Path | None = None) -> Series:
    """The scored cells of one series.

    Args:
        cells: Cells of the series.
        folder: Study folder, for the scores of items; None for no items.
    """
    scored = cells[cells["performance"].notna()]
    return Series(
        scored,
        scored["performance"].to_numpy(dtype=float),
        scored["level"].to_numpy(dtype=float),
        ladder_seeds(scored),
        item_scores(scored, folder) if folder is not None else None,
    )
