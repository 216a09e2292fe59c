"""MTLD: how many tokens one can read before words repeat. High is diverse."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.records import TokenIds

THRESHOLD = 0.72


def mtld(token_ids: TokenIds, *, threshold: float = THRESHOLD) -> float:
    """Mean tokens a factor over the whole set, forward and backward: ``(tokens / factors forward + tokens / factors backward) / 2``.

    A factor (McCarthy and Jarvis 2010, doi 10.3758/BRM.42.2.381) is a run of tokens whose
    type-token ratio has just fallen below the threshold; what is left at the end of a text counts
    for ``(1 - ratio) / (1 - threshold)`` of one. No factor runs across the end of a text. Tokens
    and factors are summed over texts before they are divided, since most short texts repeat no word
    and have no value of their own (``mtld_scores``); of one text it is McCarthy and Jarvis' MTLD.
    O(tokens); it does not depend on the size of the set.

    Returns:
        A number of at least 1; infinity where no token repeats in any text, NaN where there is no token.
    """
    forward, backward = _factors(token_ids.flat, token_ids.offsets, threshold, _types(token_ids)).sum(axis=1)
    return _mean_length(len(token_ids.flat), float(forward), float(backward))


def mtld_scores(token_ids: TokenIds, *, threshold: float = THRESHOLD) -> NDArray[np.float64]:
    """MTLD of each text, shape (texts,): infinity for a text that repeats no token, NaN for an empty one."""
    forward, backward = _factors(token_ids.flat, token_ids.offsets, threshold, _types(token_ids)).tolist()
    rows = zip(token_ids.lengths().tolist(), forward, backward, strict=True)
    return np.array([_mean_length(*row) for row in rows])


def _mean_length(tokens: int, forward: float, backward: float) -> float:
    if not tokens:
        return float("nan")
    return (tokens / forward + tokens / backward) / 2 if forward and backward else float("inf")


def _types(token_ids: TokenIds) -> int:
    return int(token_ids.flat.max(initial=-1)) + 1


@njit(cache=True)  # type: ignore[misc]
def _factors(flat, offsets, threshold, types):  # type: ignore[no-untyped-def]
    """Factors of each text forward and backward, shape (2, texts)."""
    factors = np.zeros((2, len(offsets) - 1))
    last_seen = np.zeros(
        types, np.int64
    )  # the factor that a type was last seen in, numbered over all texts and both directions
    factor = 0
    for text in range(len(offsets) - 1):
        for direction in range(2):
            factor += 1
            tokens, distinct = 0, 0
            for step in range(offsets[text + 1] - offsets[text]):
                token = flat[offsets[text] + step] if direction == 0 else flat[offsets[text + 1] - 1 - step]
                tokens += 1
                if last_seen[token] != factor:
                    last_seen[token] = factor
                    distinct += 1
                if distinct / tokens < threshold:
                    factors[direction, text] += 1
                    tokens, distinct = 0, 0
                    factor += 1
            if tokens:
                factors[direction, text] += (1 - distinct / tokens) / (1 - threshold)
    return factors
