"""CSR and CSC index arrays of the example x type matrix, for compiled loops.

Example and type numbers take 32 bits, so that each non-zero costs eight bytes; the starts of rows and
columns take 64 bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


class Incidence(NamedTuple):
    """Types of each example, and holders of each type (the examples that have it).

    Example ``e`` has the types ``types[example_start[e] : example_start[e + 1]]``; type ``t`` has
    the holders ``holders[type_start[t] : type_start[t + 1]]``.
    """

    example_start: NDArray[np.int64]
    types: NDArray[np.int32]
    type_start: NDArray[np.int64]
    holders: NDArray[np.int32]


def incidence(matrix: scipy.sparse.csr_array) -> Incidence:
    """Incidence of a CSR matrix, examples x types; its values are ignored."""
    ones = np.ones(matrix.nnz, dtype=np.int8)
    by_type = scipy.sparse.csr_array((ones, matrix.indices, matrix.indptr), shape=matrix.shape).tocsc()
    return Incidence(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        by_type.indptr.astype(np.int64),
        by_type.indices.astype(np.int32),
    )
