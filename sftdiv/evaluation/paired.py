"""How far two models differ on the same items, with the items' own difficulty taken out.

In: what two models did with each item of a task (`samples`). Out: the mean difference of each
metric, its standard error and 95 % interval. Two models find the same items hard, so the error of a
difference is often far below that of two scores side by side (Miller, "Adding Error Bars to Evals",
arXiv 2411.00640, section 4.2). It is the error from the choice of items: what another seed of
training would change is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.samples import METRIC
from sftdiv.records import SftdivError

NORMAL_95 = 1.959963984540054  # the standard normal's 97.5 % quantile


@dataclass(frozen=True)
class Difference:
    """The second model's score minus the first's, over ``items`` items; ``unpaired`` is the error if the items were not the same."""

    first: float
    second: float
    difference: float
    stderr: float
    low: float
    high: float
    unpaired: float
    items: int


def paired_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    """The mean difference of two models' values of the same items.

    The standard error is sqrt(var(second - first) / items), the variance with items - 1 (Miller,
    equation 7); the interval is the normal one. One item alone gives NaN for both.

    Args:
        first: A value an item, shape (items,).
        second: The other model's, in the same order.
    """
    items = len(first)
    apart = second - first
    several = items > 1
    stderr = float(np.sqrt(apart.var(ddof=1) / items)) if several else float("nan")
    unpaired = float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / items)) if several else float("nan")
    mean, margin = float(apart.mean()), NORMAL_95 * stderr
    return Difference(
        float(first.mean()), float(second.mean()), mean, stderr, mean - margin, mean + margin, unpaired, items
    )


def compare_cells(first: Path, second: Path) -> dict[str, Difference]:
    """Every metric of every task that two cells have in common.

    Args:
        first: A cell's folder, with ``evaluation/OPTION/TASK.parquet``.
        second: The other one's.

    Returns:
        Differences by the score's name, ``TASK.METRIC`` or ``TASK.METRIC.FILTER``.

    Raises:
        SftdivError: They have no task in common, or one was asked other items.
    """
    ours, theirs = _files(first), _files(second)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        told = "; ".join(
            f"{cell}: {', '.join(sorted(files)) or 'none'}" for cell, files in ((first, ours), (second, theirs))
        )
        raise SftdivError(f"the cells have no task in common of which the items were kept ({told})")
    return {name: found for task in shared for name, found in _compare(ours[task], theirs[task]).items()}


def _files(cell: Path) -> dict[str, Path]:
    import pyarrow.parquet as pq

    found = sorted((cell / "evaluation").glob("*/*.parquet"))
    return {path.stem: path for path in found if "item_hash" in pq.read_schema(path).names}


def _compare(first: Path, second: Path) -> dict[str, Difference]:
    ours, theirs = _values(first), _values(second)
    task, found = first.stem, {}
    for name in sorted(ours.keys() & theirs.keys()):
        a, b = ours[name], theirs[name]
        if a.keys() != b.keys():
            raise SftdivError(
                f"{task}: the cells were asked other items ({len(a)} and {len(b)}, of which {len(a.keys() & b.keys())} are the same), "
                "so that they cannot be paired; was eval.limit, or the task's data, another?"
            )
        found[f"{task}.{name}"] = paired_difference(
            np.array([a[item] for item in a]), np.array([b[item] for item in a])
        )
    return found


def _values(path: Path) -> Mapping[str, Mapping[tuple[int, str], float]]:
    """For each metric the values by item (its number and its content), where the item was given one."""
    import pyarrow.parquet as pq

    values: dict[str, dict[tuple[int, str], float]] = {}
    for row in pq.read_table(path).to_pylist():
        kind = "" if row["filter"] == "none" else f".{row['filter']}"
        for name, value in row.items():
            if name.startswith(METRIC) and value is not None:
                values.setdefault(name.removeprefix(METRIC) + kind, {})[row["item"], row["item_hash"]] = value
    return values
