"""Unit coverage and unit entropy: how many of the corpus's topics, tags or tokens a set holds, and how evenly. High is diverse."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from sftdiv.diversity.entropy import entropy
from sftdiv.records import SftdivError


def unit_coverage(matrix: scipy.sparse.csr_array, *, types: int | None = None) -> float:
    """Share of the types that at least one example of the set holds; O(non-zeros).

    It rises with the size of the set, so that only sets of one size compare (``size_matched``).

    Args:
        matrix: Units of the set's examples, counts, shape (examples, types).
        types: Types that there are; the matrix's columns unless given (a universe may be narrower
            than the corpus).

    Returns:
        A number in [0, 1]; NaN where there is no type.

    Raises:
        SftdivError: If the set holds more types than there are.
    """
    there_are = matrix.shape[1] if types is None else types
    held = int(np.count_nonzero(_of_type(matrix)))
    if held > there_are:
        raise SftdivError(f"the set holds {held} types, more than the {there_are} that there are said to be")
    return held / there_are if there_are else float("nan")


def unit_entropy(matrix: scipy.sparse.csr_array) -> float:
    """Shannon entropy, in bits, of the distribution of units over types in the whole set; 0 for no unit.

    O(non-zeros). At most log2 of the types; in a small set biased downward (see ``token_entropy``).

    Args:
        matrix: Units of the set's examples, counts, shape (examples, types).
    """
    return entropy(_of_type(matrix))


def _of_type(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """Units of each type, shape (types,)."""
    return np.asarray(matrix.sum(axis=0)).ravel()
