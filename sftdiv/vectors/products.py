"""Products of many vectors with one vector at a time, as greedy selection needs them: one per selected example.

Vectors are float32 and read once per product, so that memory sets the speed; products are summed in float64. Each
is summed in the same order wherever its row stands, so that equal rows have equal products and ties stay ties. On a
GPU the vectors are held there in float64. CPU and GPU agree to about 1e-15, so that only ties could be decided
differently, and the device is no part of an identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.vectors.threads import in_ranges

ROWS = 4_096  # per range of work
Product = Callable[[NDArray[np.floating]], NDArray[np.float64]]


@contextmanager
def products_with(vectors: NDArray[np.float32], *, threads: int | None = None) -> Iterator[Product]:
    """Yield ``product(vector)``: the dot product of each row with a vector, shape (rows,).

    Args:
        vectors: Rows, shape (rows, dimensions).
        threads: Number of threads on the CPU; None for all cores. Affects the run time only.
    """
    device = gpu()
    if device is not None:
        yield products_on(vectors, device)
        return
    vectors = np.ascontiguousarray(vectors)
    with in_ranges(threads) as ranges:

        def product(vector: NDArray[np.floating]) -> NDArray[np.float64]:
            result = np.empty(len(vectors))
            factors = vector.astype(np.float64)
            ranges(lambda start, stop: _multiply(vectors, factors, result, start, stop), len(vectors), ROWS)
            return result

        yield product


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dot(vector: NDArray[np.floating], factors: NDArray[np.float64]) -> float:
    """Dot product of two vectors, for kernels; summed in the same order in all of them."""
    total = 0.0
    for column in range(len(factors)):
        total += np.float64(vector[column]) * factors[column]
    return total


@njit(cache=True, nogil=True)
def _multiply(
    vectors: NDArray[np.float32], factors: NDArray[np.float64], result: NDArray[np.float64], start: int, stop: int
) -> None:
    for row in range(start, stop):
        result[row] = dot(vectors[row], factors)


def gpu() -> str | None:
    """Device of the GPU that PyTorch finds, or None; PyTorch is imported, in seconds, only where /dev has a GPU."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def products_on(vectors: NDArray[np.float32], device: str) -> Product:
    """The function of `products_with` by PyTorch on a device, which holds the vectors in float64."""
    import torch

    rows = torch.from_numpy(np.ascontiguousarray(vectors)).to(device).double()

    def product(vector: NDArray[np.floating]) -> NDArray[np.float64]:
        factors = torch.from_numpy(vector.astype(np.float64)).to(device)
        result: NDArray[np.float64] = (rows @ factors).cpu().numpy()
        return result

    return product


def products_of_pairs(
    vectors: NDArray[np.float32], partners: NDArray[np.int32], *, threads: int | None = None
) -> NDArray[np.float64]:
    """Dot products of each row with some other rows, summed as in `products_with`.

    Args:
        vectors: Rows, shape (rows, dimensions).
        partners: Rows that each row is multiplied with, shape (rows, partners).
        threads: Number of threads; None for all cores. Affects the run time only.
    """
    vectors, result = np.ascontiguousarray(vectors), np.empty(partners.shape)
    with in_ranges(threads) as ranges:
        ranges(lambda start, stop: _multiply_pairs(vectors, partners, result, start, stop), len(vectors), ROWS)
    return result


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _multiply_pairs(
    vectors: NDArray[np.float32], partners: NDArray[np.int32], result: NDArray[np.float64], start: int, stop: int
) -> None:
    for row in range(start, stop):
        for number in range(partners.shape[1]):
            total, partner = 0.0, partners[row, number]
            for column in range(vectors.shape[1]):
                total += np.float64(vectors[row, column]) * np.float64(vectors[partner, column])
            result[row, number] = total
