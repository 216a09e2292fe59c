"""The matrix of texts x tags, and the effect of merging or dropping tags on it.

The matrix is CSR with ones as entries: tags are in alphabetical order, and a repeated tag counts
once. A merge is expressed by names (tags with equal new names are one tag, None is dropped), so
that a map of names describes the whole normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


def incidence(tags: Sequence[Sequence[str]]) -> tuple[list[str], scipy.sparse.csr_array]:
    """The names of all tags, and the matrix of texts and tags, shape (texts, tags)."""
    names = sorted({tag for text_tags in tags for tag in text_tags})
    number = {name: i for i, name in enumerate(names)}
    columns = [sorted({number[tag] for tag in text_tags}) for text_tags in tags]
    indptr = np.cumsum([0, *map(len, columns)], dtype=np.int64)
    indices = np.fromiter((column for row in columns for column in row), dtype=np.int64, count=indptr[-1])
    ones = np.ones(len(indices), dtype=np.int64)
    return names, scipy.sparse.csr_array((ones, indices, indptr), shape=(len(tags), len(names)))


def renamed(matrix: scipy.sparse.csr_array, names: Sequence[str | None]) -> tuple[list[str], scipy.sparse.csr_array]:
    """The matrix after its tags were renamed.

    Args:
        matrix: Texts x tags.
        names: New name of each tag; equal names are merged, None drops the tag.

    Returns:
        The new names, alphabetical, and the matrix of texts x new tags.
    """
    final = sorted({name for name in names if name is not None})
    number = {name: i for i, name in enumerate(final)}
    old = np.array([i for i, name in enumerate(names) if name is not None], dtype=np.int64)
    new = np.array([number[name] for name in names if name is not None], dtype=np.int64)
    ones = np.ones(len(old), dtype=np.int64)
    merged = scipy.sparse.csr_array(matrix @ scipy.sparse.csr_array((ones, (old, new)), shape=(len(names), len(final))))
    merged.sort_indices()
    merged.data[:] = 1
    return final, merged


def commonest(names: Sequence[str], counts: NDArray[np.int64], group: NDArray[np.int64]) -> list[str]:
    """The name of the most common tag in each tag's group (ties: alphabetical).

    Args:
        names: Name of each tag.
        counts: Number of texts with each tag, shape (tags,).
        group: Group of each tag, shape (tags,); a tag of group -1 keeps its own name.
    """
    order = sorted(range(len(names)), key=lambda tag: (-counts[tag], names[tag]))
    first: dict[int, str] = {}
    for tag in order:
        first.setdefault(int(group[tag]), names[tag])
    return [name if group[tag] == -1 else first[int(group[tag])] for tag, name in enumerate(names)]


def counts_of(matrix: scipy.sparse.csr_array) -> NDArray[np.int64]:
    """Number of texts with each tag, shape (tags,)."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1])
