"""Comparison of two datasets: each metric on random samples of one size, its uncertainty, and the difference.

From the value of each metric on every sample it computes means with standard errors, and
differences with 95 % intervals. Examples are treated as independent draws from the source of the
dataset, and the two datasets as independent of each other. Where one contains the other, or rows
come in families, the intervals are too narrow or too wide; the report says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
DIRECTIONS = ("high", "low")


@dataclass(frozen=True)
class Estimate:
    """Expected value of a metric on a sample of the common size, and its standard error (NaN if unknown)."""

    value: float
    stderr: float


def estimate(values: Sequence[float | None], *, size: int, examples: int) -> Estimate:
    """Mean over the samples, and its standard error.

    The mean is uncertain for two reasons: the number of samples is finite, and the dataset itself
    is one draw of its source. Samples of m of n examples, drawn without replacement, vary with the
    variance v (1 - m / n) where fresh ones vary with v; the expectation at size m, known from n
    examples, then has the variance v m / n (Politis and Romano 1994, doi 10.1214/aos/1176325770).
    With r samples of observed variance s that makes s (1 / r + m / (n - m)).

    Args:
        values: Value on each sample; None or NaN where a sample has none.
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
    """Half of a 95 % interval for a sum or difference of independent estimates.

    Student's t with ``draws - 1`` degrees of freedom; NaN for a single draw.
    """
    from scipy.stats import t

    if draws <= 1:
        return math.nan
    return float(t.ppf((1 + CONFIDENCE) / 2, draws - 1)) * math.sqrt(sum(stderr**2 for stderr in stderrs))


def compare(
    dataset: Mapping[str, Sequence[float | None]],
    baseline: Mapping[str, Sequence[float | None]],
    directions: Mapping[str, str],
    *,
    size: int,
    examples: tuple[int, int],
) -> list[dict[str, Any]]:
    """A row for each metric that both datasets have.

    Args:
        dataset: Metric to its value on each sample of the dataset.
        baseline: Metric to its value on each sample of the baseline.
        directions: Metric to the values of a diverse set: ``high``, ``low``, or ``neither``.
        size: Examples of every sample.
        examples: Number of examples of the dataset and of the baseline.

    Returns:
        ``metric, value, baseline, difference, low, high`` (the 95 % interval of the difference),
        and ``more_diverse``: ``dataset`` or ``baseline`` where the interval excludes 0 and the
        metric has a direction, ``unclear`` where it includes 0 or is unknown, and None for a metric
        without a direction.
    """
    rows = []
    for metric in (name for name in dataset if name in baseline):
        value = estimate(dataset[metric], size=size, examples=examples[0])
        reference = estimate(baseline[metric], size=size, examples=examples[1])
        difference = value.value - reference.value
        half = half_width(value.stderr, reference.stderr, draws=min(len(dataset[metric]), len(baseline[metric])))
        rows.append(
            {
                "metric": metric,
                "value": value.value,
                "baseline": reference.value,
                "difference": difference,
                "low": difference - half,
                "high": difference + half,
                "more_diverse": _more_diverse(difference, half, directions.get(metric, "neither")),
            }
        )
    return rows


def _more_diverse(difference: float, half: float, direction: str) -> str | None:
    if direction not in DIRECTIONS:
        return None
    if math.isnan(half) or abs(difference) <= half:
        return "unclear"
    return "dataset" if (difference > 0) == (direction == "high") else "baseline"
