"""Unit rows and what is summed or searched over all pairs of them, in blocks: no matrix of texts x texts is ever held.

In: embeddings as they are stored (float32, unit length to float32's precision, or zeros for a text
without a known word). Out: float64 arrays. For distances rows are scaled to unit length again in
float64, so that two equal texts are 1e-16 apart and not 1e-7: distances near zero are what nearest
neighbours and densities are about. The trade: float64 products cost twice float32's, so the sum
over all texts (``gram``), in which nothing cancels, multiplies in the precision that the vectors
have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS = 2048  # of a tile: two tiles of rows at 1,024 dimensions and their products take about 64 MiB
GRAM_ROWS = 4096


def unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows scaled to unit length in float64, shape as given; rows of zeros stay zeros."""
    rows = embeddings.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.where(norms > 0, norms, 1)[:, None]
    return rows


def gram(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """``X^T X`` of the unit rows X, shape (dimensions, dimensions); O(texts x dimensions^2).

    Blocks are multiplied in the vectors' own precision and summed in float64. For float32 an
    eigenvalue of it is off by about 1e-7 of the mean one, as much as rounding the vectors to
    float32 has moved it; give float64 vectors for more.
    """
    total = np.zeros((embeddings.shape[1], embeddings.shape[1]))
    for start in range(0, len(embeddings), GRAM_ROWS):
        block = embeddings[start : start + GRAM_ROWS]
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        block = block / np.where(norms > 0, norms, 1)[:, None]
        total += block.T @ block  # numpy sees the one matrix in it and computes half of it (BLAS syrk)
    return total


def nearest_cosines(embeddings: NDArray[np.floating], among: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each row the largest cosine with a row of ``among``, shape (rows,); O(rows x among x dimensions) time."""
    nearest = np.full(len(embeddings), -np.inf)
    for column in range(0, len(among), ROWS):
        others = unit_rows(among[column : column + ROWS]).T
        for row in range(0, len(embeddings), ROWS):
            part = slice(row, row + ROWS)
            np.maximum(nearest[part], (unit_rows(embeddings[part]) @ others).max(axis=1), out=nearest[part])
    return nearest


def nearest_other_cosines(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each row the largest cosine with any other row, shape (rows,); each pair of rows is multiplied once."""
    nearest = np.full(len(embeddings), -np.inf)
    for row in range(0, len(embeddings), ROWS):
        rows, part = unit_rows(embeddings[row : row + ROWS]), slice(row, row + ROWS)
        for column in range(row, len(embeddings), ROWS):
            other = slice(column, column + ROWS)
            cosines = rows @ unit_rows(embeddings[other]).T
            if column == row:
                np.fill_diagonal(cosines, -np.inf)
            np.maximum(nearest[part], cosines.max(axis=1), out=nearest[part])
            np.maximum(nearest[other], cosines.max(axis=0), out=nearest[other])
    return nearest
