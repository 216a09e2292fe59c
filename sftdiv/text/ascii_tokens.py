"""Words and signs of ASCII texts, many texts at once: what Python's regular expressions find, in a tenth of the time.

A block of texts is one array of bytes. A compiled loop (`ascii_kernels`) cuts it and numbers the distinct tokens;
only these become Python strings, a few thousand per block. Other texts are cut by their regular expression.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import compress, count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEWEST = 1_000  # texts of a block for which the loop is compiled, which takes some seconds once on a machine


class NumberedTokens(NamedTuple):
    """Tokens of some texts.

    Attributes:
        flat: Number of each token of all texts, shape (tokens,).
        lengths: Number of tokens of each text, shape (texts,).
        names: Distinct tokens in the order of their first occurrence.
    """

    flat: NDArray[np.int32]
    lengths: NDArray[np.int64]
    names: list[str]


def number_ascii_tokens(
    texts: Sequence[str], otherwise: Callable[[str], list[str]], *, inner_apostrophes: bool, fewest: int = FEWEST
) -> NumberedTokens:
    r"""Tokens of texts by the rule ``\w+|[^\s\w]``, numbered by first occurrence.

    Args:
        texts: Texts, best about a thousand.
        otherwise: Tokens of any text by the same rule, for texts that are not ASCII.
        inner_apostrophes: Whether apostrophes between letters belong to the word: ``\w+(?:'+\w+)*|[^\s\w]``.
        fewest: Number of texts below which all take the regular expression.
    """
    is_ascii = np.fromiter(map(str.isascii, texts), dtype=bool, count=len(texts))
    if len(texts) < fewest:
        is_ascii[:] = False
    ascii_texts = texts if is_ascii.all() else list(compress(texts, is_ascii))
    flat, ascii_lengths, names = _cut_ascii(ascii_texts, inner_apostrophes)
    if is_ascii.all():
        return NumberedTokens(flat, ascii_lengths, names)
    number = defaultdict(count(len(names)).__next__, {name: position for position, name in enumerate(names)})
    other_flat, lengths = array("i"), np.empty(len(texts), dtype=np.int64)
    lengths[is_ascii] = ascii_lengths
    for row in np.flatnonzero(~is_ascii).tolist():
        before = len(other_flat)
        other_flat.extend(map(number.__getitem__, otherwise(texts[row])))
        lengths[row] = len(other_flat) - before
    is_from_ascii = np.repeat(is_ascii, lengths)
    merged = np.empty(len(is_from_ascii), dtype=np.int32)
    merged[is_from_ascii], merged[~is_from_ascii] = flat, np.array(other_flat, dtype=np.int32)
    return _by_first_occurrence(merged, lengths, list(number))


def _cut_ascii(texts: Sequence[str], inner_apostrophes: bool) -> NumberedTokens:
    """Tokens of ASCII texts."""
    if not texts:
        return NumberedTokens(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), [])
    from sftdiv.text.ascii_kernels import cut_and_number

    content = "\n".join(texts)
    ends = np.cumsum(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1)
    as_bytes = np.frombuffer(content.encode(), np.uint8)
    flat, lengths, starts, sizes = cut_and_number(as_bytes, ends, inner_apostrophes)
    names = [content[start:end] for start, end in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)]
    return NumberedTokens(flat, lengths, names)


def _by_first_occurrence(flat: NDArray[np.int32], lengths: NDArray[np.int64], names: list[str]) -> NumberedTokens:
    first = np.empty(len(names), dtype=np.int64)
    first[flat[::-1]] = np.arange(len(flat))[::-1]  # numpy keeps the last of several values
    order = np.argsort(first)
    rank = np.empty(len(names), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return NumberedTokens(rank[flat], lengths, [names[number] for number in order])
