"""HDBSCAN: clusters as regions denser than their surroundings; their number is not fixed in advance.

Scikit-learn's implementation (Campello et al. 2013) on the leading principal components of the
vectors. It has no seed and runs on one thread, so that a rerun gives the same topics. The price is
a cost quadratic in the rows that also grows with the dimensions: 67,000 rows in 20 dimensions take
35 s on one core, but a million rows are out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity


@dataclass(frozen=True, kw_only=True)
class HdbscanClusterer:
    """HDBSCAN on principal components.

    Attributes:
        dimensions: Number of principal components (all, when the vectors have fewer).
        min_cluster_size: Minimum rows of a cluster.
        min_samples: Neighbours that make a row dense; lower values leave less noise.
        max_cluster_share: Share of the rows above which a cluster is split further; without it a
            single region can hold nearly all rows.
    """

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")

    dimensions: int
    min_cluster_size: int
    min_samples: int
    max_cluster_share: float

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "pca_hdbscan", **settings_identity(self)}

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); -1 is noise.

        Raises:
            SftdivError: If there are fewer rows than ``min_cluster_size``.
        """
        from sklearn.cluster import HDBSCAN
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        if len(vectors) < self.min_cluster_size:
            raise SftdivError(
                f"{len(vectors)} distinct texts cannot make a topic of min_cluster_size={self.min_cluster_size}; "
                "lower strategy.units.clusterer.min_cluster_size"
            )
        hdbscan = HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            max_cluster_size=int(self.max_cluster_share * len(vectors)),
            n_jobs=1,
            copy=True,
        )
        with threadpool_limits(1):
            components = PCA(min(self.dimensions, *vectors.shape), svd_solver="covariance_eigh").fit_transform(vectors)
            return np.asarray(hdbscan.fit_predict(components), dtype=np.int64)
