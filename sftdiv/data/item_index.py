"""The items of benchmarks by their word n-grams, and the search of examples for them.

An item is covered by an example where more than a share of its words stands in n-grams that the example
has too (Tulu 3, Lambert et al. 2024, arXiv 2411.15124, section 3.2: n = 8, share 0.5). An item shorter than one
n-gram is covered by a text of exactly its words.

The search is exact. An n-gram of few items (at most `RARE`) proposes them; frequent n-grams (templates)
propose only the items that they alone can cover. Every proposed item is verified word by word. So an example
costs about its length, even where all examples and items share a template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.item_search_kernel import BASE, Words, covered_words, fill, search

RARE = 64  # items
_SPREAD = np.uint64(0xD6E8FEB86659FD93)  # multiplier of the hash of a whole item


@dataclass(frozen=True)
class ItemIndex:
    """Items and their n-grams as arrays for compiled search.

    Attributes:
        size: Words per n-gram.
        share: Share of an item's words above which it is covered.
        offsets: Start of each item in ``gram_at``, then the total, shape (items + 1,).
        gram_at: Distinct n-gram that begins at each word, -1 where none does, shape (words,).
        table: Hash table of n-grams: hash and number in each slot, shapes (slots,); number -1 is empty.
        proposals: Items that each n-gram proposes: their starts, then the items.
        short: Hashes of whole short items, ascending, and their items.
    """

    size: int
    share: float
    offsets: NDArray[np.int64]
    gram_at: NDArray[np.int32]
    table: tuple[Words, NDArray[np.int32]]
    proposals: tuple[NDArray[np.int64], NDArray[np.int32]]
    short: tuple[Words, NDArray[np.int64]]


def index_items(items: Sequence[Words], *, size: int, share: float) -> ItemIndex:
    """Index items by their n-grams.

    Args:
        items: Hashes of the words of each item.
        size: Words per n-gram.
        share: Share of an item's words above which it is covered, in [0, 1).
    """
    lengths = np.array([len(item) for item in items], dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    flat = np.concatenate([*items, np.empty(0, dtype=np.uint64)]).astype(np.uint64)
    hashes, inside = _gram_hashes(flat, offsets, size)
    distinct, number = np.unique(hashes[inside], return_inverse=True)
    gram_at = np.full(len(flat), -1, dtype=np.int32)
    gram_at[inside] = number
    item_at = np.repeat(np.arange(len(items)), lengths)
    postings = np.unique(np.stack([number, item_at[inside]]), axis=1)  # (2, postings): n-gram, item
    is_rare = np.bincount(postings[0], minlength=len(distinct)) <= RARE
    templated = _covered_by_frequent(gram_at, offsets, is_rare, size, share)
    postings = postings[:, is_rare[postings[0]] | templated[postings[1]]]
    starts = np.searchsorted(postings[0], np.arange(len(distinct) + 1))
    is_short = np.flatnonzero((lengths > 0) & (lengths < size))
    whole = np.array([_whole_hash(items[item]) for item in is_short.tolist()], dtype=np.uint64)
    order = np.argsort(whole, kind="stable")
    return ItemIndex(
        size=size,
        share=share,
        offsets=offsets,
        gram_at=gram_at,
        table=_hash_table(distinct),
        proposals=(starts.astype(np.int64), postings[1].astype(np.int32)),
        short=(whole[order], is_short[order]),
    )


class ItemSearch:
    """Searches examples for the items of an index; keeps the scratch arrays between batches.

    Args:
        index: The items.
    """

    def __init__(self, index: ItemIndex) -> None:
        self._index = index
        self._seen = np.full(len(index.proposals[0]) - 1, -1, dtype=np.int64)  # last example with each n-gram
        self._proposed = np.full(len(index.offsets) - 1, -1, dtype=np.int64)  # last example that proposed each item
        self._examples = 0

    def add(self, examples: Sequence[Sequence[Words]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Search further examples, each given by the words of its texts; no n-gram spans two texts.

        Returns:
            The covering examples, numbered from the first call on, and the items that they cover, as pairs in
            the order of the examples, shapes (pairs,).
        """
        index, first = self._index, self._examples
        self._examples += len(examples)
        texts = [text for example in examples for text in example]
        owner = np.repeat(np.arange(first, self._examples), [len(example) for example in examples])
        offsets = np.concatenate(
            [np.zeros(1, dtype=np.int64), np.cumsum([len(text) for text in texts], dtype=np.int64)]
        )
        flat = np.concatenate([*texts, np.empty(0, dtype=np.uint64)]).astype(np.uint64)
        found = search(
            flat, offsets, owner, *index.table, *index.proposals, index.gram_at, index.offsets,
            self._seen, self._proposed, index.size, index.share,
        )  # fmt: skip
        pairs = np.unique(np.concatenate([found, self._equal(texts, owner)]), axis=0)
        return pairs[:, 0], pairs[:, 1]

    def _equal(self, texts: Sequence[Words], owner: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pairs of example and short item of equal words, shape (pairs, 2)."""
        hashes, items = self._index.short
        brief = [row for row, text in enumerate(texts) if 0 < len(text) < self._index.size]
        whole = np.array([_whole_hash(texts[row]) for row in brief], dtype=np.uint64)
        low, high = np.searchsorted(hashes, whole, side="left"), np.searchsorted(hashes, whole, side="right")
        pairs = [
            np.stack([np.full(end - start, owner[row]), items[start:end]], axis=1)
            for row, start, end in zip(brief, low.tolist(), high.tolist(), strict=True)
            if end > start
        ]
        return np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs])


def _whole_hash(words: Words) -> int:
    value = len(words)
    for word in words.tolist():
        value = ((value ^ word) * int(_SPREAD) + 1) % 2**64
    return value


def _gram_hashes(flat: Words, offsets: NDArray[np.int64], size: int) -> tuple[Words, NDArray[np.bool_]]:
    """Polynomial hash of the n-gram that begins at each word, and whether it ends within the item."""
    hashes = np.zeros(len(flat), dtype=np.uint64)
    for step in range(size):
        hashes = hashes * BASE
        hashes[: len(flat) - step] += flat[step:]
    last = np.repeat(offsets[1:], np.diff(offsets)) - size
    return hashes, np.arange(len(flat)) <= last


def _covered_by_frequent(
    gram_at: NDArray[np.int32], offsets: NDArray[np.int64], is_rare: NDArray[np.bool_], size: int, share: float
) -> NDArray[np.bool_]:
    """Mask of the items that frequent n-grams alone would cover, shape (items,)."""
    seen = np.where(is_rare, -1, 0).astype(np.int64)
    covered = [covered_words(gram_at, offsets, item, seen, 0, size) for item in range(len(offsets) - 1)]
    return np.array(covered, dtype=np.int64) > share * np.diff(offsets)


def _hash_table(keys: Words) -> tuple[Words, NDArray[np.int32]]:
    slots = 1 << max(int(len(keys) * 3).bit_length(), 4)
    hashes, numbers = np.zeros(slots, dtype=np.uint64), np.full(slots, -1, dtype=np.int32)
    fill(keys, hashes, numbers)
    return hashes, numbers
