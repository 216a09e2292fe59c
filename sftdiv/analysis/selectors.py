"""Selectors side by side: scores, differences to random draws, cost, diversity and overlap.

The rows are the selectors without levels and level 1 of each strategy, with random draws, the full universe and the
base model beside them. A selector is compared with random draws from the same universe, of the same size, budget and
matching. The independent runs are replicates: each has its own sample of the universe (``selection.universe_share``
below 1), draw and training, so that even a deterministic selector has another subset in each. Several cells of one
replicate, such as three random draws, count as their mean. Without replicates the runs are seeds: for a deterministic
selector they differ in training alone, and the interval says nothing about other samples of the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sftdiv.analysis.against_random import SAME, difference_of_runs
from sftdiv.analysis.inference import LEAST_LADDERS, TOO_FEW, mean_of, p_value
from sftdiv.analysis.multiplicity import holm
from sftdiv.analysis.overlap import by_name, jaccard
from sftdiv.analysis.series import DRAW_SEED, replicates
from sftdiv.analysis.student_t import StudentT
from sftdiv.analysis.summaries import subset_ids
from sftdiv.analysis.variants import SEPARATOR, is_foreign
from sftdiv.storage.cell import SUBSET

SETTING = ("universe_of", *SAME)
RANDOM, BASELINES = "random", ("random", "full", "base")
MEASURES = {  # column of the table -> column of the rows, averaged over runs
    "response_tokens": "diversity.response.length",
    "types": "axis.types",
    "vendi": "axis.vendi",
    "coverage": "axis.coverage",
    "pairs": "axis.true_coverage",
    "selectable": "universe",
}
COST = ("select_seconds", "gpu_seconds", "llm_calls")
COMPARISON = (
    *("selector", *SETTING, "runs", "score", "score_low", "score_high", "random"),
    *("difference", "se", "low", "high", "degrees", "p", "p_holm", "status", *COST, *MEASURES),
)


def competitors(cells: pd.DataFrame) -> pd.DataFrame:
    """The scored cells that are compared, with the column ``label``; empty without a selector.

    ``universe_of`` names the strategy where it was ``own``.

    Args:
        cells: Cells of a study.
    """
    is_compared = (cells["kind"] == "selector") | cells["kind"].isin(BASELINES) | (cells["level"] == 1)
    compared = cells[is_compared & cells["performance"].notna()]
    if not (compared["kind"] == "selector").any():
        return compared.iloc[:0].assign(label="")
    rows: list[dict[str, Any]] = [{**row} for _, row in compared.iterrows()]
    is_own = [
        row["kind"] in ("selector", "level") and not is_foreign(row["universe_of"], row["strategy"]) for row in rows
    ]
    return compared.assign(
        label=[_label(row) for row in rows],
        universe_of=compared["universe_of"].mask(np.array(is_own), compared["strategy"]),
    )


def _label(row: Mapping[str, object]) -> str:
    """Name of a row of the comparison: the selector and the settings that set it apart from others of its name."""
    if row["kind"] in BASELINES:
        return str(row["kind"])
    name = str(row["selector"]) if row["kind"] == "selector" else f"{row['strategy']}, level 1"
    settings = str(row["variant"]).replace("selection.selector.", "")
    return SEPARATOR.join(filter(None, [name, settings]))


def selector_table(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per selector and setting, by descending difference to random; baselines last. Empty without a selector.

    ``p_holm`` corrects for all differences of the table. ``select_seconds`` is the longest run: later ones read
    losses, embeddings and rankings that the first one cached.

    Args:
        cells: Cells of a study.
    """
    compared, rows = competitors(cells), []
    for (label, *setting), group in compared.groupby(["label", *SETTING], dropna=False, sort=False):
        drawn = random_draws(compared, setting)
        row = {"selector": label, **dict(zip(SETTING, setting, strict=True)), **_score(group)}
        if label not in BASELINES and len(drawn):
            row |= _against(group, drawn)
        rows.append(row | _cost(group) | {name: numbers(group, column).mean() for name, column in MEASURES.items()})
    table = pd.DataFrame(rows, columns=[name for name in COMPARISON if name != "p_holm"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    order = {"_last": table["selector"].isin(BASELINES), "_matched": table["match"] != "none"}
    ordered = table.assign(**order).sort_values(
        ["_matched", "match", "_last", "difference"], ascending=[True, True, True, False], kind="stable"
    )
    return ordered[list(COMPARISON)].reset_index(drop=True)


def random_draws(compared: pd.DataFrame, setting: Sequence[object]) -> pd.DataFrame:
    """Random draws with these values of ``SETTING``."""
    chosen = compared["kind"] == RANDOM
    for name, value in zip(SETTING, setting, strict=True):
        chosen &= compared[name] == value
    return compared[chosen]


def _has_replicates(cells: pd.DataFrame) -> bool:
    return len(np.unique(replicates(cells))) > 1


def _by_run(cells: pd.DataFrame, *, by_replicate: bool) -> pd.Series:
    """Mean performance of each independent run: by replicate, else by replicate and draw."""
    known = DRAW_SEED in cells and cells[DRAW_SEED].notna().all()
    draws = cells[DRAW_SEED if known else "seed"].to_numpy(dtype=np.int64)
    keys = [replicates(cells)] if by_replicate else [replicates(cells), draws]
    return cells.groupby(keys)["performance"].mean()


def runs_of_both(cells: pd.DataFrame, drawn: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The runs of a selector and of random draws: those that both have if these are two or more, else all."""
    by_replicate = _has_replicates(cells) and _has_replicates(drawn)
    return common_runs(_by_run(cells, by_replicate=by_replicate), _by_run(drawn, by_replicate=by_replicate))


def common_runs(ours: pd.Series, theirs: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both at the runs that they share, if those are two or more; else as they are."""
    shared = ours.index.intersection(theirs.index)
    return (ours[shared], theirs[shared]) if len(shared) > 1 else (ours, theirs)


def _score(cells: pd.DataFrame) -> dict[str, float]:
    runs = _by_run(cells, by_replicate=_has_replicates(cells))
    low, high = mean_of(runs.to_numpy(dtype=float)).interval() if len(runs) > 1 else (math.nan, math.nan)
    return {"runs": len(runs), "score": float(runs.mean()), "score_low": low, "score_high": high}


def _against(cells: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, object]:
    """The difference to random draws: paired by run where they share runs, else Welch's."""
    ours, theirs = runs_of_both(cells, drawn)
    estimate = difference_of_runs(ours, theirs)
    runs = min(len(ours), len(theirs))
    return {"random": float(theirs.mean()), "difference": estimate.center, **interval_columns(estimate)} | {
        "p": p_value(estimate),
        "status": "" if runs >= LEAST_LADDERS else TOO_FEW,
    }


def interval_columns(estimate: StudentT) -> dict[str, float]:
    """Standard error, 95 % interval and degrees of freedom of an estimate; NaN limits for a single run."""
    low, high = estimate.interval() if estimate.degrees >= 1 else (math.nan, math.nan)
    return {"se": estimate.scale, "low": low, "high": high, "degrees": estimate.degrees}


def _cost(cells: pd.DataFrame) -> dict[str, float]:
    """Seconds of units and selection in the longest run, the part on a machine with a GPU, and calls of a model."""
    seconds = numbers(cells, "time.units").fillna(0) + numbers(cells, "time.select")
    on_gpu = cells.get("train.accelerator", pd.Series("", index=cells.index)).isin(["cuda", "gpu"])
    calls = [name for name in map(str, cells.columns) if name.startswith("units.") and name.endswith(".calls")]
    return {
        "select_seconds": seconds.max(),
        "gpu_seconds": seconds.where(on_gpu, 0.0).max() if seconds.notna().any() else math.nan,
        "llm_calls": float(cells[calls].apply(pd.to_numeric).sum(axis=1).max()),
    }


def numbers(cells: pd.DataFrame, column: str) -> pd.Series:
    """A column of the rows as numbers; NaN where they lack it."""
    return pd.to_numeric(cells[column]) if column in cells else pd.Series(math.nan, index=cells.index)


def selector_overlap(cells: pd.DataFrame, folder: Path) -> dict[str, pd.DataFrame]:
    """Mean Jaccard index between the subsets of each two selectors within one replicate, by kind of matching.

    The diagonal is between different cells of one replicate, such as random draws; NaN where it has one.

    Args:
        cells: Cells of a study.
        folder: Study folder, for ``subset.parquet``.
    """
    compared = competitors(cells)
    has_subset = [(folder / name / SUBSET).exists() for name in compared["cell"]]
    compared = compared[np.array(has_subset, dtype=bool) & (compared["kind"] != "full")]
    tables = {}
    for match, group in compared.groupby("match", sort=False):
        similarity = jaccard([subset_ids(folder / name) for name in group["cell"]])
        of_replicate = replicates(group)
        together = of_replicate[:, None] == of_replicate[None, :]
        tables[str(match)] = by_name(similarity, group["label"].to_numpy(), together=together)
    return tables
