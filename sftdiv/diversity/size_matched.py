"""Values that compare across datasets of different sizes: the mean over random subsets of one common size.

In: a function that measures the texts at given indices, and how many texts there are. Out: its mean
value at the common size. The trade: as many measurements as there are repeats, each of a smaller
set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

Measure = Callable[[NDArray[np.int64]], Mapping[str, float]]


def size_matched(
    measure: Measure, texts: int, *, size: int, repeats: int, rng: np.random.Generator
) -> dict[str, float]:
    """Mean of every column over ``repeats`` subsets of ``size`` texts, drawn without replacement.

    Without replacement, because a text drawn twice is a duplicate, which every diversity metric
    counts. The expectation at ``size`` is what rarefaction estimates in ecology (Hurlbert 1971): a
    dataset of 100,000 texts and one of 10,000 compare at 10,000 or below.

    Args:
        measure: Ascending indices of texts to column values, such as ``lambda rows:
            describe(token_ids.take(rows), ...)``.
        texts: Number of texts, from which the indices are drawn.
        size: Texts of a subset.
        repeats: Subsets; one where ``size`` is all of them.
        rng: Draws the subsets.

    Raises:
        SftdivError: If there are fewer texts than ``size``.
    """
    values = subset_values(measure, texts, size=size, repeats=1 if size == texts else repeats, rng=rng)
    return {name: float(np.mean(column)) for name, column in values.items()}


def subset_values(
    measure: Measure, texts: int, *, size: int, repeats: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Every column's value on each of ``repeats`` subsets of ``size`` texts drawn without replacement, each of shape (repeats,).

    Raises:
        SftdivError: If there are fewer texts than ``size``, or no subset is asked for.
    """
    if not 0 < size <= texts or repeats < 1:
        raise SftdivError(f"cannot draw {repeats} subsets of {size:,} texts from {texts:,}")
    rows = [measure(np.sort(rng.choice(texts, size, replace=False))) for _ in range(repeats)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
