"""k-center: the example farthest from everything selected, again and again.

Formula: ``x_new = argmax_x min_{s in S} |x - s|`` over unit vectors, that is the largest cosine distance to the nearest
selected example; the greedy 2-approximation of the smallest covering radius. It starts with the first example of the
stratum, which is the one with the smallest hash of its content, and so decides ties.
Source: Gonzalez 1985 (TCS 38), Sener and Savarese 2018 (arXiv 1708.00489), algorithm 1.
Complexity: O(examples x selected x d) at most. An example is compared with a selected one only once it could be the
farthest (`rivals.falling_scores`): on real text with a fifth to a half of them. On a GPU all are compared after each
pick. Needs: embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.ordered import Stratum
from sftdiv.selection.rivals.whitening import take_by_vectors
from sftdiv.storage.hashing import settings_identity

if TYPE_CHECKING:
    from sftdiv.vectors.products import Product


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
    from sftdiv.selection.rivals.falling_scores import largest_first, largest_of_all, lower_to_distance
    from sftdiv.vectors.products import gpu, products_on
    from sftdiv.vectors.threads import in_ranges

    vectors, device = np.ascontiguousarray(vectors), gpu()
    norms = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    nearest, seen = np.full(len(vectors), np.inf), np.zeros(len(vectors), dtype=np.int64)
    picked, picked_norms = np.empty((stratum.most_picks, vectors.shape[1])), np.empty(stratum.most_picks)
    order: list[int] = []

    def renew(rows: NDArray[np.int64], floor: float) -> None:
        picks = len(order)
        lower_to_distance(vectors, norms, picked[:picks], picked_norms[:picks], nearest, seen, rows, floor)

    def renew_all(product: Product) -> None:
        squared = norms + norms[order[-1]] - 2 * product(vectors[order[-1]])
        np.minimum(nearest, np.maximum(squared, 0), out=nearest)

    reached = 0.0
    with in_ranges() as ranges:
        if device is None:
            positions = largest_first(nearest, renew, ranges)
        else:
            positions = largest_of_all(nearest, partial(renew_all, products_on(vectors, device)))
        while reached < stratum.budget - 1e-9:
            position = next(positions)
            picked[len(order)], picked_norms[len(order)] = vectors[position], norms[position]
            order.append(position)
            reached += stratum.weights[position]
        radius = nearest[next(positions)]
    return np.array(order), float(np.sqrt(max(radius, 0)))
