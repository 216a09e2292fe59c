"""Layout of the conversations of one optimizer step: rows, micro-batches, ranks.

Input is the lengths of a step's conversations. Output is the micro-batches of each rank, each a list
of rows, each a list of conversations. The step holds the same conversations however they are laid
out, so that packing, accumulation and devices only affect the speed.
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
    """Micro-batches of each rank; all ranks have equally many, some of which may be empty.

    Args:
        chosen: Indices of the step's conversations.
        lengths: Tokens of every conversation.
        micro_batch: Maximum rows per micro-batch.
        ranks: Processes that share the step.
        capacity: Tokens of a packed sequence; None gives each conversation its own row.
    """
    rows = [[int(index)] for index in chosen] if capacity is None else pack_rows(chosen, lengths, capacity=capacity)
    sizes = [sum(int(lengths[index]) for index in row) for row in rows]
    by_size = sorted(range(len(rows)), key=sizes.__getitem__)
    parts = -(-len(rows) // micro_batch)
    parts = -(-parts // ranks) * ranks
    cuts = [len(rows) * part // parts for part in range(parts + 1)]
    batches = [[rows[i] for i in by_size[start:end]] for start, end in pairwise(cuts)]
    return [batches[rank::ranks] for rank in range(ranks)]


def pack_rows(chosen: Sequence[int], lengths: NDArray[np.int64], *, capacity: int) -> list[Row]:
    """Pack conversations into rows of at most ``capacity`` tokens, none of them truncated.

    First-fit decreasing (Johnson 1973: at most 11/9 of the fewest rows, plus 6/9) gives the number
    of rows. The conversations are then distributed again, longest first, each to the emptiest row
    (Graham 1969), so that rows which are computed together have similar lengths. If that overflows a
    row, the first packing is used.
    """
    order = sorted((int(index) for index in chosen), key=lambda index: -int(lengths[index]))
    packed = _first_fit(order, lengths, capacity)
    balanced: list[Row] = [[] for _ in packed]
    filled = [0] * len(packed)
    for index in order:
        row = min(range(len(filled)), key=filled.__getitem__)
        balanced[row].append(index)
        filled[row] += int(lengths[index])
    return balanced if max(filled, default=0) <= capacity else packed


def _first_fit(order: Sequence[int], lengths: NDArray[np.int64], capacity: int) -> list[Row]:
    rows: list[Row] = []
    filled: list[int] = []
    for index in order:
        length = int(lengths[index])
        row = next((row for row, tokens in enumerate(filled) if tokens + length <= capacity), len(rows))
        if row == len(rows):
            rows.append([])
            filled.append(0)
        rows[row].append(index)
        filled[row] += length
    return rows
