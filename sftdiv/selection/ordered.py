"""Selection by an order of preference: each stratum's examples are ordered, and a prefix fills the stratum's quota.

A selector that has no levels says in which order it takes the examples of a stratum. An order does not depend on
the size, so that the subset of a smaller size is a part of that of a larger one (exactly without matching; with
strata, up to the rounding of quotas). Quotas and token budgets are those of the ladder.

Ties need no random numbers: a corpus is in canonical order, which is that of the hashes of its examples
(`data.canonical`), and so are the rows of a stratum. Among equals an order takes the earlier row. Thus the order of
the input files decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.selection.quotas import check_fits, divide_size

TOLERANCE = 1e-9  # of a budget that fractions of a size add up to


@dataclass(frozen=True)
class Stratum:
    """The examples that one quota is taken from.

    Attributes:
        rows: Rows of the corpus, ascending: by the hash of their content. Shape (examples,).
        weights: Contribution of each to the budget (1, or its label tokens), shape (examples,).
        budget: Sum of weights at which selection stops.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    budget: float

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def most_picks(self) -> int:
        """The largest number of examples that any order takes to reach the budget."""
        reached = np.cumsum(np.sort(self.weights))
        return min(int(np.searchsorted(reached, self.budget - TOLERANCE)) + 1, len(self))

    def prefix(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """The shortest prefix of an order of positions whose weights reach the budget, or all of it."""
        if self.budget <= TOLERANCE:
            return order[:0]
        reached = np.cumsum(self.weights[order])
        return order[: int(np.searchsorted(reached, self.budget - TOLERANCE)) + 1]


def take_in_order(
    problem: SelectionProblem, order_of: Callable[[Stratum], NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """The selected rows of the corpus of each stratum, in the order of preference.

    Args:
        problem: Universe, size and weights.
        order_of: Distinct positions in a stratum in the order of preference; at least so many that their weights reach
            the stratum's budget. It is called only for a stratum of which some examples are selected and others are
            not.

    Raises:
        SftdivError: The size is larger than the universe.
    """
    universe = problem.universe
    weights = problem.weights[universe.indices]
    check_fits(problem.size, weights, universe.counts)
    is_whole = bool(np.all(weights == 1))
    quotas = divide_size(np.bincount(universe.strata, weights=weights), problem.size, whole=is_whole)
    selected, budget = [], 0.0
    for number, quota in enumerate(quotas.tolist()):
        members = universe.strata == number
        budget += quota  # minus the excess of earlier strata, since examples are selected whole
        stratum = Stratum(universe.indices[members], weights[members], budget)
        if budget <= TOLERANCE:
            order = np.empty(0, dtype=np.int64)
        elif budget >= stratum.weights.sum() - TOLERANCE:
            order = np.arange(len(stratum))
        else:
            order = order_of(stratum)
        chosen = stratum.prefix(order)
        budget -= float(stratum.weights[chosen].sum())
        selected.append(stratum.rows[chosen])
    return selected


def by_score(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Positions by descending score, ties by position, NaN last; shape (examples,)."""
    return np.argsort(-scores, kind="stable")
