"""The power table of a study: ladders needed for a slope, as it was run and with other levels, runs and items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis.inference import LadderModel
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.power import SlopeNoise, ladders_needed, spread_of
from sftdiv.analysis.series import Series, ladders_of, series_of
from sftdiv.analysis.slopes import SLOPE
from sftdiv.analysis.variance_components import estimate_components, nested_partitions

Floats = NDArray[np.float64]
POWER = ("ladder", "design", "levels", "runs", "items", "slope", "ladders", "noise_from")
FEW_LEVELS = np.array([0.0, 0.5, 1.0])


def power_table(cells: pd.DataFrame, folder: Path | None, *, slopes: Sequence[float], notes: Notes) -> pd.DataFrame:
    """One row per (series, design, slope): ladders needed for 80 % power at 5 %, two-sided.

    The designs are the one that was run, and that with three levels, with one run per ladder and level or
    twice as many, and with four times as many items. ``noise_from`` is ``ladders``, or ``levels`` if there is
    one ladder and the scatter of its levels around the line stands in for that of ladders.

    Args:
        cells: Sorted cells of a study.
        folder: Study folder, for the scores of items; None for none.
        slopes: Slopes, in performance from level 0 to level 1.
        notes: Receives what cannot be computed.
    """
    rows: list[tuple[object, ...]] = []
    for label, ladder in ladders_of(cells):
        series = series_of(ladder, folder)
        model = series.fit(series.levels) if len(series) else None
        if model is None:
            if len(series):  # else it is said that no cell has a performance
                notes.add("no line: the ladders needed for a slope are not known", label)
            continue
        if model.design == "shared":
            notes.add("one ladder: power takes the scatter of its levels around the line for that of ladders", label)
        source = "ladders" if model.design == "replicated" else "levels"
        levels, runs = np.unique(series.levels), len(series) / (model.ladders * len(np.unique(series.levels)))
        items = 0 if model.items is None else model.items.shape[1]
        noise = slope_noise(series, model, levels=levels, runs=runs)
        for design, points, count, tasks in _designs(levels, runs, items):
            per_ladder = noise.per_ladder(levels=points, runs=count)
            of_items = noise.of_items / tasks if tasks else 0.0
            for slope in slopes:
                needed = ladders_needed(slope, per_ladder=per_ladder, items=of_items)
                rows.append((label, design, len(points), count, tasks, slope, needed, source))
    return pd.DataFrame(rows, columns=list(POWER))


def slope_noise(series: Series, model: LadderModel, *, levels: Floats, runs: float) -> SlopeNoise:
    """The variance of a slope by its sources, at spread 1 of the levels.

    The variance of runs is that of draw and training within a ladder and level; what remains of the variance of the
    ladders' slopes is theirs. Where each ladder has one run per level the two are one, counted as the ladders'.
    """
    spread = spread_of(levels)
    if model.design == "replicated":
        total = float(model.by_ladder(SLOPE).var(ddof=1)) * spread
    else:
        total = model.clusters.contrast(SLOPE).scale ** 2 * spread if model.clusters else math.nan
    names, partitions = nested_partitions(series.cells)
    within = 0.0
    if names and (model.design == "shared" or len(names) > 1):
        variances, _ = estimate_components([(series.y, partitions)])
        first = 0 if model.design == "shared" else 1
        within = float(np.nansum(variances[first:]))
    of_items = model.item_variance(SLOPE)[0] * model.items.shape[1] if model.items is not None else 0.0
    return SlopeNoise(max(0.0, total - within / runs), within, of_items)


def _designs(levels: Floats, runs: float, items: int) -> list[tuple[str, Floats, float, int]]:
    designs = [("as run", levels, runs, items)]
    if len(levels) > len(FEW_LEVELS):
        designs.append(("3 levels", FEW_LEVELS, runs, items))
    if runs > 1:
        designs.append(("1 run per ladder and level", levels, 1.0, items))
    designs.append((f"{2 * runs:.3g} runs per ladder and level", levels, 2 * runs, items))
    if items:
        designs.append((f"{4 * items:,} items", levels, runs, 4 * items))
    return designs
