"""Unit rows, and sums and maxima over all pairs of rows, in blocks: no texts x texts matrix is ever held.

Embeddings come in as they are stored: float32, of unit length to float32's precision, or zeros for
a text without a known word. Results are float64. For distances, rows are scaled to unit length
again in float64, so that two equal texts are 1e-16 apart and not 1e-7: nearest neighbours and
densities depend on distances near zero. Float64 products cost twice as much as float32, so the sum
over all texts (``gram``), in which nothing cancels, multiplies in the precision of the vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS = 2048  # per tile: two tiles of 1,024 dimensions and their products take about 64 MiB
GRAM_ROWS = 4096


def unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows scaled to unit length in float64, same shape; rows of zeros stay zeros."""
    rows = embeddings.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.where(norms > 0, norms, 1)[:, None]
    return rows


def gram(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """``X^T X`` of the unit rows X, shape (dimensions, dimensions); O(texts x dimensions^2).

    Blocks are multiplied in the vectors' own precision and summed in float64. With float32 an
    eigenvalue is off by about 1e-7 of the mean eigenvalue, as much as rounding the vectors to
    float32 has moved it; pass float64 vectors for more.
    """
    total = np.zeros((embeddings.shape[1], embeddings.shape[1]))
    for start in range(0, len(embeddings), GRAM_ROWS):
        block = embeddings[start : start + GRAM_ROWS]
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        block = block / np.where(norms > 0, norms, 1)[:, None]
        total += block.T @ block  # numpy detects the transpose and computes half of it (BLAS syrk)
    return total


def nearest_cosines(embeddings: NDArray[np.floating], among: NDArray[np.floating]) -> NDArray[np.float64]:
    """Largest cosine of each row with a row of ``among``, shape (rows,); O(rows x among x dimensions) time."""
    nearest = np.full(len(embeddings), -np.inf)
    for column in range(0, len(among), ROWS):
        columns = unit_rows(among[column : column + ROWS]).T
        for row in range(0, len(embeddings), ROWS):
            tile = slice(row, row + ROWS)
            np.maximum(nearest[tile], (unit_rows(embeddings[tile]) @ columns).max(axis=1), out=nearest[tile])
    return nearest


def nearest_other_cosines(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Largest cosine of each row with any other row, shape (rows,); each pair of rows is multiplied once."""
    nearest = np.full(len(embeddings), -np.inf)
    for row in range(0, len(embeddings), ROWS):
        row_tile = slice(row, row + ROWS)
        rows = unit_rows(embeddings[row_tile])
        for column in range(row, len(embeddings), ROWS):
            column_tile = slice(column, column + ROWS)
            cosines = rows @ unit_rows(embeddings[column_tile]).T
            if column == row:
                np.fill_diagonal(cosines, -np.inf)
            np.maximum(nearest[row_tile], cosines.max(axis=1), out=nearest[row_tile])
            np.maximum(nearest[column_tile], cosines.max(axis=0), out=nearest[column_tile])
    return nearest
