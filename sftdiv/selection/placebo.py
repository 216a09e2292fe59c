"""Placebo: every example keeps its length and source and gets the units of another example like it.

A negative control. The ladder of permuted units has the same types, supports and co-occurrences as the real one,
but a level no longer says anything about the content of its examples beyond their lengths and sources. With
``selection.match=length+source`` its slope is therefore zero by construction, and the share of placebo ladders
with a significant slope is the false positive rate of the whole pipeline. Without matching, its slope is what
length and source composition alone do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Units
from sftdiv.text.string_columns import sorted_codes

if TYPE_CHECKING:
    from sftdiv.text.string_columns import Strings

LENGTH_BINS = 10


def placebo_units(units: Units, *, lengths: NDArray[np.int64], sources: Strings, seed: int) -> Units:
    """Units whose rows are permuted among examples of one source and one tenth of its response lengths.

    Examples without units keep having none, so that the universe stays the same.

    Args:
        units: Units of every example.
        lengths: Length of each response in words, shape (examples,).
        sources: Source of each example.
        seed: Seed of the permutation.
    """
    rng = np.random.default_rng([seed, 0x91ACEB0])
    has_units = np.diff(units.matrix.indptr) > 0
    permutation = np.arange(len(lengths))
    names, source = sorted_codes(sources)
    for code in range(len(names)):
        rows = np.flatnonzero(has_units & (source == code))
        by_length = rows[np.argsort(lengths[rows], kind="stable")]
        for stratum in np.array_split(by_length, LENGTH_BINS):
            permutation[stratum] = rng.permutation(stratum)
    matrix = units.matrix[permutation]
    return Units(matrix, units.names, {**units.made_by, "placebo_seed": seed}, units.record)
