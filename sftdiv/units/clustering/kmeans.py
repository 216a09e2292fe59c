"""Spherical k-means: a given number of clusters, each around a direction, without noise.

Lloyd's algorithm with cosine similarity (Dhillon and Modha 2001) on vectors of unit length,
initialised by k-means++ (Arthur and Vassilvitskii 2007) on a sample of the rows. scikit-learn's
k-means copies the data and sums in the order in which its threads finish. This one needs no copy,
and every sum has a fixed order, whatever the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.vectors.threads import Ranges, in_ranges

ROWS = 4_096  # rows per task of one thread
SUMMED = 16_384  # rows per partial sum
SAMPLE = 50  # rows per cluster in the sample of the initialisation
MAX_PRODUCTS = 1 << 24  # entries of one block of similarities


@dataclass(frozen=True, kw_only=True)
class KmeansClusterer:
    """Spherical k-means.

    Attributes:
        clusters: Number of clusters; some may be empty where rows repeat.
        iterations: Maximum iterations; stops earlier when fewer than one row in a thousand changes
            cluster.
        seed: Seed of the initial centres.
    """

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

    clusters: int
    iterations: int
    seed: int

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "kmeans", **settings_identity(self)}

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); float32, sums in float64.

        Raises:
            SftdivError: If there are fewer rows than clusters.
        """
        if len(vectors) < self.clusters:
            raise SftdivError(
                f"{len(vectors)} distinct texts cannot make {self.clusters} clusters; "
                "lower strategy.units.clusterer.clusters"
            )
        rng = np.random.default_rng(self.seed)
        sample = np.sort(rng.choice(len(vectors), min(SAMPLE * self.clusters, len(vectors)), replace=False))
        with in_ranges() as ranges:
            centres = first_centres(vectors[sample], self.clusters, rng)
            nearest = nearest_centre(vectors, centres, ranges)
            for _ in range(self.iterations):
                centres = mean_directions(vectors, nearest, centres)
                previous, nearest = nearest, nearest_centre(vectors, centres, ranges)
                if np.mean(previous != nearest) < 1e-3:
                    break
        return nearest


def first_centres(vectors: NDArray[np.float32], clusters: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Initial centres by k-means++: rows drawn with probability proportional to the distance from the drawn ones.

    Args:
        vectors: Rows of unit length, shape (rows, dimensions).
        clusters: Number of centres.
        rng: Source of randomness.

    Returns:
        Rows of ``vectors``, shape (clusters, dimensions); the distance is cosine.
    """
    centres = np.empty((clusters, vectors.shape[1]), dtype=np.float32)
    centres[0] = vectors[rng.integers(len(vectors))]
    distance = np.full(len(vectors), np.inf)
    uniform = np.full(len(vectors), 1 / len(vectors))  # used when every row equals a drawn one
    for number in range(1, clusters):
        distance = np.minimum(distance, np.maximum(1.0 - vectors @ centres[number - 1], 0))
        total = distance.sum()
        centres[number] = vectors[rng.choice(len(vectors), p=distance / total if total > 0 else uniform)]
    return centres


def nearest_centre(vectors: NDArray[np.float32], centres: NDArray[np.float32], ranges: Ranges) -> NDArray[np.int64]:
    """The centre at the smallest angle per row (ties: the first), shape (rows,), computed in blocks of rows."""
    nearest = np.empty(len(vectors), dtype=np.int64)

    def assign(start: int, stop: int) -> None:
        nearest[start:stop] = np.argmax(vectors[start:stop] @ centres.T, axis=1)

    ranges(assign, len(vectors), max(1, min(ROWS, MAX_PRODUCTS // len(centres))))
    return nearest


def mean_directions(
    vectors: NDArray[np.float32], cluster: NDArray[np.int64], previous: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The normalised mean of each cluster's rows.

    Args:
        vectors: Rows, shape (rows, dimensions).
        cluster: Cluster of each row, shape (rows,); -1 for none.
        previous: Centres that empty clusters keep, shape (clusters, dimensions).

    Returns:
        Centres, shape of ``previous``, float32.
    """
    sums = np.zeros(previous.shape)
    for start in range(0, len(vectors), SUMMED):  # scipy would convert all vectors to float64 at once
        block = vectors[start : start + SUMMED]
        rows = np.flatnonzero(cluster[start : start + SUMMED] >= 0)
        entries = (np.ones(len(rows)), (cluster[start + rows], rows))
        sums += scipy.sparse.csr_array(entries, shape=(len(previous), len(block))) @ block
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), previous).astype(np.float32)
