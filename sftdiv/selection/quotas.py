"""Quotas: the size of a subset divided among the strata of its universe (``selection.match``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError


def divide_size(stratum_weights: NDArray[Any], size: float, *, whole: bool) -> NDArray[np.float64]:
    """The size divided in proportion to the strata; with ``whole``, integers by the largest-remainder method.

    Args:
        stratum_weights: Sum of the weights of each stratum, shape (strata,).
        size: Size of the subset, in examples or label tokens.
        whole: Whether the size counts examples, which are not divided.
    """
    exact = stratum_weights / stratum_weights.sum() * size
    if not whole:
        return exact
    quotas = np.floor(exact)
    quotas[np.argsort(quotas - exact, kind="stable")[: round(size - quotas.sum())]] += 1
    return quotas


def check_fits(size: float, weights: NDArray[np.float64], excluded: Mapping[str, int]) -> None:
    """Reject a size that is larger than the universe.

    Args:
        size: Size of the subset, in examples or label tokens.
        weights: Contribution of each example of the universe to the size, shape (selectable,).
        excluded: Number of excluded examples by reason, for the message.

    Raises:
        SftdivError: The weights do not reach the size.
    """
    if size > weights.sum() * (1 + 1e-9):
        raise SftdivError(
            f"size {size:,.0f} is more than {universe_text(weights, excluded)}. "
            f"The largest feasible size is {int(weights.sum()):,}: {_size_setting(weights)}={int(weights.sum())}"
        )


def universe_text(weights: NDArray[np.float64], excluded: Mapping[str, int]) -> str:
    """Number of examples of a universe and the reasons why others are left out, for messages; see `check_fits`."""
    tokens = "" if _counts_examples(weights) else f"{weights.sum():,.0f} label tokens in "
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in excluded.items() if count)
    return f"the universe holds: {tokens}{len(weights):,} examples" + (f" (left out: {reasons})" if reasons else "")


def _size_setting(weights: NDArray[np.float64]) -> str:
    return "size.n" if _counts_examples(weights) else "size.label_tokens"


def _counts_examples(weights: NDArray[np.float64]) -> bool:
    """Whether a size is a number of examples, each of which counts as one."""
    return bool(np.all(weights == 1))
