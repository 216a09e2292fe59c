"""All n-grams of many texts counted in one pass, for n-gram ratio, distinct-n, self-BLEU and self-repetition.

From token ids it computes, for each order n, the number of n-grams and of distinct n-grams, and
for each text how many of its n-grams other texts share. Positions are grouped by their first token,
each group is split by the second, and so on; an n-gram that occurs once is counted and dropped,
since no longer n-gram that begins with it can be shared. Nothing is hashed or sampled. The tokens
are read once for every block of leading tokens, which bounds the memory beyond them to about 40
bytes for each of ``POSITIONS`` positions, at any corpus size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds

ORDER = 4
POSITIONS = 1 << 23
TOKENS_PER_BLOCK = 1 << 22  # tokens counted at once: numpy's bincount copies its input to int64


@dataclass(frozen=True)
class NgramCounts:
    """The n-grams of orders 1 to N of a set of texts; row n - 1 of an array is order n.

    Attributes:
        lengths: Tokens of each text, shape (texts,).
        occurrences: N-grams with repetition, shape (N,); none runs across the end of a text.
        distinct: Distinct n-grams, shape (N,).
        matches: N-grams of each text that another text holds too, each counted at most as often as
            in any single other text (BLEU's clipped matches against all other texts), shape (N,
            texts).
        repeats: Number of other texts that hold an n-gram, summed over the distinct n-grams of each
            text, shape (N, texts).
    """

    lengths: NDArray[np.int64]
    occurrences: NDArray[np.int64]
    distinct: NDArray[np.int64]
    matches: NDArray[np.int64]
    repeats: NDArray[np.int64]


def count_ngrams(token_ids: TokenIds, *, order: int = ORDER, positions: int = POSITIONS) -> NgramCounts:
    """Count the n-grams of orders 1 to ``order``; O(tokens x order), plus one pass over the tokens per block.

    Args:
        token_ids: Token ids of the texts.
        order: Longest n-gram.
        positions: Occurrences of leading tokens per block (a single token with more is a block of
            its own).
    """
    from sftdiv.diversity.kernels.ngram_groups import count_block, gather_positions

    lengths = token_ids.lengths()
    counts = NgramCounts(
        lengths=lengths,
        occurrences=np.maximum(lengths - np.arange(order)[:, None], 0).sum(axis=1),
        distinct=np.zeros(order, dtype=np.int64),
        matches=np.zeros((order, len(lengths)), dtype=np.int64),
        repeats=np.zeros((order, len(lengths)), dtype=np.int64),
    )
    frequencies = token_counts(token_ids)
    for low, high in _blocks(frequencies, positions):
        starts = np.concatenate([[0], np.cumsum(frequencies[low:high])])
        rows = gather_positions(token_ids.flat, token_ids.offsets, low, starts, order)
        count_block(rows, starts, len(frequencies), counts.distinct, counts.matches, counts.repeats)
    return counts


def token_counts(token_ids: TokenIds) -> NDArray[np.int64]:
    """Occurrences of each token type, shape (largest id + 1,)."""
    flat = token_ids.flat
    counts = np.zeros(int(flat.max(initial=-1)) + 1, dtype=np.int64)
    for start in range(0, len(flat), TOKENS_PER_BLOCK):
        counts += np.bincount(flat[start : start + TOKENS_PER_BLOCK], minlength=len(counts))
    return counts


def _blocks(frequencies: NDArray[np.int64], positions: int) -> Iterator[tuple[int, int]]:
    """Ranges of token types that together occur at most ``positions`` times, or that hold a single type."""
    ends = np.cumsum(frequencies)
    low = 0
    while low < len(frequencies):
        before = ends[low] - frequencies[low]
        high = max(low + 1, int(np.searchsorted(ends, before + positions, side="right")))
        if ends[high - 1] > before:
            yield low, high
        low = high
