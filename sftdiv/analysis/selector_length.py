"""How much of a selector's gain over random draws goes with the length of the responses.

The input is a study in which selectors ran unmatched and length-matched. Matched, a selector takes from each stratum of
response lengths as many examples as the universe holds, so that its subset is as long as a random one. The gain that
this takes away goes with length.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sftdiv.analysis.against_random import difference_of_runs
from sftdiv.analysis.inference import mean_of
from sftdiv.analysis.selectors import (
    BASELINES,
    MEASURES,
    SETTING,
    common_runs,
    competitors,
    interval_columns,
    numbers,
    random_draws,
    runs_of_both,
)
from sftdiv.analysis.student_t import explained

LENGTH = (
    *("selector", *(name for name in SETTING if name != "match"), "gain", "gain_matched", "difference"),
    *("se", "low", "high", "share", "runs", "log_length"),
)


def length_table(cells: pd.DataFrame) -> pd.DataFrame:
    """How much of each gain over random goes with length: the gain less that of the length-matched subsets.

    ``difference`` is that part, paired by run; ``share`` is its share of the gain, NaN unless the gain's interval
    excludes zero. Matching also keeps the selector from whatever else only long or short examples have, so that this
    is not the effect of length alone. ``log_length`` is the log of the ratio of the unmatched response lengths.

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
        plain, matched = common_runs(gains["none"]["gain"], gains["length"]["gain"])
        if not (len(plain) and len(matched)):
            continue
        whole = mean_of(plain.to_numpy(dtype=float)) if len(plain) > 1 else None
        is_sure = whole is not None and math.prod(whole.interval()) > 0
        part = difference_of_runs(plain, matched)
        rows.append(
            {"selector": label, **dict(zip(kept, setting, strict=True)), "gain": plain.mean()}
            | {"gain_matched": matched.mean(), "difference": part.center, **interval_columns(part)}
            | {"share": part.center / plain.mean() if is_sure else math.nan, "runs": min(len(plain), len(matched))}
            | {"log_length": gains["none"]["log_length"].mean()}
        )
    table = pd.DataFrame(rows, columns=list(LENGTH))
    return table.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)


def _gains(cells: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Gain over random of each run that both have, and the log of the ratio of their mean response lengths."""
    drawn = random_draws(compared, [cells[name].iloc[0] for name in SETTING])
    if drawn.empty:
        return pd.DataFrame(columns=["gain", "log_length"], dtype=float)
    ours, theirs = runs_of_both(cells, drawn)
    lengths = [np.log(numbers(each, MEASURES["response_tokens"]).mean()) for each in (cells, drawn)]
    return pd.DataFrame({"gain": (ours - theirs).dropna(), "log_length": lengths[0] - lengths[1]})


def length_r2(table: pd.DataFrame) -> float:
    """R² of the selectors' gains on the log of their length relative to random; NaN with fewer than three selectors.

    Args:
        table: Result of ``length_table``, or another with the columns ``gain`` and ``log_length``.
    """
    known = table.dropna(subset=["gain", "log_length"])
    return explained(known["log_length"].to_numpy(), known["gain"].to_numpy()) if len(known) > 2 else math.nan
