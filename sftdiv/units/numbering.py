"""Token ids of texts that are cut by a rule: tokens are numbered in the order of their first occurrence.

Each block of texts is cut and numbered by itself, by any process; its few thousand distinct tokens then get their
numbers in the corpus by `Numbering`.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds


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


def save_block(block: NumberedBlock, path: Path) -> None:
    """Write a block into a file of any name."""
    names = np.frombuffer(json.dumps(block.names).encode(), dtype=np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, flat=block.flat, lengths=block.lengths, names=names)


def load_block(path: Path) -> NumberedBlock:
    """Read a file of `save_block`."""
    with np.load(path, allow_pickle=False) as arrays:
        return NumberedBlock(arrays["flat"], arrays["lengths"], json.loads(arrays["names"].tobytes()))


class Numbering:
    """Numbers the tokens of blocks of texts, which are added in the order of the texts."""

    def __init__(self) -> None:
        self._ids: defaultdict[str, int] = defaultdict(count().__next__)
        self._growing = GrowingTokenIds()

    def add(self, block: NumberedBlock) -> None:
        """Append a block."""
        number = np.fromiter(map(self._ids.__getitem__, block.names), dtype=np.int32, count=len(block.names))
        self._growing.append(number[block.flat], block.lengths)

    def token_ids(self) -> TokenIds:
        """Token ids of all blocks."""
        return self._growing.token_ids(list(self._ids))


def number_by(cut: Callable[[str], list[str]], texts: Sequence[str]) -> NumberedBlock:
    """The tokens of a block of texts that ``cut`` cuts one by one."""
    number: defaultdict[str, int] = defaultdict(count().__next__)
    flat, ends = array("i"), array("q", [0])
    for text in texts:
        flat.extend(map(number.__getitem__, cut(text)))
        ends.append(len(flat))
    return NumberedBlock(np.array(flat, dtype=np.int32), np.diff(ends), list(number))
