"""UMAP and HDBSCAN, as BERTopic puts them together: the vectors laid out in a few dimensions, and the dense regions there.

In: vectors. Out: a cluster a row, or noise. The steps of BERTopic (Grootendorst 2022, arXiv
2203.05794) without the package: no documents and vectorizers between the vectors and the clusters,
and every seed and thread in one's own hand. umap-learn is left out too: with a seed it lays out on
one thread, and without one it is not reproducible. Neighbours are exact, the graph is umap-learn's,
the layout moves each point by the same forces in an order that does not matter (`layout`), and
HDBSCAN is the package ``hdbscan`` (Boruvka, n log n; scikit-learn's is quadratic). The trade:
places start from principal components and not from the graph's spectrum, and the neighbours' cost
is quadratic, which a million rows do not bear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

WIDTH = 10.0  # of the starting points in each dimension, as in umap-learn


@dataclass(frozen=True, kw_only=True)
class UmapHdbscanClusterer:
    """UMAP by cosine, then HDBSCAN by Euclidean distance.

    Attributes:
        neighbours: Of a row in UMAP's graph, itself counted; more look at larger regions.
        dimensions: Of the layout.
        min_dist: Distance in the layout below which rows are not pulled closer.
        epochs: Rounds of the layout.
        min_cluster_size: Rows that a cluster must have.
        min_samples: Neighbours that make a row dense; lower leaves less noise.
        selection: ``eom`` takes the clusters that last longest, ``leaf`` the smallest.
        seed: Of the layout.
    """

    neighbours: int
    dimensions: int
    min_dist: float
    epochs: int
    min_cluster_size: int
    min_samples: int
    selection: Literal["eom", "leaf"]
    seed: int
    libraries: ClassVar = ("hdbscan", "numpy", "scikit-learn", "scipy")

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); -1 is noise. float32 up to the layout, float64 in HDBSCAN.

        Raises:
            SftdivError: If there are fewer rows than neighbours or than a cluster must have.
        """
        from hdbscan import HDBSCAN

        from sftdiv.units.clustering.fuzzy_graph import fuzzy_graph
        from sftdiv.units.clustering.layout import layout
        from sftdiv.units.clustering.neighbours import nearest_neighbours

        if len(vectors) < max(self.min_cluster_size, self.neighbours):
            raise SftdivError(
                f"{len(vectors)} distinct texts cannot make a topic of min_cluster_size={self.min_cluster_size} with "
                f"neighbours={self.neighbours}; lower them (strategy.units.clusterer.min_cluster_size, .neighbours)"
            )
        graph = fuzzy_graph(*nearest_neighbours(vectors, self.neighbours - 1))
        places = layout(graph, self._start(vectors), epochs=self.epochs, min_dist=self.min_dist, seed=self.seed)
        density = HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            cluster_selection_method=self.selection,
            core_dist_n_jobs=1,
        )
        return np.asarray(density.fit_predict(places.astype(np.float64)), dtype=np.int64)

    def _start(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Leading principal components, each stretched to a width of 10, with a little noise so that equal rows can part."""
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            places = PCA(self.dimensions, svd_solver="covariance_eigh").fit_transform(vectors)
        places *= WIDTH / np.maximum(np.ptp(places, axis=0), np.finfo(np.float32).tiny)
        places += np.random.default_rng(self.seed).normal(scale=1e-4, size=places.shape)
        return places.astype(np.float32)
