"""Normalisation, step 3: tags of the same meaning are merged.

Tags in one cluster of the embedded tags get the most common of their names. This is InsTag's method
(arXiv 2308.07074, section 3.2: DBSCAN on phrase embeddings, threshold 0.05) with any embedder
instead of PhraseBERT. DBSCAN chains (a near b and b near c merge a with c). A small distance limits
this; the record lists the largest clusters, so that excessive merging is visible.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.protocols import Embedder
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.units.tagging.merging import commonest, counts_of


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Merges tags whose vectors are close.

    Attributes:
        embedder: Embeds the tags; any embedder of texts.
        distance: Cosine distance (1 - cosine) up to which two tags are neighbours.
    """

    embedder: Embedder
    distance: float

    def __post_init__(self) -> None:
        if not 0 < self.distance < 1:
            raise SftdivError(
                f"the cosine distance of the semantic step must lie between 0 and 1, got distance={self.distance}"
            )

    def identity(self) -> dict[str, Any]:
        """The distance and the embedder's identity."""
        return {"kind": "semantic", **settings_identity(self)}

    def rename(self, names: Sequence[str], matrix: scipy.sparse.csr_array) -> list[str | None]:
        """The most common name in each tag's cluster."""
        with tempfile.TemporaryDirectory(prefix="sftdiv-tags-") as partial:
            vectors = np.array(self.embedder.embed(names, Path(partial)).vectors)
        return list(commonest(names, counts_of(matrix), neighbours(vectors, distance=self.distance)))


def neighbours(vectors: NDArray[np.float32], *, distance: float) -> NDArray[np.int64]:
    """Cluster of each row by DBSCAN (Ester et al. 1996) with at least two rows per cluster; -1 for a single row.

    Args:
        vectors: Rows of unit length, or of zeros, which have no neighbours; shape (rows,
            dimensions).
        distance: Cosine distance up to which rows are neighbours.

    Returns:
        Shape (rows,).
    """
    from sklearn.cluster import DBSCAN

    nonzero = np.flatnonzero(vectors.any(axis=1))
    cluster = np.full(len(vectors), -1, dtype=np.int64)
    if len(nonzero):
        dbscan = DBSCAN(eps=distance, min_samples=2, metric="cosine", algorithm="brute")
        cluster[nonzero] = dbscan.fit_predict(vectors[nonzero])
    return cluster
