"""ROUGE-L of pairs of texts, for ``homogenisation``."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


@njit(cache=True)
def rouge_l_of_pairs(flat: Int32s, offsets: Int64s, first: Int64s, second: Int64s) -> NDArray[np.float64]:
    """ROUGE-L (F1) of the texts ``first[i]`` and ``second[i]``, shape (pairs,)."""
    scores = np.empty(len(first))
    for i in range(len(first)):
        a, b = first[i], second[i]
        scores[i] = rouge_l_of_pair(flat[offsets[a] : offsets[a + 1]], flat[offsets[b] : offsets[b + 1]])
    return scores


@njit(cache=True)
def rouge_l_of_pair(first: Int32s, second: Int32s) -> float:
    """ROUGE-L (F1) of two texts, from the length of their longest common subsequence; O(tokens x tokens)."""
    if len(first) + len(second) == 0:
        return 0.0
    common = np.zeros(len(second) + 1, np.int64)  # [j]: subsequence of the tokens read of first, and of second[:j]
    for token in first:
        diagonal = 0
        for j in range(len(second)):
            above = common[j + 1]
            common[j + 1] = diagonal + 1 if token == second[j] else max(above, common[j])
            diagonal = above
    return 2 * common[-1] / (len(first) + len(second))
