"""Token ids of texts that are cut by a rule: tokens are numbered in the order of their first occurrence.

Each block of texts is cut and numbered by itself, by several processes; its few thousand distinct tokens then get
their numbers in the corpus here.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds
from sftdiv.text.processes import in_processes


class GrowingTokenIds:
    """Token ids that grow by appending; Python's arrays grow in place, so that nothing is held in memory twice."""

    def __init__(self) -> None:
        self._flat, self._lengths = array("i"), array("q")

    def append(self, flat: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        """Append the concatenated ids of some texts, and the number of ids of each text."""
        self._flat.frombytes(flat.tobytes())
        self._lengths.frombytes(lengths.tobytes())

    def token_ids(self, names: Sequence[str]) -> TokenIds:
        """All token ids, without a copy."""
        offsets = np.zeros(len(self._lengths) + 1, dtype=np.int64)
        np.cumsum(np.frombuffer(self._lengths, dtype=np.int64), out=offsets[1:])
        return TokenIds(np.frombuffer(self._flat, dtype=np.int32), offsets, names)


class NumberedBlock(NamedTuple):
    """Tokens of a block of texts, numbered in the block.

    Attributes:
        flat: Numbers of all tokens, shape (tokens,).
        lengths: Number of tokens of each text, shape (texts,).
        names: Distinct tokens in the order of their first occurrence.
    """

    flat: NDArray[np.int32]
    lengths: NDArray[np.int64]
    names: list[str]


def number_tokens(
    blocks: Iterable[Sequence[str]],
    number_block: Callable[[Sequence[str]], NumberedBlock],
    *,
    processes: int | None = None,
) -> TokenIds:
    """Token ids of texts, numbered in the order in which the tokens first occur.

    Args:
        blocks: Texts in blocks of about a thousand; read once, in order.
        number_block: Function of a module, or a partial of one: the tokens of a block.
        processes: See `text.processes.in_processes`.
    """
    ids: defaultdict[str, int] = defaultdict(count().__next__)
    growing = GrowingTokenIds()
    for block in in_processes(number_block, blocks, processes=processes):
        number = np.fromiter(map(ids.__getitem__, block.names), dtype=np.int32, count=len(block.names))
        growing.append(number[block.flat], block.lengths)
    return growing.token_ids(list(ids))


def number_by(cut: Callable[[str], list[str]], texts: Sequence[str]) -> NumberedBlock:
    """The tokens of a block of texts that ``cut`` cuts one by one."""
    number: defaultdict[str, int] = defaultdict(count().__next__)
    flat, ends = array("i"), array("q", [0])
    for text in texts:
        flat.extend(map(number.__getitem__, cut(text)))
        ends.append(len(flat))
    return NumberedBlock(np.array(flat, dtype=np.int32), np.diff(ends), list(number))
