"""Unit coverage and entropy: share of the topics, tags or tokens in a set, and their evenness. High is diverse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.entropy import entropy
from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import UnitSet
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import scipy.sparse


@metric(
    "units",
    {"unit_coverage": "Unit coverage", "unit_entropy": "Unit entropy (bits)"},
    direction="high",
    needs="units",
    growth="rises",
    order=19,
)
def _measure(units: UnitSet) -> list[float]:
    return [unit_coverage(units.matrix, types=units.types), unit_entropy(units.matrix)]


def unit_coverage(matrix: scipy.sparse.csr_array, *, types: int | None = None) -> float:
    """Share of the types that at least one example of the set holds; O(non-zeros).

    It rises with the size of the set, so that only sets of one size compare (``size_matched``).

    Args:
        matrix: Units of the set's examples, counts, shape (examples, types).
        types: Number of types that exist; the columns of the matrix unless given (a universe may be
            narrower than the corpus).

    Returns:
        A number in [0, 1]; NaN where there is no type.

    Raises:
        SftdivError: If the set holds more types than exist.
    """
    existing = matrix.shape[1] if types is None else types
    covered = int(np.count_nonzero(_units_per_type(matrix)))
    if covered > existing:
        raise SftdivError(f"the set holds {covered} types, more than the {existing} in types={types}")
    return covered / existing if existing else float("nan")


def unit_entropy(matrix: scipy.sparse.csr_array) -> float:
    """Shannon entropy, in bits, of the distribution of units over types in the whole set; 0 for no unit.

    O(non-zeros). At most log2 of the types; in a small set biased downward (see ``token_entropy``).

    Args:
        matrix: Units of the set's examples, counts, shape (examples, types).
    """
    return entropy(_units_per_type(matrix))


def _units_per_type(matrix: scipy.sparse.csr_array) -> NDArray[Any]:
    """Number of units of each type, shape (types,)."""
    return np.asarray(matrix.sum(axis=0)).ravel()
