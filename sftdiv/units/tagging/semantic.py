"""Normalisation, step 3: tags that mean the same are one tag.

In: tags and an embedder. Out: the commonest name of each cluster of their vectors. As InsTag does
it (arXiv 2308.07074, section 3.2: DBSCAN over phrase embeddings, threshold 0.05), with any embedder
for its PhraseBERT. The trade: DBSCAN chains (a near b near c merges a with c), which a small
distance keeps in check; the record names the largest clusters, so that a reader sees when it did
not.
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
from sftdiv.units.tagging.merging import commonest, counts_of


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Merges tags whose vectors are close.

    Attributes:
        embedder: Any embedder of texts; it is handed the tags.
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
        """The distance and what decides the vectors."""
        return {"distance": self.distance, "embedder": dict(self.embedder.identity())}

    def rename(self, names: Sequence[str], held: scipy.sparse.csr_array) -> list[str | None]:
        """The commonest name of each tag's cluster."""
        with tempfile.TemporaryDirectory(prefix="sftdiv-tags-") as partial:
            vectors = np.array(self.embedder.embed(names, Path(partial)).vectors)
        return list(commonest(names, counts_of(held), neighbours(vectors, distance=self.distance)))


def neighbours(vectors: NDArray[np.float32], *, distance: float) -> NDArray[np.int64]:
    """Cluster of each row, shape (rows,): DBSCAN (Ester et al. 1996) with two points a cluster; -1 for a row on its own.

    Args:
        vectors: Rows of unit length, or of zeros, which are near nothing; shape (rows, dimensions).
        distance: Cosine distance up to which rows are neighbours.
    """
    from sklearn.cluster import DBSCAN

    placed = np.flatnonzero(vectors.any(axis=1))
    cluster = np.full(len(vectors), -1, dtype=np.int64)
    if len(placed):
        cluster[placed] = DBSCAN(eps=distance, min_samples=2, metric="cosine", algorithm="brute").fit_predict(
            vectors[placed]
        )
    return cluster
