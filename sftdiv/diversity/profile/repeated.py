"""The runs of tokens that many texts share: boilerplate, templates, openings of answers.

In: token ids. Out: the longest runs that enough texts hold, none of them part of another. A run of
n + 1 tokens can be common only if both its runs of n tokens are (Agrawal and Srikant 1994), so that
each length looks only at what the one before has left. The trade: exact counts, one pass a length;
of runs that overlap, the one that covers more of the texts stands for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.records import TokenIds

KEPT = 0.8  # of a run's texts: where a longer run is in as many of them, the longer one tells more
CANDIDATES = 300  # of each length


@dataclass(frozen=True)
class Repeated:
    """One run: its tokens in words, how many texts hold it, and how often it stands in them."""

    tokens: tuple[str, ...]
    texts: int
    occurrences: int


class _Level(NamedTuple):
    """Runs of one length that are common enough: where each occurrence begins, which run it is, and each run's texts and occurrences."""

    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    texts: NDArray[np.int64]
    occurrences: NDArray[np.int64]


def repeated_runs(token_ids: TokenIds, *, shortest: int, longest: int, min_texts: int, top: int) -> list[Repeated]:
    """The runs of ``shortest`` to ``longest`` tokens that at least ``min_texts`` texts hold, by how many tokens they cover in all.

    A run is left out where a longer one is in at least 80 % of its texts, where half of its triples
    of tokens are in a run that covers more, and where fewer than half of its tokens hold a letter.

    Args:
        token_ids: Of the texts; runs do not cross the end of a text.
        shortest: Tokens of a run at least, 3 or more.
        longest: Tokens of a run at most.
        min_texts: Distinct texts that hold a run at least, 2 or more.
        top: Runs at most.

    Returns:
        Runs by texts times length, most first.
    """
    lengths = token_ids.lengths()
    text_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    flat = np.asarray(token_ids.flat)
    level = _common(np.arange(len(flat), dtype=np.int64), flat.astype(np.int64), text_of, min_texts)
    found: list[tuple[int, int, int, int]] = []  # texts x length, length, start, id
    rows = {}
    for length in range(1, longest + 1):
        longer = _extended(level, text_of, length, min_texts) if length < longest else None
        if length >= shortest:
            first = np.zeros(len(level.texts), dtype=np.int64)
            first[level.ids[::-1]] = level.starts[::-1]  # of several values for one place the last is kept
            for run in _ends(level, longer)[:CANDIDATES].tolist():
                start = int(first[run])
                texts, occurrences = int(level.texts[run]), int(level.occurrences[run])
                found.append((texts * length, length, start, occurrences))
                rows[start, length] = texts
        if longer is None or not len(longer.starts):
            break
        level = longer
    return _apart(found, rows, flat, token_ids, top)


def _extended(level: _Level, text_of: NDArray[np.int32], length: int, min_texts: int) -> _Level:
    """The common runs that are one token longer: two common runs that begin one token apart, in one text."""
    follows = np.flatnonzero(level.starts[1:] == level.starts[:-1] + 1)
    ends = level.starts[follows] + length
    follows = follows[text_of[ends] == text_of[level.starts[follows]]]
    keys = level.ids[follows] * max(len(level.texts), 1) + level.ids[follows + 1]
    return _common(level.starts[follows], keys, text_of, min_texts)


def _common(starts: NDArray[np.int64], keys: NDArray[np.int64], text_of: NDArray[np.int32], min_texts: int) -> _Level:
    """Only the runs that enough texts hold, numbered anew; ``starts`` ascend."""
    ids = pd.factorize(keys)[0]  # by hashing: a third of the time of numpy's unique, which sorts
    occurrences = np.bincount(ids)
    texts = _texts_a_run(ids, text_of[starts], len(occurrences))
    kept = texts >= min_texts
    number = np.cumsum(kept) - 1
    stays = kept[ids]
    return _Level(starts[stays], number[ids[stays]], texts[kept], occurrences[kept])


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _texts_a_run(ids: NDArray[np.int64], text: NDArray[np.int32], runs: int) -> NDArray[np.int64]:
    """Distinct texts of each run; the occurrences come text by text."""
    texts, last = np.zeros(runs, dtype=np.int64), np.full(runs, -1, dtype=np.int32)
    for i in range(len(ids)):
        if last[ids[i]] != text[i]:
            last[ids[i]] = text[i]
            texts[ids[i]] += 1
    return texts


def _ends(level: _Level, longer: _Level | None) -> NDArray[np.int64]:
    """The runs that no longer run replaces, those in the most texts first."""
    none = np.empty(0, dtype=np.int64)
    starts, held = (none, none) if longer is None else (longer.starts, longer.texts[longer.ids])
    best = _held_longer(level.starts, level.ids, len(level.texts), starts, held)
    stays = np.flatnonzero(best < KEPT * level.texts)
    return stays[np.argsort(-level.texts[stays], kind="stable")]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _held_longer(
    starts: NDArray[np.int64], ids: NDArray[np.int64], runs: int, longer: NDArray[np.int64], held: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of each run the most texts that hold a run one token longer, which begins at it or one token before it; all starts ascend."""
    best, at = np.zeros(runs, dtype=np.int64), 0
    for i in range(len(longer)):
        while starts[at] < longer[i]:
            at += 1
        best[ids[at]] = max(best[ids[at]], held[i])
        best[ids[at + 1]] = max(best[ids[at + 1]], held[i])
    return best


def _apart(
    found: list[tuple[int, int, int, int]],
    texts: dict[tuple[int, int], int],
    flat: NDArray[np.int32],
    token_ids: TokenIds,
    top: int,
) -> list[Repeated]:
    """The runs that cover most, passing over those that mostly repeat a chosen one."""
    chosen: list[Repeated] = []
    triples_of: list[set[tuple[int, int, int]]] = []
    for _, length, start, occurrences in sorted(found, key=lambda run: (-run[0], -run[1], run[2])):
        run = flat[start : start + length].tolist()
        words = tuple(token_ids.names[token] for token in run)
        if 2 * sum(any(map(str.isalpha, word)) for word in words) < length:
            continue  # rules, brackets and list numbers
        triples = set(zip(run, run[1:], run[2:], strict=False))
        if any(2 * len(triples & other) >= min(len(triples), len(other)) for other in triples_of):
            continue
        chosen.append(Repeated(words, texts[start, length], occurrences))
        triples_of.append(triples)
        if len(chosen) == top:
            break
    return chosen
