"""NovelSum: how new each text is beside the others, near ones counting most. High is diverse."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import unit_rows
from sftdiv.records import SftdivError

CELLS = 1 << 22  # of a block's distances, 32 MiB
FLOOR = 1e-9  # keeps the density of a text with exact copies in the reference finite; the authors' value


def novel_sum(
    embeddings: NDArray[np.floating],
    reference: NDArray[np.floating] | None = None,
    *,
    neighbours: int = 10,
    density_power: float = 0.5,
    distance_power: float = 1.0,
) -> float:
    """Mean over texts of ``density(x_i)^beta x sum_r w_r d_(r) / sum_r w_r`` with ``w_r = r^-alpha``.

    d_(1) <= d_(2) <= ... are the text's cosine distances to all others in ascending order. Yang et
    al. 2025 (arXiv 2502.17184), by the code that the authors publish (UmeanNever/NovelSum,
    ``novelsum.py``, with self-distances left out: its default now, though not when the paper's
    numbers were made). Their formula weighs a distance by the density of the *other* text; their
    code, and this, by the text's own. The density is one over the mean squared Euclidean distance
    to the ``neighbours`` nearest distinct reference vectors, the nearest of all (the text itself)
    left out. O(texts^2 (d + log texts)): one sort a text, in blocks. Distances shrink as a set
    grows: ``size_matched``.

    Args:
        embeddings: Vectors of the set, shape (texts, d); they are scaled to unit length.
        reference: Vectors of the corpus that tells where information is dense, shape (reference,
            d), the set's own texts among them. None leaves density out, which the authors advise
            over taking the set itself.
        neighbours: Reference vectors that a density is estimated from, K.
        density_power: beta.
        distance_power: alpha; 0 gives the plain mean distance.

    Returns:
        A number of at least 0; NaN for fewer than two texts.

    Raises:
        SftdivError: If the reference has not more distinct vectors than ``neighbours``.
    """
    if len(embeddings) < 2:
        return float("nan")
    rows = unit_rows(embeddings)
    novelty = _weighted_distances(rows, distance_power)
    if reference is not None:
        novelty *= _densities(rows, reference, neighbours) ** density_power
    return float(novelty.mean())


def _weighted_distances(rows: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Each row's distances to the others, averaged with weights that fall with their rank, shape (rows,)."""
    weights = np.arange(1, len(rows), dtype=np.float64) ** -power
    weights /= weights.sum()
    averages = np.empty(len(rows))
    height = max(1, CELLS // len(rows))
    for start in range(0, len(rows), height):
        distances = 1 - rows[start : start + height] @ rows.T
        own = np.arange(len(distances))
        distances[own, start + own] = -np.inf  # sorts first, so that the others are the columns after it
        distances.sort(axis=1)
        averages[start : start + height] = np.maximum(distances[:, 1:], 0) @ weights
    return averages


def _densities(rows: NDArray[np.float64], reference: NDArray[np.floating], neighbours: int) -> NDArray[np.float64]:
    """One over the mean squared distance of each row to its nearest distinct reference vectors but the first, shape (rows,)."""
    distinct = _first_of_each(reference)
    if len(distinct) <= neighbours:
        raise SftdivError(
            f"a density from {neighbours} neighbours needs more distinct reference vectors than that, got {len(distinct)}"
        )
    nearest = np.full((len(rows), neighbours + 1), np.inf)
    width = max(neighbours + 1, CELLS // len(rows))
    for start in range(0, len(distinct), width):
        others = unit_rows(reference[distinct[start : start + width]])
        seen = np.concatenate([nearest, 2 - 2 * (rows @ others.T)], axis=1)
        nearest = np.partition(seen, neighbours, axis=1)[:, : neighbours + 1]
    squares = np.maximum(nearest, 0)
    return 1 / ((squares.sum(axis=1) - squares.min(axis=1)) / neighbours + FLOOR)


def _first_of_each(rows: NDArray[np.floating]) -> NDArray[np.int64]:
    """The first row of each group of equal ones, by a 128-bit hash of its bytes."""
    first: dict[bytes, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), i)
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))
