"""Sets of shingles of texts: the runs of a few tokens that near duplicates share.

The distinct sets stand end to end in one array, each as sorted 32-bit hashes, together with the set of
each text. A token is a word or a single symbol, so that ``3 + 5`` and ``3 - 5`` differ; scripts without
spaces count by the character. 32 bits halve the memory of a long corpus; in return, two sets of 1,000
shingles share one by accident in one of 4,000 comparisons.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.set_numbers import SetNumbers
from sftdiv.records import SftdivError
from sftdiv.text.ascii_tokens import number_ascii_tokens
from sftdiv.text.processes import in_processes
from sftdiv.text.words import UNSPACED, marks

UNITS = ("words", "characters")
# A character in scripts without spaces, a word with its marks, or a sign.
_WORDS = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}](?:[^\W{UNSPACED}]|[{marks()}])*|[^\w\s]")
BATCH = 1000  # texts
_CACHED_WORDS = 1_000_000  # hashes of words, about 150 MB
# Multiplier of Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4).
_ODD = np.uint64(0x9E3779B97F4A7C15)
_END = np.uint64(0xD6E8FEB86659FD93)  # padding of texts shorter than one shingle


class TextShingles(NamedTuple):
    """Sets of shingles of some texts, one each.

    Attributes:
        flat: Shingles of all texts, ascending in each, shape (shingles,).
        lengths: Number of shingles of each text, shape (texts,).
    """

    flat: NDArray[np.uint32]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class ShingleSets:
    """Distinct sets of shingles; none is empty.

    Attributes:
        flat: Shingles of set ``s`` at ``flat[offsets[s]:offsets[s + 1]]``, ascending, shape (shingles,), uint32.
        offsets: Start of each set, then the total, shape (sets + 1,), int64.
        of_text: Set of each text, shape (texts,), int64.
        unit: Unit of shingles, one of `UNITS`.
        size: Units per shingle.
    """

    flat: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    of_text: NDArray[np.int64]
    unit: str
    size: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def block(self, start: int, end: int) -> TextShingles:
        """The sets from ``start`` to ``end``, or to the last."""
        offsets = self.offsets[start : end + 1]
        return TextShingles(self.flat[offsets[0] : offsets[-1]], np.diff(offsets))

    def __iter__(self) -> Iterator[NDArray[np.uint32]]:
        return (self.flat[start:end] for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True))


def shingles_of(texts: Sequence[str], *, unit: str, size: int) -> TextShingles:
    """Sets of shingles of texts, regardless of letter case, spacing and Unicode form.

    Args:
        texts: Texts, best about a thousand: their shingles are hashed as one array.
        unit: One of `UNITS`.
        size: Tokens per shingle; a shorter text is one shingle as a whole.

    Raises:
        SftdivError: If the unit is unknown or the size is below 1.
    """
    if unit not in UNITS or size < 1:
        raise SftdivError(
            f"shingles of {size} {unit} cannot be made: the unit must be one of {', '.join(UNITS)}, the size 1 or more"
        )
    return _batch_sets(_word_hashes(texts) if unit == "words" else [_character_hashes(text) for text in texts], size)


class SetCollector:
    """Collects the distinct sets of shingles of texts.

    Args:
        unit: Unit of the shingles.
        size: Units per shingle.
    """

    def __init__(self, *, unit: str, size: int) -> None:
        self._unit, self._size = unit, size
        self._numbers = SetNumbers()
        # Python arrays grow in place, unlike a list of parts.
        self._flat, self._lengths, self._of_text = array("I"), array("q"), array("q")

    def add(self, shingles: TextShingles) -> None:
        """Add texts."""
        self._of_text.frombytes(self._collect(shingles).tobytes())

    def add_sets(self, sets: ShingleSets) -> NDArray[np.bool_]:
        """Add texts whose sets are collected already; returns a mask of the sets that are new, shape (sets,)."""
        known = len(self._numbers)
        number = self._collect(sets.block(0, len(sets)))
        self._of_text.frombytes(number[sets.of_text].tobytes())
        return number >= known

    def _collect(self, shingles: TextShingles) -> NDArray[np.int64]:
        """The number of each set, which is stored if it is new, shape (texts,)."""
        known = len(self._numbers)
        numbers = self._numbers.number(shingles.flat, shingles.lengths)
        largest = np.maximum.accumulate(numbers)
        is_first = (numbers >= known) & (np.diff(largest, prepend=known - 1) > 0)
        self._lengths.frombytes(shingles.lengths[is_first].tobytes())
        self._flat.frombytes(shingles.flat[np.repeat(is_first, shingles.lengths)].tobytes())
        return numbers

    def sets(self) -> ShingleSets:
        """The sets of all added texts."""
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.array(self._lengths, dtype=np.int64))])
        of_text = np.array(self._of_text, dtype=np.int64)
        return ShingleSets(np.frombuffer(self._flat, dtype=np.uint32), offsets, of_text, self._unit, self._size)


def shingle_sets(texts: Iterable[str], *, unit: str, size: int) -> ShingleSets:
    """Sets of shingles of texts, which are read once, in order; see `shingles_of`."""
    collector, remaining = SetCollector(unit=unit, size=size), iter(texts)
    batches = iter(lambda: list(islice(remaining, BATCH)), [])
    for shingles in in_processes(partial(shingles_of, unit=unit, size=size), batches):
        collector.add(shingles)
    return collector.sets()


def _batch_sets(tokens: Sequence[NDArray[np.uint64]], size: int) -> TextShingles:
    """Sorted distinct shingles of each text, from the hashes of its tokens."""
    if not tokens:
        return TextShingles(np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.int64))
    padded = [row if len(row) >= size else np.pad(row, (0, size - len(row)), constant_values=_END) for row in tokens]
    flat = np.concatenate(padded)
    text = np.repeat(np.arange(len(padded), dtype=np.uint64), [len(row) for row in padded])
    windows = len(flat) - size + 1
    hashed = np.zeros(windows, dtype=np.uint64)
    for offset in range(size):
        hashed = (hashed ^ flat[offset : offset + windows]) * _ODD
        hashed ^= hashed >> np.uint64(29)
    inside = text[:windows] == text[size - 1 :]
    keys = np.sort(text[:windows][inside] << np.uint64(32) | hashed[inside] >> np.uint64(32))
    keys = keys[np.diff(keys, prepend=~keys[:1]) != 0]  # np.unique hashes and takes 40 times as long here
    return TextShingles(keys.astype(np.uint32), np.bincount((keys >> np.uint64(32)).astype(np.int64)))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


class _Hashes(dict[str, int]):
    """Hashes of words and symbols, equal in every process, unlike Python's ``hash``; each process remembers its own."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return self.setdefault(word, int.from_bytes(digest, "little"))


_HASHES = _Hashes()


def _word_hashes(texts: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Hashes of the words and symbols of each text."""
    tokens = number_ascii_tokens([_normal(text) for text in texts], _WORDS.findall, inner_apostrophes=False)
    hashes = np.fromiter(map(_HASHES.__getitem__, tokens.names), dtype=np.uint64, count=len(tokens.names))
    return np.split(hashes[tokens.flat], np.cumsum(tokens.lengths)[:-1]) if len(texts) else []


def _character_hashes(text: str) -> NDArray[np.uint64]:
    """Code points of a text; runs of white space count as one blank."""
    spaced = " ".join(_normal(text).split())
    points = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return points.astype(np.uint64) + np.uint64(1)
