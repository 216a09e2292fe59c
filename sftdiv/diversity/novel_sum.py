"""NovelSum: novelty of each text among the others, near neighbours weighted most. High is diverse."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import unit_rows
from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import SftdivError

CELLS = 1 << 22  # distances per block, 32 MiB
FLOOR = 1e-9  # keeps the density of a text with exact copies in the reference finite; the authors' value


@metric("novel_sum", {"novel_sum": "NovelSum"}, direction="high", needs="embeddings", growth="falls", order=13)
def _measure(texts: TextSet) -> float:
    return novel_sum(texts.sampled_vectors, texts.reference)


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
    al. 2025 (arXiv 2502.17184), as in the authors' code (UmeanNever/NovelSum, ``novelsum.py``, with
    self-distances left out: its default now, though not when the paper's numbers were made). Their
    formula weighs a distance by the density of the *other* text; their code, and this, by the
    text's own. The density is one over the mean squared Euclidean distance to the ``neighbours``
    nearest distinct reference vectors, after the nearest of all (the text itself). O(texts^2 (d +
    log texts)): one sort per text, in blocks. Distances shrink as a set grows: ``size_matched``.

    Args:
        embeddings: Vectors of the set, shape (texts, d), scaled here to unit length.
        reference: Vectors of the corpus that densities are estimated on, shape (reference, d), the
            set's own texts among them. None leaves density out, which the authors advise over
            taking the set itself.
        neighbours: Number of reference vectors that a density is estimated from, K.
        density_power: beta.
        distance_power: alpha; 0 gives the plain mean distance.

    Returns:
        A number of at least 0; NaN for fewer than two texts.

    Raises:
        SftdivError: If the reference has no more distinct vectors than ``neighbours``.
    """
    if len(embeddings) < 2:
        return float("nan")
    rows = unit_rows(embeddings)
    novelty = _weighted_distances(rows, distance_power)
    if reference is not None:
        novelty *= _densities(rows, reference, neighbours) ** density_power
    return float(novelty.mean())


def _weighted_distances(rows: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Mean distance of each row to the others, with weights that fall with the rank, shape (rows,)."""
    weights = np.arange(1, len(rows), dtype=np.float64) ** -power
    weights /= weights.sum()
    averages = np.empty(len(rows))
    height = max(1, CELLS // len(rows))
    for start in range(0, len(rows), height):
        distances = 1 - rows[start : start + height] @ rows.T
        block_rows = np.arange(len(distances))
        distances[block_rows, start + block_rows] = -np.inf  # the row itself sorts first and is left out
        distances.sort(axis=1)
        averages[start : start + height] = np.maximum(distances[:, 1:], 0) @ weights
    return averages


def _densities(rows: NDArray[np.float64], reference: NDArray[np.floating], neighbours: int) -> NDArray[np.float64]:
    """One over the mean squared distance to the nearest distinct reference vectors but the first, shape (rows,)."""
    distinct = _first_occurrences(reference)
    if len(distinct) <= neighbours:
        raise SftdivError(
            f"a density from {neighbours} neighbours needs more distinct reference vectors than that, "
            f"got {len(distinct)}"
        )
    nearest = np.full((len(rows), neighbours + 1), np.inf)
    width = max(neighbours + 1, CELLS // len(rows))
    for start in range(0, len(distinct), width):
        block = unit_rows(reference[distinct[start : start + width]])
        candidates = np.concatenate([nearest, 2 - 2 * (rows @ block.T)], axis=1)
        nearest = np.partition(candidates, neighbours, axis=1)[:, : neighbours + 1]
    squares = np.maximum(nearest, 0)
    return 1 / ((squares.sum(axis=1) - squares.min(axis=1)) / neighbours + FLOOR)


def _first_occurrences(rows: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index of the first row of each group of equal rows, by a 128-bit hash of the bytes."""
    first: dict[bytes, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), i)
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))
