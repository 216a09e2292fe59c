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
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.text.words import UNSPACED, marks

UNITS = ("words", "characters")
# A character in scripts without spaces, a word with its marks, or a sign.
_WORDS = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}](?:[^\W{UNSPACED}]|[{marks()}])*|[^\w\s]")
_BATCH = 1000  # texts
_CACHED_WORDS = 1_000_000  # hashes of words, about 150 MB
# Multiplier of Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4).
_ODD = np.uint64(0x9E3779B97F4A7C15)
_END = np.uint64(0xD6E8FEB86659FD93)  # padding of texts shorter than one shingle


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

    def __iter__(self) -> Iterator[NDArray[np.uint32]]:
        return (self.flat[start:end] for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True))


class Shingler:
    """Collects the sets of shingles of texts, regardless of letter case, spacing and Unicode form.

    Args:
        unit: One of `UNITS`.
        size: Tokens per shingle; a shorter text is one shingle as a whole.

    Raises:
        SftdivError: If the unit is unknown or the size is below 1.
    """

    def __init__(self, *, unit: str, size: int) -> None:
        if unit not in UNITS or size < 1:
            raise SftdivError(
                f"shingles of {size} {unit} cannot be made: the unit must be one of {', '.join(UNITS)}, "
                "the size 1 or more"
            )
        self._tokens = _Words() if unit == "words" else _Characters()
        self._unit, self._size = unit, size
        self._known: dict[bytes, int] = {}
        # Python arrays grow in place, unlike a list of parts.
        self._flat, self._lengths, self._of_text = array("I"), array("q"), array("q")

    def add(self, texts: Sequence[str]) -> None:
        """Add texts, best about a thousand at a time: their shingles are hashed as one array."""
        for shingles in _batch_sets([self._tokens(text) for text in texts], self._size):
            content = shingles.tobytes()
            number = self._known.setdefault(hashlib.blake2b(content, digest_size=16).digest(), len(self._known))
            self._of_text.append(number)
            if number == len(self._lengths):
                self._lengths.append(len(shingles))
                self._flat.frombytes(content)

    def sets(self) -> ShingleSets:
        """The sets of all added texts."""
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.array(self._lengths, dtype=np.int64))])
        of_text = np.array(self._of_text, dtype=np.int64)
        return ShingleSets(np.frombuffer(self._flat, dtype=np.uint32), offsets, of_text, self._unit, self._size)


def shingle_sets(texts: Iterable[str], *, unit: str, size: int) -> ShingleSets:
    """Sets of shingles of texts, which are read once, in order; see `Shingler`."""
    shingler = Shingler(unit=unit, size=size)
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH)):
        shingler.add(batch)
    return shingler.sets()


def _batch_sets(tokens: Sequence[NDArray[np.uint64]], size: int) -> Iterator[NDArray[np.uint32]]:
    """Sorted distinct shingles of each text, from the hashes of its tokens."""
    if not tokens:
        return
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
    ends = np.searchsorted(keys, np.arange(1, len(padded), dtype=np.uint64) << np.uint64(32))
    yield from np.split(keys.astype(np.uint32), ends)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


class _Words(dict[str, int]):
    """Hashes of the words and symbols of a text, equal in every process, unlike Python's ``hash``."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return self.setdefault(word, int.from_bytes(digest, "little"))

    def __call__(self, text: str) -> NDArray[np.uint64]:
        words = _WORDS.findall(_normal(text))
        return np.fromiter(map(self.__getitem__, words), dtype=np.uint64, count=len(words))


class _Characters:
    """Code points of a text; runs of white space count as one blank."""

    def __call__(self, text: str) -> NDArray[np.uint64]:
        spaced = " ".join(_normal(text).split())
        points = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        return points.astype(np.uint64) + np.uint64(1)
