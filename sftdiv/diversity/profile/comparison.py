"""Two datasets side by side: what a metric is on random samples of one size, how sure that is, and whether the two differ.

In: each metric's value on every sample. Out: estimates with standard errors, and differences with
95 % intervals. The trade: examples are taken as drawn independently from whatever the dataset
stands for, and the two datasets as independent of each other; where one holds the other, or rows
come in families, the intervals are too narrow or too wide, and the page says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
DIVERSE = ("high", "low")


@dataclass(frozen=True)
class Estimate:
    """A metric's expectation on a sample of the common size, and its standard error (NaN where none can be given)."""

    value: float
    stderr: float


def estimate(values: Sequence[float | None], *, size: int, examples: int) -> Estimate:
    """Mean over the samples, and its standard error.

    Two things make the mean uncertain: there were only so many samples, and the dataset itself is
    one draw of its source. Samples of m of n examples, drawn without replacement, vary with the
    variance v (1 - m / n) where fresh ones vary with v; the expectation at size m, known from n
    examples, then has the variance v m / n (Politis and Romano 1994, doi 10.1214/aos/1176325770).
    With r samples of observed variance s that makes s (1 / r + m / (n - m)).

    Args:
        values: One a sample; None or NaN where a sample gave none.
        size: Examples of a sample, m.
        examples: Examples of the dataset, n.
    """
    known = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    if not len(known) or np.isnan(known).any():
        return Estimate(math.nan, math.nan)
    if len(known) < 2 or size >= examples:
        return Estimate(float(known.mean()), math.nan)
    variance = float(known.var(ddof=1)) * (1 / len(known) + size / (examples - size))
    return Estimate(float(known.mean()), math.sqrt(variance))


def half_width(*stderrs: float, draws: int) -> float:
    """Half of a 95 % interval for a sum or difference of independent estimates, by Student's t with ``draws - 1`` degrees of freedom."""
    from scipy.stats import t

    return (
        float(t.ppf((1 + CONFIDENCE) / 2, draws - 1)) * math.sqrt(sum(stderr**2 for stderr in stderrs))
        if draws > 1
        else math.nan
    )


def compare(
    one: Mapping[str, Sequence[float | None]],
    other: Mapping[str, Sequence[float | None]],
    diverse: Mapping[str, str],
    *,
    size: int,
    examples: tuple[int, int],
) -> list[dict[str, Any]]:
    """A row for each metric that both datasets have.

    Args:
        one: Metric to its value on each sample of the dataset.
        other: The same of the baseline.
        diverse: Metric to the values that are diverse: ``high``, ``low``, or ``neither``.
        size: Examples of every sample.
        examples: Of the dataset and of the baseline.

    Returns:
        ``metric, value, baseline, difference, low, high`` (the 95 % interval of the difference),
        and ``more_diverse``: ``dataset`` or ``baseline`` where the interval leaves out 0 and the
        metric has a direction, ``unclear`` where it does not or there is none, and None for a
        metric without a direction.
    """
    rows = []
    for metric in (name for name in one if name in other):
        mine = estimate(one[metric], size=size, examples=examples[0])
        theirs = estimate(other[metric], size=size, examples=examples[1])
        difference = mine.value - theirs.value
        half = half_width(mine.stderr, theirs.stderr, draws=min(len(one[metric]), len(other[metric])))
        found = {"metric": metric, "value": mine.value, "baseline": theirs.value, "difference": difference}
        verdict = _more_diverse(difference, half, diverse.get(metric, "neither"))
        rows.append({**found, "low": difference - half, "high": difference + half, "more_diverse": verdict})
    return rows


def _more_diverse(difference: float, half: float, diverse: str) -> str | None:
    if diverse not in DIVERSE:
        return None
    if math.isnan(half) or abs(difference) <= half:
        return "unclear"
    return "dataset" if (difference > 0) == (diverse == "high") else "baseline"
