"""How the conversations of one optimizer step are laid out: rows, micro-batches, ranks.

In: the lengths of a step's conversations. Out: for each rank its micro-batches, each a list of
rows, each a list of conversations. The step holds the same conversations however they are laid out,
so that packing, accumulation and devices change nothing but the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Row = list[int]
MicroBatch = list[Row]


def lay_out(
    chosen: Sequence[int], lengths: NDArray[np.int64], *, micro_batch: int, ranks: int, capacity: int | None
) -> list[list[MicroBatch]]:
    """The micro-batches of each rank; all ranks have equally many, of which some may be empty.

    Args:
        chosen: The conversations of the step.
        lengths: Tokens of every conversation.
        micro_batch: Rows in a micro-batch at most.
        ranks: Processes that share the step.
        capacity: Tokens of a row into which several conversations are packed; None gives each
            conversation a row of its own.
    """
    rows = [[int(i)] for i in chosen] if capacity is None else pack_rows(chosen, lengths, capacity=capacity)
    sizes = [sum(int(lengths[i]) for i in row) for row in rows]
    by_size = sorted(range(len(rows)), key=sizes.__getitem__)
    parts = -(-len(rows) // micro_batch)
    parts = -(-parts // ranks) * ranks
    cuts = [len(rows) * part // parts for part in range(parts + 1)]
    batches = [[rows[i] for i in by_size[start:end]] for start, end in pairwise(cuts)]
    return [batches[rank::ranks] for rank in range(ranks)]


def pack_rows(chosen: Sequence[int], lengths: NDArray[np.int64], *, capacity: int) -> list[Row]:
    """Pack conversations into rows of at most ``capacity`` tokens, none of them cut.

    First-fit decreasing (Johnson 1973: at most 11/9 of the fewest rows, plus 6/9) gives the number
    of rows. The conversations are then dealt again, longest first, each to the emptiest row (Graham
    1969), so that rows which are computed together are of like length; where that overflows a row,
    the first packing stays.
    """
    order = sorted((int(i) for i in chosen), key=lambda i: -int(lengths[i]))
    packed = _first_fit(order, lengths, capacity)
    even: list[Row] = [[] for _ in packed]
    filled = [0] * len(packed)
    for i in order:
        row = min(range(len(filled)), key=filled.__getitem__)
        even[row].append(i)
        filled[row] += int(lengths[i])
    return even if max(filled, default=0) <= capacity else packed


def _first_fit(order: Sequence[int], lengths: NDArray[np.int64], capacity: int) -> list[Row]:
    rows: list[Row] = []
    filled: list[int] = []
    for i in order:
        length = int(lengths[i])
        row = next((row for row, tokens in enumerate(filled) if tokens + length <= capacity), len(rows))
        if row == len(rows):
            rows.append([])
            filled.append(0)
        rows[row].append(i)
        filled[row] += length
    return rows
