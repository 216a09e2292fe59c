"""Differences between the slopes of each two series that differ only in strategy or only in side.

Series with the same replicates are compared replicate by replicate: what the replicates of both share
(universe, seeds) then cancels, and the t interval over replicates is exact. Series without common replicates are taken
as independent (`student_t.difference`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from sftdiv.analysis.checks import is_constant
from sftdiv.analysis.inference import LadderModel, mean_of, p_value
from sftdiv.analysis.multiplicity import holm
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import ladders_of, replicates, series_of
from sftdiv.analysis.slopes import SLOPE
from sftdiv.analysis.student_t import StudentT, difference
from sftdiv.analysis.variants import IDENTITY, differing, identifying_settings, is_foreign

DIFFERENCES = ("a", "b", "difference", "se", "low", "high", "probability", "p", "p_holm", "paired", "status")


def difference_table(cells: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], *, notes: Notes) -> pd.DataFrame:
    """Differences between slopes on the level.

    Args:
        cells: Sorted cells of a study.
        settings: Flat settings by cell.
        notes: Receives pairs that differ in other settings too.
    """
    ladders = [(label, ladder, _level_model(ladder)) for label, ladder in ladders_of(cells)]
    shared = {label: _shared_settings(settings[str(ladder["cell"].iloc[0])]) for label, ladder, _ in ladders}
    rows = []
    for (a, cells_a, model_a), (b, cells_b, model_b) in combinations(ladders, 2):
        if model_a is None or model_b is None or not _comparable(cells_a.iloc[0], cells_b.iloc[0]):
            continue
        if shared[a] != shared[b]:
            keys = ", ".join(differing([shared[a], shared[b]])[:3])
            notes.add(
                f"not compared with a ladder of another strategy or side that also differs by {keys or 'its config'}", a
            )
            continue
        rows.append((a, b, *_compare(model_a, model_b, cells_a, cells_b)))
    table = pd.DataFrame(rows, columns=[name for name in DIFFERENCES if name != "p_holm"])
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))[list(DIFFERENCES)]


def _compare(
    a: LadderModel, b: LadderModel, cells_a: pd.DataFrame, cells_b: pd.DataFrame
) -> tuple[float, float, float, float, float, float, bool, str]:
    """Difference, standard error, interval, probability that ``a`` is larger, p-value, paired, status."""
    status = a.status or b.status
    replicates = [_replicate_slopes(model, cells) for model, cells in ((a, cells_a), (b, cells_b))]
    if replicates[0] and replicates[0].keys() == replicates[1].keys():
        result = mean_of(np.array([replicates[0][key] - replicates[1][key] for key in replicates[0]]))
        above = float(special.stdtr(result.degrees, result.center / result.scale)) if result.scale else np.nan
        return result.center, result.scale, *result.interval(), above, p_value(result), True, status
    slopes: list[StudentT] = [model.contrast(SLOPE) for model in (a, b)]
    independent = difference(*slopes)
    tail = min(independent.probability, 1 - independent.probability)
    se = float(np.hypot(slopes[0].scale, slopes[1].scale))
    return independent.mean, se, independent.low, independent.high, independent.probability, 2 * tail, False, status


def _replicate_slopes(model: LadderModel, cells: pd.DataFrame) -> dict[int, float]:
    """The slope of each ladder by its replicate; empty if the design is shared."""
    if model.design == "shared":
        return {}
    replicate = replicates(cells[cells["performance"].notna()])
    slopes = model.by_ladder(SLOPE)
    by_replicate = {int(replicate[rows[0]]): slope for (rows, _), slope in zip(model.within, slopes, strict=True)}
    return by_replicate if len(by_replicate) == len(slopes) else {}


def _level_model(ladder: pd.DataFrame) -> LadderModel | None:
    series = series_of(ladder)
    if not len(series) or is_constant(series.cells["performance"]):
        return None
    return series.fit(series.levels)


def _shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The identifying settings without those of the strategy; ``k_min`` counts types of the strategy."""
    of_strategy = ("strategy.", "universe_strategy.", "selection.k_min", "selection.selector.k_min")
    identifying = identifying_settings(settings)
    return {key: value for key, value in identifying.items() if not key.startswith(of_strategy)}


def _comparable(a: pd.Series, b: pd.Series) -> bool:
    """Whether two series differ only in strategy or only in side, according to their rows."""
    same = ["size", "budget", "model", "match", *(name for name in IDENTITY if name != "config_hash")]
    universes = [row["universe_of"] if is_foreign(row["universe_of"], row["strategy"]) else "own" for row in (a, b)]
    one_differs = (a["strategy"] == b["strategy"]) != (a["side"] == b["side"])
    return one_differs and universes[0] == universes[1] and all(a[name] == b[name] for name in same)
