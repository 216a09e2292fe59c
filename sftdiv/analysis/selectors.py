"""Selectors side by side: scores, differences to random draws, cost, diversity, overlap, and the part of length.

The rows are the selectors without levels and level 1 of each strategy, with random draws, the full universe and the
base model beside them. A selector is compared with random draws from the same universe, of the same size, budget and
matching. The independent runs are replicates: each has its own sample of the universe (``selection.universe_share``
below 1), draw and training, so that even a deterministic selector has another subset in each. Several cells of one
replicate, such as three random draws, count as their mean. Without replicates the runs are seeds: for a deterministic
selector they differ in training alone, and the interval says nothing about other samples of the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from sftdiv.analysis.against_random import SAME, difference_of_runs
from sftdiv.analysis.inference import LEAST_LADDERS, TOO_FEW, mean_of, p_value
from sftdiv.analysis.multiplicity import holm
from sftdiv.analysis.overlap import by_name, jaccard
from sftdiv.analysis.series import DRAW_SEED, replicates
from sftdiv.analysis.student_t import StudentT, explained
from sftdiv.analysis.summaries import subset_ids
from sftdiv.analysis.variants import SEPARATOR, is_foreign
from sftdiv.storage.cell import SUBSET

SETTING = ("universe", *SAME)
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
LENGTH = (
    *("selector", *(name for name in SETTING if name != "match"), "gain", "gain_matched", "difference"),
    *("se", "low", "high", "share", "runs", "log_length"),
)


def competitors(cells: pd.DataFrame) -> pd.DataFrame:
    """The scored cells that are compared, with the columns ``label`` and ``universe``; empty without a selector.

    Args:
        cells: Cells of a study.
    """
    is_compared = (cells["kind"] == "selector") | cells["kind"].isin(BASELINES) | (cells["level"] == 1)
    compared = cells[is_compared & cells["performance"].notna()]
    if not (compared["kind"] == "selector").any():
        return compared.iloc[:0].assign(label="", universe="")
    rows = compared.to_dict("records")
    is_own = [
        row["kind"] in ("selector", "level") and not is_foreign(row["universe_of"], row["strategy"]) for row in rows
    ]
    return compared.assign(
        label=[_label(row) for row in rows],
        universe=compared["universe_of"].mask(np.array(is_own), compared["strategy"]),
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
        drawn = _random_draws(compared, setting)
        row = {"selector": label, **dict(zip(SETTING, setting, strict=True)), **_score(group)}
        if label not in BASELINES and len(drawn):
            row |= _against(group, drawn)
        rows.append(row | _cost(group) | {name: _numbers(group, column).mean() for name, column in MEASURES.items()})
    table = pd.DataFrame(rows, columns=[name for name in COMPARISON if name != "p_holm"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    order = {"_last": table["selector"].isin(BASELINES), "_matched": table["match"] != "none"}
    ordered = table.assign(**order).sort_values(
        ["_matched", "match", "_last", "difference"], ascending=[True, True, True, False], kind="stable"
    )
    return ordered[list(COMPARISON)].reset_index(drop=True)


def _random_draws(compared: pd.DataFrame, setting: list[object]) -> pd.DataFrame:
    chosen = compared["kind"] == RANDOM
    for name, value in zip(SETTING, setting, strict=True):
        chosen &= compared[name] == value
    return compared[chosen]


def by_run(cells: pd.DataFrame) -> pd.Series:
    """Mean performance of each independent run: by replicate, or by draw where there is one replicate."""
    of_replicate = replicates(cells)
    if len(np.unique(of_replicate)) > 1:
        return cells.groupby(of_replicate)["performance"].mean()
    known = DRAW_SEED in cells and cells[DRAW_SEED].notna().all()
    return cells.groupby(cells[DRAW_SEED if known else "seed"].to_numpy(dtype=np.int64))["performance"].mean()


def _paired(ours: pd.Series, theirs: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both at the runs that they share, if those are two or more; else as they are."""
    shared = ours.index.intersection(theirs.index)
    return (ours[shared], theirs[shared]) if len(shared) > 1 else (ours, theirs)


def _score(cells: pd.DataFrame) -> dict[str, float]:
    runs = by_run(cells)
    low, high = mean_of(runs.to_numpy(dtype=float)).interval() if len(runs) > 1 else (math.nan, math.nan)
    return {"runs": len(runs), "score": float(runs.mean()), "score_low": low, "score_high": high}


def _against(cells: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, object]:
    """The difference to random draws: paired by run where they share runs, else Welch's."""
    ours, theirs = _paired(by_run(cells), by_run(drawn))
    estimate = difference_of_runs(ours, theirs)
    runs = min(len(ours), len(theirs))
    return {"random": float(theirs.mean()), "difference": estimate.center, **_columns(estimate)} | {
        "p": p_value(estimate),
        "status": "" if runs >= LEAST_LADDERS else TOO_FEW,
    }


def _columns(estimate: StudentT) -> dict[str, float]:
    low, high = estimate.interval() if estimate.degrees >= 1 else (math.nan, math.nan)
    return {"se": estimate.scale, "low": low, "high": high, "degrees": estimate.degrees}


def _cost(cells: pd.DataFrame) -> dict[str, float]:
    """Seconds of units and selection in the longest run, the part on a machine with a GPU, and calls of a model."""
    seconds = _numbers(cells, "time.units").fillna(0) + _numbers(cells, "time.select")
    has_gpu = cells["train.accelerator"].isin(["cuda", "gpu"]) if "train.accelerator" in cells else False
    calls = [name for name in map(str, cells.columns) if name.startswith("units.") and name.endswith(".calls")]
    return {
        "select_seconds": seconds.max(),
        "gpu_seconds": seconds.where(has_gpu, 0.0).max() if seconds.notna().any() else math.nan,
        "llm_calls": float(cells[calls].apply(pd.to_numeric).sum(axis=1).max()),
    }


def _numbers(cells: pd.DataFrame, column: str) -> pd.Series:
    return pd.to_numeric(cells[column]) if column in cells else pd.Series(math.nan, index=cells.index)


def length_table(cells: pd.DataFrame) -> pd.DataFrame:
    """How much of each gain over random goes with length: the gain less that of the length-matched subsets.

    Matched, a selector takes from each stratum of response lengths as many examples as the universe holds, so that
    its subset is as long as a random one. ``difference`` is the gain that this takes away, paired by run; ``share``
    is its share of the gain, NaN unless the gain's interval excludes zero. Matching also keeps the selector from
    whatever else only the long (or short) examples have: the share is an upper limit for length itself.

    Args:
        cells: Cells of a study.
    """
    compared, rows = competitors(cells), []
    kept = [name for name in SETTING if name != "match"]
    selectors = compared[~compared["kind"].isin(BASELINES)]
    for (label, *setting), group in selectors.groupby(["label", *kept], dropna=False, sort=False):
        gains = {
            match: _gains(cells_of_match, compared)
            for match, cells_of_match in group.groupby("match")
            if match in ("none", "length")
        }
        if set(gains) != {"none", "length"}:
            continue
        plain, matched = _paired(gains["none"]["gain"], gains["length"]["gain"])
        if not (len(plain) and len(matched)):
            continue
        whole = mean_of(plain.to_numpy(dtype=float)) if len(plain) > 1 else None
        is_sure = whole is not None and math.prod(whole.interval()) > 0
        part = difference_of_runs(plain, matched)
        rows.append(
            {"selector": label, **dict(zip(kept, setting, strict=True)), "gain": plain.mean()}
            | {"gain_matched": matched.mean(), "difference": part.center, **_columns(part)}
            | {"share": part.center / plain.mean() if is_sure else math.nan, "runs": min(len(plain), len(matched))}
            | {"log_length": gains["none"]["log_length"].mean()}
        )
    table = pd.DataFrame(rows, columns=list(LENGTH))
    return table.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)


def _gains(cells: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Gain over random of each run that both have, and the log of the ratio of their mean response lengths."""
    drawn = _random_draws(compared, [cells[name].iloc[0] for name in SETTING])
    ours, theirs = (by_run(each) if len(each) else pd.Series(dtype=float) for each in (cells, drawn))
    lengths = [np.log(_numbers(each, MEASURES["response_tokens"]).mean()) for each in (cells, drawn)]
    return pd.DataFrame({"gain": (ours - theirs).dropna(), "log_length": lengths[0] - lengths[1]})


def length_r2(table: pd.DataFrame) -> float:
    """R² of the selectors' gains on the log of their length relative to random; NaN with fewer than three selectors.

    Args:
        table: Result of ``length_table``, or another with the columns ``gain`` and ``log_length``.
    """
    known = table.dropna(subset=["gain", "log_length"])
    return explained(known["log_length"].to_numpy(), known["gain"].to_numpy()) if len(known) > 2 else math.nan


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
