"""Overlap between the subsets of a ladder.

The input is the example ids of each subset, the output is Jaccard indices. Pools are nested and all
draws come from one universe, so two cells of a ladder share examples and their scores are not
independent. The matrix should be shown together with every interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def jaccard(subsets: Sequence[pa.ChunkedArray]) -> Floats:
    """The Jaccard index of each two subsets; NaN for two empty ones.

    Args:
        subsets: Arrays of distinct example ids.

    Returns:
        Shape (subsets, subsets).
    """
    sizes = np.array([len(subset) for subset in subsets])
    chunks = [chunk.cast(pa.large_string()) for subset in subsets for chunk in subset.chunks]
    codes = pa.chunked_array(chunks, pa.large_string()).combine_chunks().dictionary_encode().indices.to_numpy()
    rows = np.concatenate([[0], np.cumsum(sizes)])
    membership = scipy.sparse.csr_array(
        (np.ones(len(codes), dtype=np.int64), codes, rows), shape=(len(sizes), int(codes.max(initial=-1)) + 1)
    )
    shared = (membership @ membership.T).toarray().astype(np.float64)
    union = sizes[:, None] + sizes[None, :] - shared
    return np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)


def by_level(similarity: Floats, levels: Floats) -> pd.DataFrame:
    """The mean similarity between the subsets of each two levels, over all pairs of seeds.

    Args:
        similarity: Result of ``jaccard``, shape (subsets, subsets).
        levels: Level of each subset, shape (subsets,).

    Returns:
        Levels x levels. The diagonal is the mean over two different subsets of one level, NaN if
        the level has only one.
    """
    return by_name(similarity, levels).rename_axis(index="level", columns="level")


def by_name(similarity: Floats, names: NDArray[Any], *, together: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """The mean similarity between different subsets of each two names, NaN where there is no such pair.

    Args:
        similarity: Result of ``jaccard``, shape (subsets, subsets).
        names: Name of each subset, shape (subsets,).
        together: Which pairs count, shape (subsets, subsets), symmetric; None for all.
    """
    distinct, group = np.unique(names, return_inverse=True)
    member = (group[:, None] == np.arange(len(distinct))).astype(np.float64)
    counted = 1 - np.eye(len(names))
    if together is not None:
        counted *= together
    pairs = member.T @ counted @ member
    total = member.T @ (similarity * counted) @ member
    mean = np.divide(total, pairs, out=np.full_like(total, np.nan), where=pairs > 0)
    return pd.DataFrame(mean, index=pd.Index(distinct), columns=pd.Index(distinct))
