"""MIG: the subset with the most information in the space of tags (maximising information gain).

Formula: an example of quality q with m tags carries q / m for each of them. Information spreads over the graph of
tags, whose edges are cosine similarities of their embeddings, cut below 0.9: v = w A with
A[s, t] = sim(s, t) / sum over r of sim(r, t). The subset greedily maximises sum over t of (V_t + 1e-6)^0.8, where V is
the sum of its v; the gain is taken in first order, sum over t of v_t phi'(V_t).
Source: Chen et al. 2025 (arXiv 2504.13835), with the values of its experiments.
Complexity: similarities of all pairs of tags, in blocks; then near-linear in the non-zeros of the spread weights
(`greedy_coverage`), which are more than those of the units where tags have neighbours.
Needs: units (the paper's are tags, ``strategy=meso_tag``), an embedder of their names (``embedder=minilm``), optionally
a column of quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.by_value import positive_scores
from sftdiv.selection.ordered import take_in_order
from sftdiv.selection.rivals.coverage import presence
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range

BLOCK = 2_048  # tags whose similarities to all others are in memory at once
SETTING = "selection.selector.column"


@dataclass(frozen=True, kw_only=True)
class MigSelector:
    """Selects greedily by the gain in information.

    Attributes:
        column: Column with the quality of each example, not negative; None for the same quality.
        similarity: Cosine similarity from which two types are neighbours, in (0, 1].
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "names"

    column: str | None
    similarity: float

    def __post_init__(self) -> None:
        check_range("selection.selector.similarity", self.similarity, above=0, most=1)

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "mig", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset in the order added within each stratum, with the mean number of neighbours of a type.

        Raises:
            SftdivError: The column of quality does not exist, or holds anything but numbers of at least 0.
        """
        from sftdiv.selection.rivals.greedy_coverage import greedy_order

        quality = np.ones(problem.units.matrix.shape[0])
        if self.column is not None:
            quality = positive_scores(problem, self.column, setting=SETTING)
        graph = type_graph(problem.embed(problem.units.names), similarity=self.similarity)
        spread = information(presence(problem.units.matrix), quality, graph)
        rows = take_in_order(
            problem,
            lambda stratum: greedy_order(spread[stratum.rows], stratum.weights, stratum.budget, objective="mig"),
        )
        return Selection(np.concatenate(rows), {"mig": {"neighbours": graph.nnz / graph.shape[0] - 1}})


def type_graph(vectors: NDArray[np.float32], *, similarity: float) -> scipy.sparse.csr_array:
    """Cosine similarities of types that reach a threshold, shape (types, types); 1 on the diagonal.

    Args:
        vectors: Vector of each type's name, of unit length, or of zeros: a type without neighbours.
        similarity: Least similarity of neighbours.
    """
    blocks = []
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = 1.0
        blocks.append(scipy.sparse.csr_array(np.where(cosines >= similarity, cosines, 0).astype(np.float64)))
    return scipy.sparse.csr_array(scipy.sparse.vstack(blocks))


def information(
    has_type: scipy.sparse.csr_array, quality: NDArray[np.float64], graph: scipy.sparse.csr_array
) -> scipy.sparse.csr_array:
    """Information of each example for each type, spread over the graph, shape (examples, types).

    Args:
        has_type: 1 for each type of each example, shape (examples, types).
        quality: Quality of each example, shape (examples,).
        graph: Similarities of neighbouring types; see `type_graph`.
    """
    shares = quality / np.maximum(np.diff(has_type.indptr), 1)
    weights = scipy.sparse.csr_array(
        (np.repeat(shares, np.diff(has_type.indptr)), has_type.indices, has_type.indptr), shape=has_type.shape
    )
    received = scipy.sparse.csr_array(graph.multiply(1 / graph.sum(axis=0)[np.newaxis, :]))
    return scipy.sparse.csr_array(weights @ received)
