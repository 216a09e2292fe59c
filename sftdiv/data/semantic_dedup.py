"""Semantic deduplication: examples whose embeddings almost agree, found within clusters.

SemDeDup (Abbas et al. 2023, arXiv 2303.09540): embeddings are clustered by k-means; within a cluster examples are
sorted by their cosine to the centroid, smallest first, and an example is dropped if its cosine to any before it
reaches the threshold. So the least typical example of a group remains. Pairs that k-means separates are not found.

With ``on=pair`` the vector of an example is that of both sides, so that the cosine of two examples is the mean of
those of their sides.

Time is proportional to examples x examples per cluster x dimensions; in memory are the texts and embeddings of the
corpus (117,000 examples of 384 dimensions on two sides: 360 MB) and the cosines of one cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.data.dedup import ON, NearDuplicates
from sftdiv.protocols import Embedder, ShardExecutor, embed_by
from sftdiv.records import SIDES, SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, check_range

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 2_048  # examples of a cluster compared with those before at once
ITERATIONS = 20


@dataclass(frozen=True, kw_only=True)
class SemanticDuplicateFinder:
    """Definition of semantic duplicates in a corpus.

    Attributes:
        embedder: Embeds the texts; None is refused.
        on: Compared text, ``pair`` (both sides), ``instruction`` or ``response``.
        threshold: Cosine from which an example duplicates another, in (0, 1].
        cluster_size: Mean number of examples of a cluster.
        seed: Seed of k-means.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    embedder: Embedder | None
    on: str
    threshold: float
    cluster_size: int
    seed: int

    def __post_init__(self) -> None:
        if not hasattr(self.embedder, "embed"):
            raise SftdivError(
                "corpus.dedup=semantic compares embeddings, which embedder=none does not compute: use embedder=minilm "
                "or embedder=lsa, or corpus.dedup=near"
            )
        check_one_of("corpus.semantic.on", self.on, ON)
        check_range("corpus.semantic.threshold", self.threshold, above=0, most=1)
        check_range("corpus.semantic.cluster_size", self.cluster_size, least=2, whole=True)

    def identity(self) -> Mapping[str, Any]:
        """All settings, and the embedder's identity."""
        return {"kind": "semantic", **settings_identity(self)}

    def find(self, tables: Iterable[pa.Table], partial: Path, *, compute: ShardExecutor = LOCAL) -> NearDuplicates:
        """Groups of the rows of Arrow tables with the columns ``instruction`` and ``response``.

        Args:
            tables: The examples, read once, in order.
            partial: Folder of intermediate results; may hold those of a killed call with the same examples.
            compute: Computes the shards of the embeddings; all vectors are compared in this process.
        """
        sides = SIDES if self.on == "pair" else (self.on,)
        texts: dict[str, list[str]] = {side: [] for side in sides}
        for table in tables:
            for side in sides:
                texts[side] += table.column(side).to_pylist()
        assert self.embedder is not None  # refused above
        vectors = []
        for side in sides:
            folder = partial / f"embeddings-{side}"
            folder.mkdir(parents=True, exist_ok=True)
            vectors.append(embed_by(compute, self.embedder, texts.pop(side), folder).vectors)
        joined = np.concatenate(vectors, axis=1) / np.sqrt(len(sides)) if len(sides) > 1 else vectors[0]
        clusters = kmeans_clusters(joined, cluster_size=self.cluster_size, seed=self.seed)
        made_by = {"threshold": self.threshold, "clusters": int(clusters.max()) + 1}
        return NearDuplicates(semantic_groups(joined, clusters, threshold=self.threshold), made_by)


def kmeans_clusters(vectors: NDArray[np.float32], *, cluster_size: int, seed: int) -> NDArray[np.int64]:
    """Cluster of each row by mini-batch k-means (Sculley 2010), on one thread: reruns give the same clusters."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    count = max(1, len(vectors) // cluster_size)
    means = MiniBatchKMeans(count, max_iter=ITERATIONS, n_init=1, init_size=3 * count, random_state=seed)
    with threadpool_limits(1):
        return means.fit_predict(vectors).astype(np.int64)


def semantic_groups(
    vectors: NDArray[np.float32], clusters: NDArray[np.int64], *, threshold: float
) -> NDArray[np.int64]:
    """Row that each row duplicates, itself if it is kept, shape (rows,); see the module's docstring.

    Args:
        vectors: Rows of unit length, or of zeros, which duplicate nothing; shape (rows, dimensions).
        clusters: Cluster of each row, shape (rows,).
        threshold: Cosine from which a row duplicates one before it.
    """
    group = np.arange(len(vectors))
    for members in _members(clusters):
        rows = np.asarray(vectors[members], dtype=np.float64)
        centroid = rows.mean(axis=0)
        order = np.argsort(np.round(rows @ centroid, 9), kind="stable")  # equal texts in the order of the corpus
        rows, members = rows[order], members[order]
        for start in range(0, len(members), BLOCK):
            block = rows[start : start + BLOCK]
            cosines = np.tril(block @ rows[: start + len(block)].T, k=start - 1)  # with those before alone
            nearest = cosines.argmax(axis=1)
            for number in np.flatnonzero(cosines[np.arange(len(block)), nearest] >= threshold).tolist():
                group[members[start + number]] = group[members[nearest[number]]]
    return group


def _members(clusters: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Ascending rows of each cluster that has any."""
    order = np.argsort(clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
