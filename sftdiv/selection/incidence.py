"""Who holds what, in both directions, as plain arrays of fixed integer types that a compiled loop can walk.

The numbers of examples and types fit 32 bits, so that each non-zero costs eight bytes; where a row
or a column begins takes 64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


class Incidence(NamedTuple):
    """Example ``e`` holds ``types[example_start[e] : example_start[e + 1]]``; the holders of a type stand likewise, by ``type_start``."""

    example_start: NDArray[np.int64]
    types: NDArray[np.int32]
    type_start: NDArray[np.int64]
    holders: NDArray[np.int32]


def incidence(matrix: scipy.sparse.csr_array) -> Incidence:
    """The incidence of a CSR matrix, examples x types; its values are not looked at."""
    held = scipy.sparse.csr_array(
        (np.ones(matrix.nnz, dtype=np.int8), matrix.indices, matrix.indptr), shape=matrix.shape
    )
    by_type = held.tocsc()
    return Incidence(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        by_type.indptr.astype(np.int64),
        by_type.indices.astype(np.int32),
    )
