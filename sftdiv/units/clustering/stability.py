"""Stability of a clustering: the agreement of repeated runs.

Agreement is the adjusted Rand index (Hubert and Arabie 1985) and the adjusted mutual information
(Vinh et al. 2010), averaged over all pairs of runs: 1 is full agreement, 0 is chance. All runs use
the same sample, the first rows (rows are sorted by the hash of their texts). Runs differ in the
clusterer's seed, if it has one, and in the share of the sample that they cluster, so that a
clusterer without a seed can be assessed too. A pair is compared on the rows that both clustered.

A minimum cluster size is a larger share of a sample than of all rows, so the result describes
coarser clusters than those of the full data.
"""

from __future__ import annotations

import contextlib
import dataclasses
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import Clusterer
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity

NOISE = -1
NOT_CLUSTERED = -2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stability:
    """Settings of the repeated runs.

    Attributes:
        seeds: Number of runs that are compared with each other; no runs below 2.
        sample: Number of rows in the sample.
        share: Share of the sample that each run clusters; with 1 only the seed varies.
    """

    seeds: int
    sample: int
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SftdivError(f"strategy.units.stability.share={self.share} is not in (0, 1]")

    def identity(self) -> dict[str, Any]:
        """All settings; empty where no runs are made."""
        return settings_identity(self) if self.seeds > 1 else {}

    def measure(self, clusterer: Clusterer, vectors: NDArray[np.float32]) -> dict[str, float | None]:
        """Agreement of the repeated runs.

        Args:
            clusterer: Clusterer whose runs are compared.
            vectors: Rows to cluster, shape (rows, dimensions); the first ``sample`` rows are used.

        Returns:
            Means over all pairs of runs: ``ari`` and ``ami`` over rows in clusters of both runs,
            ``ari_with_noise`` and ``ami_with_noise`` with noise as a further label. ``topics`` is
            the mean number of clusters per run. A value is None where too few rows are comparable.
            Empty for fewer than two seeds.
        """
        if self.seeds < 2:
            return {}
        rows = min(self.sample, len(vectors))
        runs = [self._labels(clusterer, vectors[:rows], seed) for seed in range(self.seeds)]
        pairs = [agreement(left, right) for left, right in combinations(runs, 2)]
        means = {name: float(np.mean([pair[name] for pair in pairs])) for name in pairs[0]}
        topics = float(np.mean([labels.max(initial=NOISE) + 1 for labels in runs]))
        return {name: value if np.isfinite(value) else None for name, value in {**means, "topics": topics}.items()}

    def _labels(self, clusterer: Any, vectors: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
        """Labels of all rows by one run; ``NOT_CLUSTERED`` outside its share, and for all rows if they are too few."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[: round(self.share * len(vectors))])
        seeded = dataclasses.replace(clusterer, seed=seed) if hasattr(clusterer, "seed") else clusterer
        labels = np.full(len(vectors), NOT_CLUSTERED, dtype=np.int64)
        with contextlib.suppress(SftdivError):  # all rows were enough, the sample may be too small
            labels[rows] = seeded.cluster(np.ascontiguousarray(vectors[rows]))
        return labels


def agreement(left: NDArray[np.int64], right: NDArray[np.int64]) -> dict[str, float]:
    """Adjusted Rand index and adjusted mutual information of two labellings of the same rows.

    Args:
        left: Cluster of each row, shape (rows,); -1 for noise, -2 for a row that was not clustered.
        right: Cluster of each row in the other labelling, likewise.

    Returns:
        ``ari`` and ``ami`` without noise, and with the suffix ``_with_noise`` with noise as a
        label; NaN where fewer than two rows are comparable.
    """
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    scores: dict[str, float] = {}
    for suffix, lowest_label in (("", 0), ("_with_noise", NOISE)):
        both = (left >= lowest_label) & (right >= lowest_label)
        comparable = np.count_nonzero(both) > 1
        ari = float(adjusted_rand_score(left[both], right[both])) if comparable else float("nan")
        ami = float(adjusted_mutual_info_score(left[both], right[both])) if comparable else float("nan")
        scores |= {f"ari{suffix}": ari, f"ami{suffix}": ami}
    return scores
