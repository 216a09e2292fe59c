"""Runs of tokens that many texts share: boilerplate, templates, openings of answers.

From token ids it finds the longest runs that enough texts contain, none of them part of another. A
run of n + 1 tokens can be common only if both its runs of n tokens are (Agrawal and Srikant 1994),
so each length searches only what the previous one has left. Counts are exact, at one pass per
length. Of overlapping runs, the one that covers more tokens represents the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.records import TokenIds

KEPT = 0.8  # a run is dropped for a longer run that occurs in this share of its texts
CANDIDATES = 300  # runs considered per length


@dataclass(frozen=True)
class Repeated:
    """A run: its tokens in words, the number of texts that contain it, and its occurrences in them."""

    tokens: tuple[str, ...]
    texts: int
    occurrences: int


class _Level(NamedTuple):
    """Common runs of one length.

    Start and run number of each occurrence, shape (occurrences,); texts and occurrences of each
    run, shape (runs,).
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    texts: NDArray[np.int64]
    occurrences: NDArray[np.int64]


class _Candidate(NamedTuple):
    """A run that may be reported, by the position of its first occurrence."""

    start: int
    length: int
    texts: int
    occurrences: int


def repeated_runs(token_ids: TokenIds, *, shortest: int, longest: int, min_texts: int, top: int) -> list[Repeated]:
    """Runs of ``shortest`` to ``longest`` tokens that occur in at least ``min_texts`` texts.

    A run is left out where a longer one occurs in at least 80 % of its texts, where half of its
    triples of tokens are in a run that covers more tokens, and where fewer than half of its tokens
    contain a letter.

    Args:
        token_ids: Token ids of the texts; runs do not cross the end of a text.
        shortest: Minimum number of tokens of a run, 3 or more.
        longest: Maximum number of tokens of a run.
        min_texts: Minimum number of distinct texts of a run, 2 or more.
        top: Maximum number of runs.

    Returns:
        Runs by texts times length, descending.
    """
    lengths = token_ids.lengths()
    text_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    flat = np.asarray(token_ids.flat)
    level = _common(np.arange(len(flat), dtype=np.int64), flat.astype(np.int64), text_of, min_texts)
    candidates: list[_Candidate] = []
    for length in range(1, longest + 1):
        longer = _extended(level, text_of, length, min_texts) if length < longest else None
        if length >= shortest:
            candidates += _candidates(level, longer, length)
        if longer is None or not len(longer.starts):
            break
        level = longer
    return _most_covering(candidates, token_ids, top)


def _candidates(level: _Level, longer: _Level | None, length: int) -> list[_Candidate]:
    """The runs that no longer run replaces, those in the most texts first."""
    first = np.zeros(len(level.texts), dtype=np.int64)
    first[level.ids[::-1]] = level.starts[::-1]  # numpy keeps the last of several values: the earliest start
    return [
        _Candidate(int(first[run]), length, int(level.texts[run]), int(level.occurrences[run]))
        for run in _unreplaced(level, longer)[:CANDIDATES].tolist()
    ]


def _extended(level: _Level, text_of: NDArray[np.int32], length: int, min_texts: int) -> _Level:
    """Common runs of one token more: two common runs that begin one token apart, in one text."""
    follows = np.flatnonzero(level.starts[1:] == level.starts[:-1] + 1)
    ends = level.starts[follows] + length
    follows = follows[text_of[ends] == text_of[level.starts[follows]]]
    keys = level.ids[follows] * max(len(level.texts), 1) + level.ids[follows + 1]
    return _common(level.starts[follows], keys, text_of, min_texts)


def _common(starts: NDArray[np.int64], keys: NDArray[np.int64], text_of: NDArray[np.int32], min_texts: int) -> _Level:
    """The runs (equal ``keys``) that occur in enough texts, renumbered; ``starts`` ascend."""
    ids = pd.factorize(keys)[0]  # by hashing: a third of the time of numpy's unique, which sorts
    occurrences = np.bincount(ids)
    texts = _texts_per_run(ids, text_of[starts], len(occurrences))
    common = texts >= min_texts
    new_ids = np.cumsum(common) - 1
    selected = common[ids]
    return _Level(starts[selected], new_ids[ids[selected]], texts[common], occurrences[common])


@numba.njit(cache=True)
def _texts_per_run(ids: NDArray[np.int64], text: NDArray[np.int32], runs: int) -> NDArray[np.int64]:
    """Distinct texts of each run; the occurrences are in the order of the texts."""
    texts, last = np.zeros(runs, dtype=np.int64), np.full(runs, -1, dtype=np.int32)
    for i in range(len(ids)):
        if last[ids[i]] != text[i]:
            last[ids[i]] = text[i]
            texts[ids[i]] += 1
    return texts


def _unreplaced(level: _Level, longer: _Level | None) -> NDArray[np.int64]:
    """Numbers of the runs that no longer run replaces, those in the most texts first."""
    none = np.empty(0, dtype=np.int64)
    starts, texts = (none, none) if longer is None else (longer.starts, longer.texts[longer.ids])
    most = _texts_of_longer(level.starts, level.ids, len(level.texts), starts, texts)
    unreplaced = np.flatnonzero(most < KEPT * level.texts)
    return unreplaced[np.argsort(-level.texts[unreplaced], kind="stable")]


@numba.njit(cache=True)
def _texts_of_longer(
    starts: NDArray[np.int64],
    ids: NDArray[np.int64],
    runs: int,
    longer_starts: NDArray[np.int64],
    longer_texts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Most texts of any run one token longer that contains each run, shape (runs,); all starts ascend."""
    most, position = np.zeros(runs, dtype=np.int64), 0
    for i in range(len(longer_starts)):
        while starts[position] < longer_starts[i]:
            position += 1
        for contained in (position, position + 1):
            most[ids[contained]] = max(most[ids[contained]], longer_texts[i])
    return most


def _most_covering(candidates: list[_Candidate], token_ids: TokenIds, top: int) -> list[Repeated]:
    """The runs that cover most tokens, without those that mostly repeat an earlier one."""
    runs: list[Repeated] = []
    triples_of: list[set[tuple[int, int, int]]] = []
    for run in sorted(candidates, key=lambda run: (-run.texts * run.length, -run.length, run.start)):
        tokens = token_ids.flat[run.start : run.start + run.length].tolist()
        words = tuple(token_ids.names[token] for token in tokens)
        if 2 * sum(any(map(str.isalpha, word)) for word in words) < run.length:
            continue  # rules, brackets and list numbers
        triples = set(zip(tokens, tokens[1:], tokens[2:], strict=False))
        if any(2 * len(triples & other) >= min(len(triples), len(other)) for other in triples_of):
            continue
        runs.append(Repeated(words, run.texts, run.occurrences))
        triples_of.append(triples)
        if len(runs) == top:
            break
    return runs
