"""Deita: examples in the order of their quality, each kept unless it is close to one that is kept already.

Formula: by descending score, keep x if ``max_{s in S} cos(x, s) < threshold``, until the size is reached. Deita's score
is complexity x quality, by two models; here it is a column. If fewer than the size are kept, the skipped examples
with the highest scores fill the subset (column ``deita.filled``), which the paper's repr filter leaves open. Examples
without a score come last. Ties go to the first example, the one with the smallest hash of its content.
Source: Liu et al. 2024 (arXiv 2312.15685), section 2.4, "score first, diversity aware", with the threshold 0.9.
Complexity: O(visited x kept x d), in blocks. Needs: embeddings and a column of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.by_value import numbers_of
from sftdiv.selection.ordered import Stratum, by_score
from sftdiv.selection.rivals.whitening import take_by_vectors
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range

BLOCK = 512  # candidates compared at once
KEPT = 8_192  # kept examples compared at once: 32 MiB of cosines per block


@dataclass(frozen=True, kw_only=True)
class Deita:
    """Selects by score, without near copies.

    Attributes:
        column: Column of scores, the higher the better.
        threshold: Cosine from which on an example is too close to a kept one.
        whiten: Whether embeddings are whitened; see `rivals.whitening`.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "embeddings"

    column: str
    threshold: float
    whiten: bool

    def __post_init__(self) -> None:
        check_range("selection.selector.threshold", self.threshold, least=-1, most=1)

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "deita", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with the columns ``deita.kept`` and ``deita.filled``, numbers of selected examples.

        Where the whole universe is selected, nothing is compared, and both are None.

        Raises:
            SftdivError: The size is larger than the universe, or the column is no column of numbers.
        """
        scores = numbers_of(problem, self.column, setting="selection.selector.column")
        filled: list[int] = []

        def order_of(stratum: Stratum, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            ranked = by_score(scores[stratum.rows])
            kept = far_enough(vectors, ranked, stratum, threshold=self.threshold)
            order = np.concatenate([kept, ranked[~np.isin(ranked, kept)]])
            filled.append(max(0, len(stratum.prefix(order)) - len(kept)))
            return order

        rows = take_by_vectors(problem, order_of, whiten=self.whiten)
        if not filled:
            return Selection(rows, {"deita": {"kept": None, "filled": None}})
        return Selection(rows, {"deita": {"kept": len(rows) - sum(filled), "filled": sum(filled)}})


def far_enough(
    vectors: NDArray[np.float32], ranked: NDArray[np.int64], stratum: Stratum, *, threshold: float
) -> NDArray[np.int64]:
    """Positions, in their order, whose cosine to every earlier one is below the threshold.

    Args:
        vectors: Vectors of the stratum, of unit length, shape (examples, d).
        ranked: Positions by descending score.
        stratum: Weights and budget; at the budget the search ends.
        threshold: Cosine from which on an example is left out.
    """
    kept: list[int] = []
    of_kept = np.empty((stratum.most_picks, vectors.shape[1]), dtype=np.float32)
    reached = 0.0
    for start in range(0, len(ranked), BLOCK):
        block = ranked[start : start + BLOCK]
        rows = vectors[block].astype(np.float64)
        is_close = np.zeros(len(block), dtype=bool)
        for left in range(0, len(kept), KEPT):
            cosines = rows @ of_kept[left : min(left + KEPT, len(kept))].astype(np.float64).T
            is_close |= (cosines >= threshold).any(axis=1)
        is_near = rows @ rows.T >= threshold
        for number, position in enumerate(block.tolist()):
            if is_close[number]:
                continue
            is_close |= is_near[number]
            of_kept[len(kept)] = vectors[position]
            kept.append(position)
            reached += stratum.weights[position]
            if reached >= stratum.budget - 1e-9:
                return np.array(kept, dtype=np.int64)
    return np.array(kept, dtype=np.int64)
