"""Who holds what, in both directions, as plain arrays of one integer type that a compiled loop can walk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


class Incidence(NamedTuple):
    """Example ``e`` holds ``types[example_start[e] : example_start[e + 1]]``; the holders of a type stand likewise, by ``type_start``."""

    example_start: NDArray[np.int64]
    types: NDArray[np.int64]
    type_start: NDArray[np.int64]
    holders: NDArray[np.int64]


def incidence(matrix: scipy.sparse.csr_array) -> Incidence:
    """The incidence of a CSR matrix, examples x types; its values are not looked at."""
    by_type = matrix.tocsc()
    return Incidence(*(array.astype(np.int64) for array in (matrix.indptr, matrix.indices, by_type.indptr, by_type.indices)))
