"""Factors of MTLD, for ``mtld``."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def count_factors(
    flat: NDArray[np.int32], offsets: NDArray[np.int64], threshold: float, types: int
) -> NDArray[np.float64]:
    """Factors of each text, read forward and backward, shape (2, texts).

    Args:
        flat: Tokens of all texts.
        offsets: Start of each text, shape (texts + 1,).
        threshold: Type-token ratio below which a factor ends.
        types: Number of token types.
    """
    factors = np.zeros((2, len(offsets) - 1))
    last_factor = np.zeros(types, np.int64)  # latest factor with the type, numbered over all texts and directions
    factor = 0
    for text in range(len(offsets) - 1):
        for direction in range(2):
            factor += 1
            tokens, distinct = 0, 0
            for step in range(offsets[text + 1] - offsets[text]):
                token = flat[offsets[text] + step] if direction == 0 else flat[offsets[text + 1] - 1 - step]
                tokens += 1
                if last_factor[token] != factor:
                    last_factor[token] = factor
                    distinct += 1
                if distinct / tokens < threshold:
                    factors[direction, text] += 1
                    tokens, distinct = 0, 0
                    factor += 1
            if tokens:
                factors[direction, text] += (1 - distinct / tokens) / (1 - threshold)
    return factors
