"""The matrix of texts x tags, and what merging or dropping tags does to it.

In: lists of tags, or a matrix and a new name for each of its tags. Out: a CSR matrix of ones, its
tags in alphabetical order, a repeated tag counted once. The trade: names carry the merge (equal new
names are one tag, None is dropped), so that a map of names says it all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


def incidence(tags: Sequence[Sequence[str]]) -> tuple[list[str], scipy.sparse.csr_array]:
    """Names of all tags, and which text holds which, shape (texts, tags)."""
    names = sorted({tag for held in tags for tag in held})
    number = {name: i for i, name in enumerate(names)}
    held_types = [sorted({number[tag] for tag in held}) for held in tags]
    indptr = np.cumsum([0, *map(len, held_types)], dtype=np.int64)
    indices = np.fromiter((i for held in held_types for i in held), dtype=np.int64, count=indptr[-1])
    return names, scipy.sparse.csr_array(
        (np.ones(len(indices), dtype=np.int64), indices, indptr), shape=(len(tags), len(names))
    )


def renamed(held: scipy.sparse.csr_array, names: Sequence[str | None]) -> tuple[list[str], scipy.sparse.csr_array]:
    """The matrix after each of its tags (columns) got a new name; equal names become one tag, None none."""
    kept = sorted({name for name in names if name is not None})
    number = {name: i for i, name in enumerate(kept)}
    old = np.array([i for i, name in enumerate(names) if name is not None], dtype=np.int64)
    new = np.array([number[name] for name in names if name is not None], dtype=np.int64)
    ones = np.ones(len(old), dtype=np.int64)
    merged = scipy.sparse.csr_array(held @ scipy.sparse.csr_array((ones, (old, new)), shape=(len(names), len(kept))))
    merged.sort_indices()
    merged.data[:] = 1
    return kept, merged


def commonest(names: Sequence[str], counts: NDArray[np.int64], group: NDArray[np.int64]) -> list[str]:
    """For each tag the name of its group's commonest member (ties: first in the alphabet); a tag of group -1 keeps its own."""
    order = sorted(range(len(names)), key=lambda tag: (-counts[tag], names[tag]))
    first: dict[int, str] = {}
    for tag in order:
        first.setdefault(int(group[tag]), names[tag])
    return [name if group[tag] == -1 else first[int(group[tag])] for tag, name in enumerate(names)]


def counts_of(held: scipy.sparse.csr_array) -> NDArray[np.int64]:
    """Texts that hold each tag, shape (tags,)."""
    return np.bincount(held.indices, minlength=held.shape[1])
