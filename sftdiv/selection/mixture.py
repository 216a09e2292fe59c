"""A mixture of sources in given shares: the largest part of the universe in which each source has its share.

Examples of a source that has more than its share are left out by the hash of their id, so that the mixture does not
depend on the order of the corpus. The same weights are asked for as "dataset weights" in other trainers, which
repeat or sample examples while they train; here they decide who can be selected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.validate import did_you_mean


def in_mixture(
    sources: Sequence[str],
    ids: Sequence[str],
    selectable: NDArray[np.bool_],
    weights: Mapping[str, float],
    *,
    seed: int,
) -> NDArray[np.bool_]:
    """Mask of the selectable examples that make up the mixture, shape (examples,).

    Args:
        sources: Source of each example.
        ids: Id of each example.
        selectable: Mask of the examples to choose from, shape (examples,).
        weights: Weight of each source, above 0; their shares are proportional. Other sources are left out.
        seed: Seed of the order in which examples of a source are taken.

    Raises:
        SftdivError: The corpus has no selectable example of a source.
    """
    rows_of: dict[str, list[int]] = {source: [] for source in weights}
    for row in np.flatnonzero(selectable).tolist():
        if sources[row] in rows_of:
            rows_of[sources[row]].append(row)
    if missing := [source for source, rows in rows_of.items() if not rows]:
        known = sorted({sources[row] for row in np.flatnonzero(selectable).tolist()} - {""})
        raise SftdivError(
            f"corpus.mix names {', '.join(missing)}, of which there is no selectable example."
            f"{did_you_mean(missing[0], known)} Sources: {', '.join(known) or 'none; corpus.source_column=NAME'}"
        )
    total = min(len(rows_of[source]) / weight for source, weight in weights.items())
    kept = np.zeros(len(selectable), dtype=bool)
    for source, weight in weights.items():
        by_hash = sorted(rows_of[source], key=lambda row: _digest(seed, ids[row]))
        kept[by_hash[: round(total * weight)]] = True
    return kept


def _digest(seed: int, identifier: str) -> bytes:
    return hashlib.blake2b(f"mix:{seed}:{identifier}".encode(), digest_size=8).digest()
