"""EVoC: clusters of embeddings in one package, a graph layout and a density clustering made for each other.

In: vectors. Out: a cluster a row, or noise. The package ``evoc`` (Tutte Institute), which the extra
of that name installs; of the layers of clusterings that it finds it gives the one that persists
longest. The trade: approximate neighbours and parallel kernels whose results depend on the number
of numba's threads, so that it is run on one, and slower than it could be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError


@dataclass(frozen=True, kw_only=True)
class EvocClusterer:
    """EVoC with cosine distance.

    Attributes:
        neighbours: Of a row in the graph.
        noise_level: From 0, which clusters more rows, to 1, which leaves more as noise and is surer
            of the rest.
        min_cluster_size: Rows that a cluster of the finest layer must have.
        min_samples: Neighbours that make a row dense.
        epochs: Rounds of the layout.
        seed: Of the neighbours and the layout.
    """

    neighbours: int
    noise_level: float
    min_cluster_size: int
    min_samples: int
    epochs: int
    seed: int
    libraries: ClassVar = ("evoc", "numba", "numpy", "scikit-learn")

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,); -1 is noise.

        Raises:
            SftdivError: If the package is not installed, or there are fewer rows than neighbours or
                than a cluster must have.
        """
        if len(vectors) <= max(self.neighbours, self.min_cluster_size):
            raise SftdivError(
                f"{len(vectors)} distinct texts are too few for EVoC with neighbours={self.neighbours} and "
                f"min_cluster_size={self.min_cluster_size}; lower them (strategy.units.clusterer.neighbours, .min_cluster_size)"
            )
        try:
            from evoc import EVoC
        except ImportError as error:
            raise SftdivError("strategy/clusterer=evoc needs the package evoc: pip install 'sftdiv[evoc]'") from error
        finder = EVoC(
            n_neighbors=self.neighbours,
            noise_level=self.noise_level,
            base_min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            n_epochs=self.epochs,
            random_state=self.seed,
        )
        with one_numba_thread():
            return np.asarray(finder.fit_predict(np.ascontiguousarray(vectors)), dtype=np.int64)


@contextmanager
def one_numba_thread() -> Iterator[None]:
    """Run numba's parallel kernels, and BLAS, on one thread, and restore what was set."""
    import numba
    from threadpoolctl import threadpool_limits

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(before)
