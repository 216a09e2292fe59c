"""Canonical order of a corpus, deduplication, fingerprint and ids: everything that needs all rows but no texts.

The index is a table of the remaining rows without their texts, ordered by hash, then label. The rows
themselves are then read in that order, one part at a time. The index is held in memory, about 200
bytes per row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sftdiv.data.external_sort import PARTS, Spill

if TYPE_CHECKING:
    import pyarrow as pa

_KEYS = ("hash", "label", "id", "source", "group")


def canonical_order(spill: Spill, *, distinct: bool) -> pa.Table:
    """The index of the remaining rows, by hash and then label: the columns `_KEYS`, ``part``, and ``row`` in that part.

    Args:
        spill: All rows.
        distinct: Whether each conversation remains once; of exact duplicates the one with the smallest
            label remains, whatever the order of reading.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    for part in range(PARTS):
        keys = spill.part(part, _KEYS)
        order = pc.sort_indices(keys, sort_keys=[("hash", "ascending"), ("label", "ascending")]).to_numpy()
        if distinct:
            hashes = keys.column("hash").to_numpy()[order]
            order = order[np.concatenate([[True], hashes[1:] != hashes[:-1]])[: len(order)]]
        parts.append(keys.take(order).append_column("row", [order]).append_column("part", [np.full(len(order), part)]))
    return pa.concat_tables(parts)


def rows_in_order(
    spill: Spill, index: pa.Table, columns: Sequence[str] | None = None, *, parts: range = range(PARTS)
) -> Iterator[pa.Table]:
    """The indexed rows in canonical order, one part at a time.

    Args:
        spill: All rows.
        index: The remaining rows, as `canonical_order` returns them.
        columns: Columns to read; None for all.
        parts: Parts to read.
    """
    ends = np.searchsorted(index.column("part").to_numpy(), np.arange(PARTS), side="right").tolist()
    rows = index.column("row").to_numpy()
    bounds = [0, *ends]
    for part in parts:
        yield spill.part(part, columns).take(rows[bounds[part] : bounds[part + 1]])


def fingerprint_of(index: pa.Table) -> str:
    """Digest of the user's data (messages, source, id and carried columns), row by row in canonical order."""
    digest = hashlib.blake2b(digest_size=16)
    for batch in index.select(["hash", "label"]).to_batches():
        for pair in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update("\n".join(pair).encode())
    return digest.hexdigest()


def unique_ids(hashes: Sequence[str], ids: Sequence[str]) -> list[str]:
    """One distinct id per row.

    An id that a single row has stays. A missing id becomes the row's hash; a shared one gets the hash
    appended. Equal rows are numbered.

    Args:
        hashes: Hash of each row, equal rows adjacent.
        ids: The user's id of each row, or an empty string.
    """
    holders = Counter(ids)
    holders[""] = 1
    unique, copy = [], 0
    for row, (key, name) in enumerate(zip(hashes, ids, strict=True)):
        copy = copy + 1 if row and key == hashes[row - 1] else 0
        base = (name or key) if holders[name] == 1 else f"{name}-{key[:12]}"
        unique.append(f"{base}-{copy + 1}" if copy and (not name or holders[name] > 1) else base)
    return unique
