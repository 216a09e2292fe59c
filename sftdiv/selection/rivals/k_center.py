"""k-center: the example farthest from everything selected, again and again.

Formula: ``x_new = argmax_x min_{s in S} |x - s|`` over unit vectors, that is the largest cosine distance to the nearest
selected example; the greedy 2-approximation of the smallest covering radius. It starts with the first example of the
stratum, which is the one with the smallest hash of its content, and so decides ties.
Source: Gonzalez 1985 (TCS 38), Sener and Savarese 2018 (arXiv 1708.00489), algorithm 1.
Complexity: O(examples x selected x d): each vector is read once per selected example. Needs: embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.ordered import Stratum
from sftdiv.selection.rivals.whitening import take_by_vectors
from sftdiv.storage.hashing import settings_identity


@dataclass(frozen=True, kw_only=True)
class KCenter:
    """Selects by farthest-first traversal.

    Attributes:
        whiten: Whether embeddings are whitened; see `rivals.whitening`.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "embeddings"

    whiten: bool

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "k_center", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with the column ``k_center.radius``: largest distance of an example to its nearest selected one.

        The distance is Euclidean, in [0, 2]: ``sqrt(2 x cosine distance)``.

        Raises:
            SftdivError: The size is larger than the universe.
        """
        radii = [0.0]

        def order_of(stratum: Stratum, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            order, radius = farthest_first(vectors, stratum)
            radii.append(radius)
            return order

        rows = take_by_vectors(problem, order_of, whiten=self.whiten)
        return Selection(rows, {"k_center": {"radius": max(radii)}})


def farthest_first(vectors: NDArray[np.float32], stratum: Stratum) -> tuple[NDArray[np.int64], float]:
    """Positions in farthest-first order until their weights reach the budget, and the covering radius.

    Args:
        vectors: Vectors of the stratum, shape (examples, d).
        stratum: Weights and budget.
    """
    from sftdiv.vectors.products import products_with

    order, reached, nearest, position = [], 0.0, np.full(len(vectors), np.inf), 0
    norms = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    with products_with(vectors) as product:
        while reached < stratum.budget - 1e-9:
            order.append(position)
            reached += stratum.weights[position]
            products = product(vectors[position])
            squared = norms + norms[position] - 2 * products
            np.minimum(nearest, np.maximum(squared, 0), out=nearest)
            nearest[position] = -1  # never again, whatever rounding leaves
            position = int(nearest.argmax())
    return np.array(order), float(np.sqrt(max(nearest[position], 0)))
