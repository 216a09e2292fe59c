"""Selection by one number per example, with what the selectors share that do so.

Examples without a value (NaN) are never selected; a size that only they could fill is an error. Quotas of
``selection.match`` are those of the whole universe, so that every selector fills the same strata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection, SftdivError
from sftdiv.selection.ordered import by_score, take_in_order

Values = NDArray[np.floating]


def select_by_value(
    problem: SelectionProblem,
    values: Values,
    *,
    name: str,
    missing: str,
    order: Callable[[Values], NDArray[np.int64]] = by_score,
) -> Selection:
    """The examples whose values come first, until every stratum's quota is filled.

    Args:
        problem: Universe, size and weights.
        values: Value of every example of the corpus, NaN for those that are not selected, shape (examples,).
        name: Name of the values, the prefix of their columns.
        missing: Why an example has no value, for the message.
        order: Positions in a stratum in the order of preference, given its values; those of NaN last.

    Returns:
        The selected rows, with the medians over universe and subset and the number of examples without a value.

    Raises:
        SftdivError: The universe, or a stratum, has too few examples with a value.
    """
    rows = np.concatenate(take_in_order(problem, lambda stratum: order(values[stratum.rows])))
    of_universe, of_subset = values[problem.universe.indices], values[rows]
    without = int(np.isnan(of_universe).sum())
    if problem.examples is not None and np.isnan(of_subset).any():
        raise SftdivError(
            f"{without:,} of {len(of_universe):,} examples of the universe have no {name} ({missing}), and the other "
            f"{len(of_universe) - without:,} cannot fill the size {problem.size:,.0f}"
            f"{', in every stratum of selection.match' if problem.universe.strata.any() else ''}: choose a smaller size"
        )
    columns = {"universe": _median(of_universe), "subset": _median(of_subset), "without": without}
    return Selection(rows, {name: columns})


def _median(values: Values) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def column_as_numbers(values: Sequence[Any], *, setting: str) -> NDArray[np.float64]:
    """A column of scores as numbers, NaN where it is empty, shape (examples,).

    Args:
        values: The column.
        setting: Setting that names the column, with its value, for the message.

    Raises:
        SftdivError: The column holds anything but numbers.
    """
    invalid = next((value for value in values if value is not None and not isinstance(value, (int, float))), None)
    if invalid is not None:
        raise SftdivError(f"{setting} must be a column of numbers; it holds {invalid!r:.80}")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def numbers_of(problem: SelectionProblem, column: str, *, setting: str) -> NDArray[np.float64]:
    """A column of the corpus as numbers, by the setting that names it; see `column_as_numbers`."""
    return column_as_numbers(problem.column(column), setting=f"{setting}={column}")


def positive_scores(problem: SelectionProblem, column: str, *, setting: str) -> NDArray[np.float64]:
    """A column of scores that are weights, 0 where it is empty, shape (examples,).

    Args:
        problem: The corpus.
        column: Name of the column.
        setting: Setting that names it, for the message.

    Raises:
        SftdivError: The column does not exist, or holds anything but numbers of at least 0.
    """
    scores = np.nan_to_num(numbers_of(problem, column, setting=setting), nan=0.0)
    if scores.min() < 0:
        raise SftdivError(f"{setting}={column} must hold numbers of at least 0; it holds {scores.min():g}")
    return scores
