"""EVoC: a graph layout and a density clustering of embeddings, designed for each other.

`EvocClusterer` wraps the package ``evoc`` (Tutte Institute), which the extra of that name installs,
and uses the most persistent of the layers of clusterings that it computes. EVoC's parallel kernels
give results that depend on the number of numba threads. It therefore runs on one thread here,
slower but reproducible.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity


@dataclass(frozen=True, kw_only=True)
class EvocClusterer:
    """EVoC with cosine distance.

    Attributes:
        neighbours: Neighbours of a row in the graph.
        noise_level: From 0 (more rows are clustered) to 1 (more rows are noise, clusters are
            purer).
        min_cluster_size: Minimum rows of a cluster in the finest layer.
        min_samples: Neighbours that make a row dense.
        epochs: Epochs of the layout.
        seed: Seed of the neighbour search and the layout.
    """

    libraries: ClassVar[tuple[str, ...]] = ("evoc", "numba", "numpy", "scikit-learn")

    neighbours: int
    noise_level: float
    min_cluster_size: int
    min_samples: int
    epochs: int
    seed: int

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "evoc", **settings_identity(self)}

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); -1 is noise.

        Raises:
            SftdivError: If the package is not installed, or if there are too few rows for
                ``neighbours`` or ``min_cluster_size``.
        """
        if len(vectors) <= max(self.neighbours, self.min_cluster_size):
            raise SftdivError(
                f"{len(vectors)} distinct texts are too few for EVoC with neighbours={self.neighbours} and "
                f"min_cluster_size={self.min_cluster_size}; "
                "lower strategy.units.clusterer.neighbours and strategy.units.clusterer.min_cluster_size"
            )
        try:
            from evoc import EVoC
        except ImportError as error:
            raise SftdivError("strategy/clusterer=evoc needs the package evoc: pip install 'sftdiv[evoc]'") from error
        evoc = EVoC(
            n_neighbors=self.neighbours,
            noise_level=self.noise_level,
            base_min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            n_epochs=self.epochs,
            random_state=self.seed,
        )
        with one_numba_thread():
            return np.asarray(evoc.fit_predict(np.ascontiguousarray(vectors)), dtype=np.int64)


@contextmanager
def one_numba_thread() -> Iterator[None]:
    """Run numba's parallel kernels and BLAS on one thread; restores the previous number of numba threads."""
    import numba
    from threadpoolctl import threadpool_limits

    threads_before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(threads_before)
