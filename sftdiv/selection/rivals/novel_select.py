"""NovelSelect: the example with the largest novelty among those selected, again and again.

Formula: ``x_new = argmax_x v(x)`` with ``v(x) = sum_r r^-alpha sigma(s_(r))^beta d(x, s_(r))``, where s_(1), s_(2), ...
are the selected examples by ascending cosine distance d from x, and ``sigma(s)`` is the density at s: one over its mean
distance to the ``neighbours`` nearest distinct vectors of the universe. It starts with the first example of the
stratum, the one with the smallest hash of its content, and so decides ties.
Source: Yang et al. 2025 (arXiv 2502.17184), the greedy rule applied to the metric as this package reads it
(`sftdiv.diversity.novel_sum`); the paper's own section was not at hand. The authors' code (UmeanNever/NovelSum,
``novelselect.py``) adds the candidate's own density to that of the selected example, ranks by the
product of both, and may take an example twice; and the metric ``novel_sum`` here, as their ``novelsum.py``, weighs by
the text's own density. Own densities grow without bound at near copies, which are then selected first.
Deviation: only the ``ranks`` nearest selected examples count. The paper counts all (``ranks: null``), which costs
O(examples x selected^2), hours for 10,000 of 117,000, and 16 bytes x examples x selected of memory. Rank 100 weighs
1/100 of rank 1.
Complexity: O(examples x selected x d) and, for densities, O(examples^2 x d). Needs: embeddings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection, SftdivError
from sftdiv.selection.ordered import Stratum
from sftdiv.selection.rivals.whitening import take_by_vectors
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range

FLOOR = 1e-9  # keeps the density of near copies finite; the authors' value
MOST_BYTES = 8 << 30
ROWS = 4_096  # per range of work
FILE = "densities.npy"


@dataclass(frozen=True, kw_only=True)
class NovelSelect:
    """Selects by novelty.

    Attributes:
        neighbours: Number of neighbours that a density is estimated from.
        density_power: beta, the power of the density.
        distance_power: alpha, the power of the rank.
        ranks: Number of nearest selected examples that count; None for all.
        whiten: Whether embeddings are whitened; see `rivals.whitening`.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "embeddings"

    neighbours: int
    density_power: float
    distance_power: float
    ranks: int | None
    whiten: bool

    def __post_init__(self) -> None:
        check_range("selection.selector.neighbours", self.neighbours, least=1, whole=True)
        check_range("selection.selector.density_power", self.density_power, least=0)
        check_range("selection.selector.distance_power", self.distance_power, least=0)
        check_range("selection.selector.ranks", self.ranks, least=1, whole=True, optional=True)

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "novel_select", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with the column ``novel_select.novelty``: mean novelty of the examples when they were selected.

        Raises:
            SftdivError: The size is larger than the universe, a stratum has no more distinct vectors than
                ``neighbours``, or ``ranks: null`` needs too much memory.
        """
        from sftdiv.vectors.distinct import digest_of

        novelties: list[NDArray[np.float64]] = []

        def order_of(stratum: Stratum, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            key = {"vectors": digest_of(vectors), "neighbours": self.neighbours}
            folder = problem.keep("densities", key, partial(_write_densities, vectors, self.neighbours))
            density = np.load(folder / FILE) ** self.density_power
            order, novelty = most_novel(vectors, density, stratum, distance_power=self.distance_power, ranks=self.ranks)
            novelties.append(novelty)
            return order

        rows = take_by_vectors(problem, order_of, whiten=self.whiten)
        mean = float(np.concatenate(novelties).mean()) if novelties else None
        return Selection(rows, {"novel_select": {"novelty": mean}})


def _write_densities(vectors: NDArray[np.float32], neighbours: int, folder: Path, _: Path) -> None:
    np.save(folder / FILE, densities(vectors, neighbours))


def densities(vectors: NDArray[np.float32], neighbours: int) -> NDArray[np.float64]:
    """One over the mean cosine distance to the nearest distinct other vectors, shape (rows,).

    Args:
        vectors: Rows of unit length, shape (rows, d).
        neighbours: Number of neighbours.

    Raises:
        SftdivError: There are no more distinct vectors than neighbours.
    """
    from sftdiv.vectors.distinct import distinct_rows
    from sftdiv.vectors.neighbours import nearest_neighbours
    from sftdiv.vectors.products import products_of_pairs

    first, number = distinct_rows(vectors)
    if len(first) <= neighbours:
        raise SftdivError(
            f"a density from {neighbours} neighbours (selection.selector.neighbours) needs more distinct embeddings "
            f"than that; there are {len(first):,} among {len(vectors):,} examples"
        )
    distinct = vectors[first]
    nearest, _ = nearest_neighbours(distinct, neighbours)
    distances = np.maximum(1 - products_of_pairs(distinct, nearest), 0)
    return (1 / (distances.mean(axis=1) + FLOOR))[number]


def most_novel(
    vectors: NDArray[np.float32],
    density: NDArray[np.float64],
    stratum: Stratum,
    *,
    distance_power: float,
    ranks: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions in greedy order until their weights reach the budget, and the novelty of each when it was selected.

    Args:
        vectors: Vectors of the stratum, shape (examples, d).
        density: Weight of each example as a selected one, ``sigma^beta``, shape (examples,).
        stratum: Weights and budget.
        distance_power: alpha.
        ranks: Number of nearest selected examples that count; None for all.

    Raises:
        SftdivError: With ``ranks=None``, distances of all pairs do not fit into memory.
    """
    from sftdiv.selection.rivals.nearest_selected import insert
    from sftdiv.vectors.products import products_with
    from sftdiv.vectors.threads import in_ranges

    counted = stratum.most_picks if ranks is None else min(ranks, stratum.most_picks)
    if 16 * counted * len(vectors) > MOST_BYTES:
        raise SftdivError(
            f"ranks={ranks} keeps {counted:,} distances of {len(vectors):,} examples each, "
            f"{16 * counted * len(vectors) / 2**30:.1f} GiB; selection.selector.ranks=100 keeps the nearest"
        )
    distances = np.full((len(vectors), counted), np.inf)
    weighted, novelty = np.zeros((len(vectors), counted)), np.zeros(len(vectors))
    of_rank = np.arange(1, counted + 1, dtype=np.float64) ** -distance_power
    norms = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    order, novelties, reached, position = [], [], 0.0, 0
    with products_with(vectors) as product, in_ranges() as ranges:
        while True:
            order.append(position)
            novelties.append(novelty[position])
            reached += stratum.weights[position]
            if reached >= stratum.budget - 1e-9:
                return np.array(order), np.array(novelties)
            # half the squared Euclidean distance: the cosine distance of unit vectors, and 0 between two of zeros
            new = np.maximum((norms + norms[position]) / 2 - product(vectors[position]), 0)
            work = _inserted(insert, new, density[position], distances, weighted, of_rank, novelty)
            ranges(work, len(vectors), ROWS)
            novelty[position] = -np.inf
            position = int(novelty.argmax())


def _inserted(insert: Callable[..., None], *arrays: Any) -> Callable[[int, int], None]:
    return lambda start, stop: insert(*arrays, start, stop)
