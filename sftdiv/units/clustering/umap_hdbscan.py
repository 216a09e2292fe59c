"""UMAP and HDBSCAN, combined as in BERTopic: a layout of the vectors in a few dimensions, and its dense regions.

These are the steps of BERTopic (Grootendorst 2022, arXiv 2203.05794) without the package, so that
every seed and thread is controlled here. umap-learn is not used either: with a seed its layout runs
on one thread, and without one it is not reproducible. Neighbours are exact, the graph equals
umap-learn's, the layout applies the same forces in an order that does not matter (`layout`), and
HDBSCAN is the package ``hdbscan`` (Boruvka, n log n; scikit-learn's is quadratic).

Two differences remain: positions are initialised by principal components and not by the graph's
spectrum, and the quadratic neighbour search does not scale to a million rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity

WIDTH = 10.0  # of the initial positions in each dimension, as in umap-learn


@dataclass(frozen=True, kw_only=True)
class UmapHdbscanClusterer:
    """UMAP with cosine distance, then HDBSCAN with Euclidean distance.

    Attributes:
        neighbours: Neighbours of a row in UMAP's graph, the row included; more give larger regions.
        dimensions: Dimensions of the layout.
        min_dist: Distance in the layout below which rows are not pulled closer.
        epochs: Epochs of the layout.
        min_cluster_size: Minimum rows of a cluster.
        min_samples: Neighbours that make a row dense; lower values leave less noise.
        selection: ``eom`` selects the most persistent clusters, ``leaf`` the smallest.
        seed: Seed of the layout.
    """

    libraries: ClassVar[tuple[str, ...]] = ("hdbscan", "numpy", "scikit-learn", "scipy")

    neighbours: int
    dimensions: int
    min_dist: float
    epochs: int
    min_cluster_size: int
    min_samples: int
    selection: Literal["eom", "leaf"]
    seed: int

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "umap_hdbscan", **settings_identity(self)}

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); -1 is noise. float32 up to the layout, float64 in HDBSCAN.

        Raises:
            SftdivError: If there are fewer rows than ``neighbours`` or ``min_cluster_size``.
        """
        from hdbscan import HDBSCAN

        from sftdiv.units.clustering.fuzzy_graph import fuzzy_graph
        from sftdiv.units.clustering.layout import layout
        from sftdiv.vectors.neighbours import nearest_neighbours

        if len(vectors) < max(self.min_cluster_size, self.neighbours):
            raise SftdivError(
                f"{len(vectors)} distinct texts cannot make a topic of min_cluster_size={self.min_cluster_size} with "
                f"neighbours={self.neighbours}; "
                "lower strategy.units.clusterer.min_cluster_size and strategy.units.clusterer.neighbours"
            )
        graph = fuzzy_graph(*nearest_neighbours(vectors, self.neighbours - 1))
        start = self._initial_positions(vectors)
        positions = layout(graph, start, epochs=self.epochs, min_dist=self.min_dist, seed=self.seed)
        hdbscan = HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            cluster_selection_method=self.selection,
            core_dist_n_jobs=1,
        )
        return np.asarray(hdbscan.fit_predict(positions.astype(np.float64)), dtype=np.int64)

    def _initial_positions(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Leading principal components, each scaled to a width of 10, with a little noise that separates equal rows."""
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            positions = PCA(self.dimensions, svd_solver="covariance_eigh").fit_transform(vectors)
        positions *= WIDTH / np.maximum(np.ptp(positions, axis=0), np.finfo(np.float32).tiny)
        positions += np.random.default_rng(self.seed).normal(scale=1e-4, size=positions.shape)
        return positions.astype(np.float32)
