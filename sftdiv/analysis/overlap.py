"""How many examples the subsets of a ladder share.

In: the ids of each subset. Out: Jaccard indices. Pools are nested and draws come from one universe,
so that two cells of a ladder share examples and their scores are not independent: this matrix
belongs beside every interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def jaccard(subsets: Sequence[pa.ChunkedArray]) -> Floats:
    """Shared over all examples of each two subsets, arrays of distinct ids. Shape (subsets, subsets); two empty ones: NaN."""
    sizes = np.array([len(subset) for subset in subsets])
    chunks = [chunk.cast(pa.large_string()) for subset in subsets for chunk in subset.chunks]
    codes = pa.chunked_array(chunks, pa.large_string()).combine_chunks().dictionary_encode().indices.to_numpy()
    rows = np.concatenate([[0], np.cumsum(sizes)])
    holds = scipy.sparse.csr_array(
        (np.ones(len(codes), dtype=np.int64), codes, rows), shape=(len(sizes), int(codes.max(initial=-1)) + 1)
    )
    shared = (holds @ holds.T).toarray().astype(np.float64)
    union = sizes[:, None] + sizes[None, :] - shared
    return np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)


def by_level(similarity: Floats, levels: Floats) -> pd.DataFrame:
    """The mean similarity between the subsets of each two levels, every seed with every seed.

    Args:
        similarity: Of ``jaccard``, shape (subsets, subsets).
        levels: The level of each subset, shape (subsets,).

    Returns:
        Levels x levels; on the diagonal the mean over two different subsets of one level, NaN where
        there is but one.
    """
    found, group = np.unique(levels, return_inverse=True)
    member = (group[:, None] == np.arange(len(found))).astype(np.float64)
    other = 1 - np.eye(len(levels))
    pairs = member.T @ other @ member
    total = member.T @ (similarity * other) @ member
    mean = np.divide(total, pairs, out=np.full_like(total, np.nan), where=pairs > 0)
    return pd.DataFrame(mean, index=pd.Index(found, name="level"), columns=pd.Index(found, name="level"))
