"""Made-up verdicts of a judged cell, as ``verdicts.parquet`` holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ORDERS = ("candidate_first", "baseline_first")


def synthetic_verdicts(
    candidate_first, baseline_first, *, delta=None, again=None, judge="judge-1", baseline="base", prompts=None
):
    """Columns of verdicts from the candidate's preferences in both orders (prompts,).

    ``again`` are the preferences (2 orders, prompts) of a repeat; ``delta`` characters that the
    candidate writes more than 1,000.
    """
    runs = [np.stack([candidate_first, baseline_first]).astype(float)] + (
        [] if again is None else [np.asarray(again, dtype=float)]
    )
    count = runs[0].shape[1]
    keys = np.array([f"p{number:03d}" for number in range(count)]) if prompts is None else np.asarray(prompts)
    preference = np.concatenate([run[order] for run in runs for order in (0, 1)])
    order = np.tile(np.repeat(ORDERS, count), len(runs))
    times = 2 * len(runs)
    return {
        "prompt": np.tile(keys, times),
        "instruction": np.tile(keys, times),
        "source": np.full(times * count, "made-up"),
        "order": order,
        "repeat": np.repeat(np.arange(len(runs)), 2 * count),
        "preference": preference,
        "first": np.where(order == ORDERS[0], preference, 1 - preference),
        "state": np.where(np.isnan(preference), "unreadable", "read"),
        "candidate_chars": np.tile(1000 + (np.zeros(count) if delta is None else np.asarray(delta)), times).astype(
            np.int64
        ),
        "baseline_chars": np.full(times * count, 1000),
        "candidate": np.full(times * count, "cell"),
        "baseline": np.full(times * count, baseline),
        "judge": np.full(times * count, judge),
        "template": np.full(times * count, "plain"),
    }


def write_verdicts(cell: Path, verdicts) -> None:
    """Write them where the judge of a cell does."""
    folder = cell / "evaluation" / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({name: pa.array(values.tolist()) for name, values in verdicts.items()}), folder / "verdicts.parquet"
    )
