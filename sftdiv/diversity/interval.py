"""Confidence intervals of diversity: how far a metric would move if the dataset were collected again.

In: a function that measures the texts at given indices, or one value a text. Out: lower and upper
ends. Two ways, by what the metric is: a metric of the *set* (n-gram ratio, self-BLEU, Vendi ...) is
subsampled, since a bootstrap draws texts twice and duplicates lower every diversity metric; a *mean
over texts* (length, ROUGE-L of pairs) is bootstrapped, to which duplicates do nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.size_matched import Measure, subset_values
from sftdiv.records import SftdivError

Interval = tuple[float, float]


def subsampling_interval(
    measure: Measure,
    texts: int,
    *,
    repeats: int,
    rng: np.random.Generator,
    size: int | None = None,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of every column at the full size, from subsets of ``size`` of the n texts drawn without replacement.

    Subsampling (Politis and Romano 1994, doi 10.1214/aos/1176325770): deviations at size m are
    those at size n times sqrt(n / m), for statistics that converge as 1 / sqrt(n). Subsets of a
    finite set vary less than sets drawn afresh, by sqrt(1 - m / n), so that a deviation counts
    ``sqrt(m / n) / sqrt(1 - m / n)`` (with m near n this is the delete-d jackknife of Shao and Wu
    1989). Deviations are taken from the subsets' own mean and not from the full set's value, for
    these metrics differ with size: only their spread is carried over. The interval is for the
    metric's expectation at n texts of the same source, not for an infinite set. A text counts for
    less in a smaller set, so m must not be small: in 150 simulated sets of 200 texts 90 % intervals
    held the expectation of self-BLEU in 76, 84, 91 and 90 % for m / n = 0.25, 0.5, 0.75 and 0.9
    (bigram ratio: 82, 89, 91, 91 %; token entropy: 91, 91, 92, 92 %).

    Args:
        measure: Ascending indices of texts to column values.
        texts: Number of texts, n.
        repeats: Subsets; 200 give the ends to about a tenth of the width.
        rng: Draws the subsets.
        size: Texts of a subset, m; three quarters of them unless given.
        confidence: Share of such intervals that hold the expectation.

    Raises:
        SftdivError: If a subset would be empty or the whole set, or ``confidence`` is not between 0 and 1.
    """
    size = texts * 3 // 4 if size is None else size
    if not 0 < size < texts:
        raise SftdivError(f"subsets of an interval hold from 1 to {texts - 1:,} of {texts:,} texts, not {size:,}")
    ends = _ends(confidence)
    whole = measure(np.arange(texts))
    values = subset_values(measure, texts, size=size, repeats=repeats, rng=rng)
    scale = math.sqrt(size / (texts - size))
    intervals = {}
    for name, column in values.items():
        below, above = np.quantile((column - column.mean()) * scale, ends)
        intervals[name] = (float(whole[name] - above), float(whole[name] - below))
    return intervals


def bootstrap_interval(
    values: NDArray[np.floating], *, rng: np.random.Generator, repeats: int = 1000, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap (Efron 1979) of the mean of one value a text, such as lengths or ``pair_scores``.

    Args:
        values: Shape (texts,).
        rng: Draws the samples.
        repeats: Samples of as many texts, with replacement.
        confidence: Share of such intervals that hold the expectation.

    Raises:
        SftdivError: If there is no value, or ``confidence`` is not between 0 and 1.
    """
    if not len(values):
        raise SftdivError("no value to bootstrap: the set holds no text")
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(repeats)]
    low, high = np.quantile(means, _ends(confidence))
    return float(low), float(high)


def _ends(confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise SftdivError(f"confidence={confidence} is not between 0 and 1; 0.95 is customary")
    return (1 - confidence) / 2, (1 + confidence) / 2
