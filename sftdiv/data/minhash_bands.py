"""MinHash signatures of sets of shingles, cut into bands: two sets that agree in a band may be near duplicates.

Signatures are those of datasketch's ``affine32``. It draws the permutations, and a compiled loop applies them to blocks
of sets in a fortieth of the time, so that one process suffices. Only the key of each band is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.shingles import BATCH, ShingleSets
from sftdiv.records import SftdivError

_MIX = np.uint64(0x9E3779B97F4A7C15)  # multiplier of Fibonacci hashing


def bands_and_rows(*, threshold: float, permutations: int, recall: float) -> tuple[int, int]:
    """Number of bands and rows per band of a signature: the most rows (fewest false candidates) that reach ``recall``.

    A pair of similarity s shares a band with probability 1 - (1 - s^rows)^bands (Leskovec et al., 3.4.2).

    Raises:
        SftdivError: If a setting is out of its range, or no number of bands reaches the recall.
    """
    if not (0 < threshold <= 1 and 0 < recall < 1 and permutations >= 1):
        raise SftdivError(
            f"threshold={threshold} must be in (0, 1], recall={recall} in (0, 1), permutations={permutations} >= 1"
        )
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= recall:
            return bands, rows
    raise SftdivError(
        f"permutations={permutations} are too few for recall={recall} at threshold={threshold}: "
        "take more, or a lower recall"
    )


def band_keys(
    sets: ShingleSets, starts: Iterable[int], *, bands: int, rows: int, permutations: int, seed: int
) -> NDArray[np.uint64]:
    """A key per band and set, shape (bands, sets); two sets share it if they agree in all rows of the band.

    Args:
        sets: Sets of shingles.
        starts: First set of each block of `BATCH` sets, ascending.
        bands: Bands of a signature.
        rows: Rows of a band.
        permutations: Length of a signature; what ``bands x rows`` leaves over is not used.
        seed: Seed of the permutations.
    """
    from datasketch import MinHash

    from sftdiv.data.minhash_kernel import signatures

    factors, shifts = MinHash(num_perm=permutations, seed=seed, scheme="affine32").permutations[:, : bands * rows]
    keys = np.empty((bands, len(sets)), dtype=np.uint64)
    for start in starts:
        block = sets.block(start, start + BATCH)
        signed = signatures(block.flat, block.lengths, factors, shifts)
        keys[:, start : start + len(signed)] = _row_keys(signed.reshape(-1, bands, rows)).T
    return keys


def _row_keys(rows: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One number per row of matrices, shape (..., rows, columns): a polynomial over its columns modulo 2^64."""
    powers = np.cumprod(np.full(rows.shape[-1], _MIX, dtype=np.uint64))
    return (rows * powers).sum(axis=-1, dtype=np.uint64)
