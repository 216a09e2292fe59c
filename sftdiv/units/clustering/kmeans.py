"""Spherical k-means: a given number of clusters, each around a direction; no noise.

In: vectors of unit length. Out: a cluster a row. Lloyd's algorithm with cosine as the measure
(Dhillon and Modha 2001) on all rows, seeded by k-means++ (Arthur and Vassilvitskii 2007) on a
sample. The trade: scikit-learn's sums in the order in which its threads finish, and copies the
data; here every sum has a fixed order, whatever the threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.units.clustering.threads import Ranges, in_ranges

ROWS = 4_096  # assigned by one thread at a time
SUMMED = 16_384  # rows that are summed at a time
SAMPLE = 50  # rows a cluster that the seeding looks at


@dataclass(frozen=True, kw_only=True)
class KmeansClusterer:
    """Spherical k-means.

    Attributes:
        clusters: How many; some may end empty where rows repeat.
        iterations: Rounds at most; it ends sooner when under one row in a thousand moves.
        seed: Of the first centres.
    """

    clusters: int
    iterations: int
    seed: int
    libraries: ClassVar = ("numpy", "scipy")

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); float32, sums in float64.

        Raises:
            SftdivError: If there are fewer rows than clusters.
        """
        if len(vectors) < self.clusters:
            raise SftdivError(
                f"{len(vectors)} distinct texts cannot make {self.clusters} clusters; lower strategy.units.clusterer.clusters"
            )
        rng = np.random.default_rng(self.seed)
        sample = np.sort(rng.choice(len(vectors), min(SAMPLE * self.clusters, len(vectors)), replace=False))
        with in_ranges() as ranges:
            centres = first_centres(vectors[sample], self.clusters, rng)
            nearest = nearest_centre(vectors, centres, ranges)
            for _ in range(self.iterations):
                centres = mean_directions(vectors, nearest, centres)
                before, nearest = nearest, nearest_centre(vectors, centres, ranges)
                if np.mean(before != nearest) < 1e-3:
                    break
        return nearest


def first_centres(vectors: NDArray[np.float32], clusters: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows drawn one after the other, by chance in proportion to its cosine distance from those drawn, shape (clusters, dimensions)."""
    chosen = np.empty((clusters, vectors.shape[1]), dtype=np.float32)
    chosen[0] = vectors[rng.integers(len(vectors))]
    distance = np.full(len(vectors), np.inf)
    for number in range(1, clusters):
        distance = np.minimum(distance, np.maximum(1.0 - vectors @ chosen[number - 1], 0))
        total = distance.sum()
        even = np.full(len(vectors), 1 / len(vectors))  # all rows are drawn ones, or copies of them
        chosen[number] = vectors[rng.choice(len(vectors), p=distance / total if total > 0 else even)]
    return chosen


def nearest_centre(vectors: NDArray[np.float32], centres: NDArray[np.float32], ranges: Ranges) -> NDArray[np.int64]:
    """The centre at the smallest angle (of equal ones the first) for each row, shape (rows,); a block of rows at a time."""
    nearest = np.empty(len(vectors), dtype=np.int64)

    def work(start: int, stop: int) -> None:
        nearest[start:stop] = np.argmax(vectors[start:stop] @ centres.T, axis=1)

    ranges(work, len(vectors), max(1, min(ROWS, (1 << 24) // len(centres))))
    return nearest


def mean_directions(
    vectors: NDArray[np.float32], cluster: NDArray[np.int64], before: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The normalised mean of each cluster's rows, shape of ``before``, whose place an empty cluster keeps; -1 is in no cluster."""
    sums = np.zeros(before.shape)
    for start in range(0, len(vectors), SUMMED):  # scipy would make float64 of all vectors at once
        block = vectors[start : start + SUMMED]
        rows = np.flatnonzero(cluster[start : start + SUMMED] >= 0)
        held = cluster[start + rows]
        sums += scipy.sparse.csr_array((np.ones(len(rows)), (held, rows)), shape=(len(before), len(block))) @ block
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), before).astype(np.float32)
