"""How far the clusters are facts of the data and not of chance: the agreement of repeated runs.

In: a clusterer and vectors. Out: adjusted Rand index (Hubert and Arabie 1985) and adjusted mutual
information (Vinh et al. 2010), the mean over all pairs of runs; 1 is full agreement and 0 what
chance gives. All runs look at the same sample, the first rows (they come in the order of their
texts' hash). What varies is the clusterer's seed, where it has one, and which share of the sample a
run is given, so that a clusterer without a seed can be judged too; a pair is compared on the rows
that both were given. The trade: on a sample a cluster of a given least size is a larger part of the
data than on the whole, so that the figure speaks of the coarser clusters.
"""

from __future__ import annotations

import contextlib
import dataclasses
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError


class Clusterer(Protocol):
    """Groups vectors."""

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,): 0, 1, ... or -1 for a row that is in none."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stability:
    """Settings of the repeated runs.

    Attributes:
        seeds: Runs that are compared with each other; below 2, none are made.
        sample: Rows that they look at.
        share: Of the sample, that each run is given; 1 varies the seed alone.
    """

    seeds: int
    sample: int
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SftdivError(f"strategy.units.stability.share={self.share} is not in (0, 1]")

    def measure(self, clusterer: Clusterer, vectors: NDArray[np.float32]) -> dict[str, float | None]:
        """``ari`` and ``ami`` over rows in clusters of both; ``ari_with_noise`` and ``ami_with_noise``, where noise is one more label.

        Returns:
            The four means over pairs of runs, and ``topics``, the mean number of clusters of a run;
            None for what too few rows leave open. Empty for fewer than two seeds.
        """
        if self.seeds < 2:
            return {}
        rows = min(self.sample, len(vectors))
        runs = [self._run(clusterer, vectors[:rows], seed) for seed in range(self.seeds)]
        pairs = [agreement(left, right) for left, right in combinations(runs, 2)]
        means = {name: float(np.mean([pair[name] for pair in pairs])) for name in pairs[0]}
        numbers = {**means, "topics": float(np.mean([run.max(initial=-1) + 1 for run in runs]))}
        return {name: value if np.isfinite(value) else None for name, value in numbers.items()}

    def _run(self, clusterer: Any, vectors: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
        """Labels of all rows from one run; -2 where a row was not given, and everywhere if the rows were too few."""
        kept = np.sort(np.random.default_rng(seed).permutation(len(vectors))[: round(self.share * len(vectors))])
        seeded = dataclasses.replace(clusterer, seed=seed) if hasattr(clusterer, "seed") else clusterer
        labels = np.full(len(vectors), -2, dtype=np.int64)
        with contextlib.suppress(SftdivError):  # the whole had rows enough, the sample may not
            labels[kept] = seeded.cluster(np.ascontiguousarray(vectors[kept]))
        return labels


def agreement(left: NDArray[np.int64], right: NDArray[np.int64]) -> dict[str, float]:
    """Adjusted Rand index and adjusted mutual information of two labellings (-1 noise, -2 not given); NaN where nothing can be compared."""
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    scores = {}
    for suffix, least in (("", 0), ("_with_noise", -1)):
        both = (left >= least) & (right >= least)
        enough = np.count_nonzero(both) > 1
        scores[f"ari{suffix}"] = float(adjusted_rand_score(left[both], right[both])) if enough else float("nan")
        scores[f"ami{suffix}"] = float(adjusted_mutual_info_score(left[both], right[both])) if enough else float("nan")
    return scores
