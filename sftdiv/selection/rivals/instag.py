"""InsTag's complexity-first diverse sampling: the examples with the most tags, each of which adds a tag.

Formula: examples in the order of their number of tags, most first. A round passes over those that remain and takes
each that has a tag which the round has not taken yet; then a new round starts without tags.
Source: Lu et al. 2023 (arXiv 2308.07074), algorithm 1.
Complexity: near-linear in the non-zeros of the unit matrix, whatever the number of rounds (`rounds_of_new_types`).
Needs: units of any strategy; the paper's are tags (``strategy=meso_tag``).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.incidence import incidence
from sftdiv.selection.ordered import take_in_order


@dataclass(frozen=True, kw_only=True)
class InstagSelector:
    """Selects complex examples first, each with a new type."""

    uses_level: ClassVar[bool] = False

    def identity(self) -> dict[str, Any]:
        """The kind."""
        return {"kind": "instag"}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, in the order taken within each stratum."""
        matrix = problem.units.matrix
        return Selection(np.concatenate(take_in_order(problem, lambda each: complexity_first(matrix[each.rows]))))


def complexity_first(matrix: scipy.sparse.csr_array) -> NDArray[np.int64]:
    """All rows in the order of complexity-first diverse sampling, ties to the earlier row.

    Args:
        matrix: Units of the examples, shape (examples, types); each row holds at least one.
    """
    by_complexity = np.argsort(-np.diff(matrix.indptr), kind="stable")
    return by_complexity[_rounds_of_new_types(*incidence(matrix, by_complexity))]


@njit(cache=True)
def _rounds_of_new_types(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    types_of: NDArray[np.int32],
    type_start: NDArray[np.int64],
    holders: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Rows in the order taken; see `complexity_first`.

    Passing over the remaining rows takes, for each type that is still new, its first remaining holder: an earlier
    holder would have been taken when it was passed. So a round takes the types in the order of these holders and
    skips those that a row before has brought; every type of the round costs one step, and rows that add nothing none.
    """
    types = len(type_start) - 1
    taken = np.zeros(len(starts), dtype=np.bool_)
    order, count = np.empty(len(taken), dtype=np.int64), 0
    first = type_start[:-1].copy()  # position of each type's first remaining holder
    round_of_type = np.full(types, -1, dtype=np.int64)
    live = [kind for kind in range(types) if type_start[kind] < type_start[kind + 1]]
    number = 0
    while count < len(order):
        keys = [np.int64(holders[first[kind]]) * types + kind for kind in live]
        heapq.heapify(keys)
        while keys:
            key = heapq.heappop(keys)
            if round_of_type[key % types] == number:
                continue
            row = key // types
            taken[row] = True
            order[count] = row
            count += 1
            for position in range(starts[row], ends[row]):
                round_of_type[types_of[position]] = number
        for kind in live:
            while first[kind] < type_start[kind + 1] and taken[holders[first[kind]]]:
                first[kind] += 1
        live = [kind for kind in live if first[kind] < type_start[kind + 1]]
        number += 1
    return order
