"""Facility location: the example that covers most of what is not covered yet, again and again.

Formula: ``x_new = argmax_x [f(S + x) - f(S)]`` with ``f(S) = sum_i max_{s in S} max(cos(i, s), 0)``. By default an
example i is covered only by itself and the examples of its ``neighbours`` nearest distinct vectors; ``null`` compares
all pairs, as submodlib (dense, cosine) and apricot do. With a quality q in a column (QDIT):
``x_new = argmax_x (1 - a) [f(S + x) - f(S)] / max_x f({x}) + a q(x)``, q scaled to [0, 1] over the stratum. The
scales are a choice made here: both terms begin at most at 1. Ties, and examples that add nothing, are taken in
the order of the hashes of their contents.
Source: Wei et al. 2015 (ICML, "Submodularity in data subset selection and active learning"); Bukharin et al. 2023
(arXiv 2311.14736) for instruction data and the quality term; Minoux 1978 for lazy evaluation: gains only fall, so that
an old gain is an upper bound.
Complexity: O(examples^2 x d) for the exact neighbours (cached), then about O(examples x neighbours) for all picks
together. Needs: embeddings; a column for the quality term.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection, SftdivError
from sftdiv.selection.by_value import numbers_of
from sftdiv.selection.ordered import Stratum
from sftdiv.selection.rivals.whitening import take_by_vectors
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range

MOST_PAIRED = 12_000  # distinct vectors of which all pairs are compared: 1.6 GiB
FILE = "nearest.npy"


class Coverage(NamedTuple):
    """Similarities by covering vector, as the columns of a sparse matrix.

    Attributes:
        starts: Start of each vector's entries, and the end, shape (distinct + 1,).
        covered: Vectors that it covers, shape (entries,).
        similarity: Their similarities, shape (entries,).
    """

    starts: NDArray[np.int64]
    covered: NDArray[np.int32]
    similarity: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FacilityLocation:
    """Selects by coverage of the universe.

    Attributes:
        neighbours: Nearest distinct vectors that may cover an example; None for all.
        quality: Weight a of the quality against coverage, in [0, 1].
        column: Column of scores, the higher the better, missing ones the lowest; None without a quality term.
        whiten: Whether embeddings are whitened; see `rivals.whitening`.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "embeddings"

    neighbours: int | None
    quality: float
    column: str | None
    whiten: bool

    def __post_init__(self) -> None:
        check_range("selection.selector.neighbours", self.neighbours, least=1, whole=True, optional=True)
        check_range("selection.selector.quality", self.quality, least=0, most=1)
        if (self.quality > 0) != (self.column is not None):
            raise SftdivError(
                f"selection.selector.quality={self.quality} and selection.selector.column={self.column} belong "
                "together: a weight above 0 with a column of scores, or neither"
            )

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "facility_location", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with the column ``facility_location.covered``: the objective per example of the universe.

        It is None where the whole universe is selected, of which nothing is computed.

        Raises:
            SftdivError: The size is larger than the universe, the column is no column of numbers, or
                ``neighbours: null`` meets too many vectors.
        """
        scores = None
        if self.column is not None:
            scores = numbers_of(problem, self.column, setting="selection.selector.column")
        values: list[float] = []

        def order_of(stratum: Stratum, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            coverage, number = self._coverage(problem, vectors)
            bonus = np.zeros(len(stratum)) if scores is None else self.quality * scaled(scores[stratum.rows])
            order, value = most_covering(coverage, number, bonus, stratum, share=1 - self.quality)
            values.append(value)
            return order

        rows = take_by_vectors(problem, order_of, whiten=self.whiten)
        covered = sum(values) / len(problem.universe.indices) if values else None
        return Selection(rows, {"facility_location": {"covered": covered}})

    def _coverage(self, problem: SelectionProblem, vectors: NDArray[np.float32]) -> tuple[Coverage, NDArray[np.int64]]:
        """The similarities of the distinct vectors, and the distinct vector of each example."""
        from sftdiv.vectors.distinct import digest_of, distinct_rows

        first, number = distinct_rows(vectors)
        distinct = vectors[first]
        if self.neighbours is None or self.neighbours >= len(first) - 1:
            return all_pairs(distinct), number
        key = {"vectors": digest_of(distinct), "neighbours": self.neighbours}
        folder = problem.keep("neighbours", key, partial(_write_nearest, distinct, self.neighbours))
        return of_neighbours(distinct, np.load(folder / FILE)), number


def scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores scaled to [0, 1]; 0 for missing ones, and for all where they are equal."""
    known = scores[~np.isnan(scores)]
    if not len(known) or known.min() == known.max():
        return np.zeros(len(scores))
    return np.nan_to_num((scores - known.min()) / (known.max() - known.min()), nan=0.0)


def _write_nearest(distinct: NDArray[np.float32], neighbours: int, folder: Path, _: Path) -> None:
    from sftdiv.vectors.neighbours import nearest_neighbours

    np.save(folder / FILE, nearest_neighbours(distinct, neighbours)[0])


def of_neighbours(distinct: NDArray[np.float32], nearest: NDArray[np.int32]) -> Coverage:
    """Similarities of each vector to itself and its neighbours, by covering vector.

    Args:
        distinct: Distinct vectors, shape (distinct, d).
        nearest: Neighbours of each, shape (distinct, neighbours).
    """
    from sftdiv.vectors.products import products_of_pairs

    partners = np.concatenate([np.arange(len(distinct), dtype=np.int32)[:, None], nearest], axis=1)
    similarity = np.maximum(products_of_pairs(distinct, partners), 0).ravel()
    covering = partners.ravel()
    order = np.argsort(covering, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(covering, minlength=len(distinct)))])
    covered = (order // partners.shape[1]).astype(np.int32)
    return Coverage(starts, covered, similarity[order])


def all_pairs(distinct: NDArray[np.float32]) -> Coverage:
    """Similarities of all pairs of vectors.

    Raises:
        SftdivError: There are too many vectors to hold them in memory.
    """
    count = len(distinct)
    if count > MOST_PAIRED:
        raise SftdivError(
            f"selection.selector.neighbours=null compares all pairs of {count:,} distinct embeddings, and at most "
            f"{MOST_PAIRED:,} fit: selection.selector.neighbours=100"
        )
    rows = distinct.astype(np.float64)
    similarity = np.maximum(rows @ rows.T, 0).ravel()
    covered = np.tile(np.arange(count, dtype=np.int32), count)
    return Coverage(np.arange(count + 1) * count, covered, similarity)


def most_covering(
    coverage: Coverage,
    number: NDArray[np.int64],
    bonus: NDArray[np.float64],
    stratum: Stratum,
    *,
    share: float,
) -> tuple[NDArray[np.int64], float]:
    """Positions in greedy order until their weights reach the budget, and the objective ``f`` of the selected ones.

    Args:
        coverage: Similarities of the distinct vectors.
        number: Distinct vector of each example, shape (examples,).
        bonus: Weighted quality of each example, shape (examples,).
        stratum: Weights and budget.
        share: Weight of the coverage, 1 without a quality term.
    """
    from sftdiv.selection.rivals.lazy_greedy import gains, lazy_greedy

    copies = np.bincount(number).astype(np.float64)
    first_gains = gains(*coverage, copies)
    scale = 1.0 if share == 1 else share / max(first_gains.max(), np.finfo(np.float64).tiny)
    order, value = lazy_greedy(*coverage, copies, number, first_gains, bonus, scale, stratum.weights, stratum.budget)
    return order, float(value)
