"""Paired difference between two models on the same benchmark items.

The results per item of two cells (`samples`) come in; the mean difference of each metric, its
standard error and 95 % interval go out. Two models find the same items hard, so the error of a
difference is often far below that of two separate scores (Miller, "Adding Error Bars to Evals", arXiv
2411.00640, section 4.2). It is the error due to the choice of items; variation between training seeds
is not included. Scores that are right or wrong also have McNemar's exact test, which needs no normal
approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.sample_means import macro_mean
from sftdiv.evaluation.samples import METRIC, STRATUM
from sftdiv.records import SftdivError
from sftdiv.storage.cell import cell_file
from sftdiv.storage.validate import did_you_mean
from sftdiv.text.lines import first_line

Item = tuple[int, str]  # number and content hash
NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Difference:
    """Difference of two models' mean scores over the same items; where these have strata, means over the strata's.

    Attributes:
        first: Mean score of the first model.
        second: Mean score of the second model.
        difference: ``second - first``.
        stderr: Paired standard error of the difference.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        unpaired: Standard error if the items were not the same.
        items: Number of items.
        only_first: Number of items that only the first model has right; None unless all values are 0 or 1.
        only_second: Number of items that only the second model has right.
        exact_p: Two-sided p-value of `mcnemar_exact`.
    """

    first: float
    second: float
    difference: float
    stderr: float
    low: float
    high: float
    unpaired: float
    items: int
    only_first: int | None = None
    only_second: int | None = None
    exact_p: float | None = None


def paired_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], strata: Sequence[str] | None = None
) -> Difference:
    """The mean difference of two models' values of the same items.

    The standard error is sqrt(var(second - first) / items), the variance with items - 1 (Miller,
    equation 7); the interval is the normal one. A single item gives NaN for both.

    Args:
        first: Values of the first model, shape (items,).
        second: Values of the second model, in the same order, shape (items,).
        strata: Stratum of each item; means are then over the strata's means, with the error of `macro_mean`.
    """
    stratum_of = np.zeros(len(first)) if strata is None else np.unique(strata, return_inverse=True)[1]
    masks = [stratum_of == stratum for stratum in np.unique(stratum_of)]
    ours, theirs, change = (macro_mean([values[mask] for mask in masks]) for values in (first, second, second - first))
    differences, margin = second - first, NORMAL_95 * change.stderr
    only_first = only_second = exact_p = None
    if np.isin([first, second], (0.0, 1.0)).all():
        only_first, only_second = int((differences < 0).sum()), int((differences > 0).sum())
        exact_p = mcnemar_exact(only_first, only_second)
    return Difference(
        first=ours.value,
        second=theirs.value,
        difference=change.value,
        stderr=change.stderr,
        low=change.value - margin,
        high=change.value + margin,
        unpaired=math.hypot(ours.stderr, theirs.stderr),
        items=len(first),
        only_first=only_first,
        only_second=only_second,
        exact_p=exact_p,
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Exact McNemar test of two models that are equally often right on the same items.

    Given the discordant items, those that only one model has right, their split is binomial with probability 1/2
    (McNemar 1947, Psychometrika 12, 153-157). Without discordant items the p-value is 1.

    Args:
        only_first: Number of items that only the first model has right.
        only_second: Number of items that only the second model has right.

    Returns:
        Two-sided p-value.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def compare_cells(first: Path, second: Path, *, tasks: Sequence[str] | None = None) -> dict[str, Difference]:
    """Differences of every metric of every task that two cells have in common.

    Args:
        first: Folder of a cell, with ``evaluation/OPTION/TASK.parquet``.
        second: Folder of the other cell.
        tasks: Names of tasks or groups; None for all.

    Returns:
        Differences by score name, ``TASK.METRIC`` or ``TASK.METRIC.FILTER``.

    Raises:
        SftdivError: If the cells have no task in common, or a task with different items, or a file is damaged.
    """
    first_files, second_files = _sample_files(first), _sample_files(second)
    shared = sorted(first_files.keys() & second_files.keys())
    if not shared:
        cells = ((first, first_files), (second, second_files))
        listing = "; ".join(f"{cell}: {', '.join(sorted(files)) or 'none'}" for cell, files in cells)
        raise SftdivError(f"the cells have no task in common with results per item ({listing})")
    for task in tasks or ():
        if task not in shared:
            raise SftdivError(f"the cells have no task {task!r} in common.{did_you_mean(task, shared)}")
    differences: dict[str, Difference] = {}
    for task in tasks or shared:
        differences |= _compare_task(first_files[task], second_files[task])
    return differences


def _sample_files(cell: Path) -> dict[str, Path]:
    """Files with results per item, by task."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted((cell / "evaluation").glob("*/*.parquet"))
    paths = [cell_file(cell, path.relative_to(cell).as_posix()) for path in paths]
    try:
        return {path.stem: path for path in paths if "item_hash" in pq.read_schema(path).names}
    except (pa.ArrowException, OSError) as error:  # of a cell from before there were digests
        raise SftdivError(f"{cell}: results per item are damaged ({first_line(error)}); evaluate it again") from error


def _compare_task(first: Path, second: Path) -> dict[str, Difference]:
    (first_metrics, strata), (second_metrics, _) = _metric_values(first), _metric_values(second)
    task, differences = first.stem, {}
    for name in sorted(first_metrics.keys() & second_metrics.keys()):
        ours, theirs = first_metrics[name], second_metrics[name]
        if ours.keys() != theirs.keys():
            raise SftdivError(
                f"{task}: the cells have other items ({len(ours)} and {len(theirs)}, of which "
                f"{len(ours.keys() & theirs.keys())} are the same) and cannot be paired; did eval.limit or the task's "
                "data differ?"
            )
        differences[f"{task}.{name}"] = paired_difference(
            np.array(list(ours.values())),
            np.array([theirs[item] for item in ours]),
            [strata[item] for item in ours] if strata else None,
        )
    return differences


def _metric_values(path: Path) -> tuple[dict[str, dict[Item, float]], dict[Item, str]]:
    """Values of each metric by item, where an item has one, and the items' strata, where they have some."""
    import pyarrow.parquet as pq

    values: dict[str, dict[Item, float]] = {}
    strata: dict[Item, str] = {}
    for row in pq.read_table(path).to_pylist():
        item = row["item"], row["item_hash"]
        suffix = "" if row["filter"] == "none" else f".{row['filter']}"
        if STRATUM in row:
            strata[item] = row[STRATUM]
        for column, value in row.items():
            if column.startswith(METRIC) and value is not None:
                values.setdefault(column.removeprefix(METRIC) + suffix, {})[item] = value
    return values, strata
