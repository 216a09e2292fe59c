"""CSR and CSC index arrays of some rows of an example x type matrix, for compiled loops.

Example and type numbers take 32 bits. The types of an example are read where the matrix has them, whichever rows
are asked for; only the holders of each type are new: four bytes per non-zero, and 16 per row. They are made by a
counting sort, since a conversion by scipy copies the values too and takes four times the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


class Incidence(NamedTuple):
    """Types of each example, and holders of each type (the examples that have it, ascending).

    Examples are numbered in the order of the rows asked for. Example ``e`` has the types
    ``types[starts[e] : ends[e]]``; type ``t`` has the holders ``holders[type_start[t] : type_start[t + 1]]``.
    """

    starts: Int64s
    ends: Int64s
    types: Int32s
    type_start: Int64s
    holders: Int32s


def incidence(matrix: scipy.sparse.csr_array, rows: Int64s | None = None) -> Incidence:
    """Incidence of rows of a CSR matrix, examples x types; its values are ignored.

    Args:
        matrix: Shape (examples, types).
        rows: Rows, shape (chosen,); None for all.
    """
    starts, ends, types = _rows_of(matrix, rows)
    type_start = np.concatenate([[0], np.cumsum(_supports(starts, ends, types, matrix.shape[1]))])
    return Incidence(starts, ends, types, type_start, _holders(starts, ends, types, type_start))


def supports(matrix: scipy.sparse.csr_array, rows: Int64s | None = None) -> Int64s:
    """Number of rows that hold each type, shape (types,); see `incidence`."""
    return _supports(*_rows_of(matrix, rows), matrix.shape[1])


def _rows_of(matrix: scipy.sparse.csr_array, rows: Int64s | None) -> tuple[Int64s, Int64s, Int32s]:
    """Start and end of each row, and the types that they point into."""
    types = matrix.indices.astype(np.int32, copy=False)
    if rows is None:
        offsets = matrix.indptr.astype(np.int64)
        return offsets[:-1], offsets[1:], types
    return matrix.indptr[rows].astype(np.int64), matrix.indptr[rows + 1].astype(np.int64), types


@njit(cache=True)
def _supports(starts: Int64s, ends: Int64s, types: Int32s, type_count: int) -> Int64s:
    """Number of examples that hold each type."""
    support = np.zeros(type_count, dtype=np.int64)
    for row in range(len(starts)):
        for row_type in types[starts[row] : ends[row]]:
            support[row_type] += 1
    return support


@njit(cache=True)
def _holders(starts: Int64s, ends: Int64s, types: Int32s, type_start: Int64s) -> Int32s:
    """Holders of all types, those of each from its start on."""
    following, holders = type_start.copy(), np.empty(type_start[-1], dtype=np.int32)
    for row in range(len(starts)):
        for row_type in types[starts[row] : ends[row]]:
            holders[following[row_type]] = row
            following[row_type] += 1
    return holders
