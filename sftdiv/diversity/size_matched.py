"""Values that compare across datasets of different sizes: measured on random subsets of one common size.

A dataset is represented by a function that measures the texts at given indices; the result is its
value on every subset. The cost is one measurement per subset, each of a smaller set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

Measure = Callable[[NDArray[np.int64]], Mapping[str, float]]


def subset_values(
    measure: Measure, texts: int, *, size: int, repeats: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Value of every column on each subset of ``size`` texts, shape (repeats,).

    Subsets are drawn without replacement, because a text drawn twice is a duplicate, which every
    diversity metric counts. The mean is what rarefaction estimates in ecology (Hurlbert 1971): a
    dataset of 100,000 texts and one of 10,000 compare at 10,000 or below.

    Args:
        measure: Ascending indices of texts to column values, such as ``lambda rows:
            describe(token_ids.take(rows), ...)``.
        texts: Number of texts that the indices are drawn from.
        size: Texts per subset.
        repeats: Number of subsets; one is measured where ``size`` is all texts.
        rng: Generator that draws the subsets.

    Raises:
        SftdivError: If there are fewer texts than ``size``, or ``repeats`` is below 1.
    """
    if not 0 < size <= texts or repeats < 1:
        raise SftdivError(f"cannot draw {repeats} subsets of {size:,} texts from {texts:,}")
    repeats = 1 if size == texts else repeats
    rows = [measure(np.sort(rng.choice(texts, size, replace=False))) for _ in range(repeats)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
