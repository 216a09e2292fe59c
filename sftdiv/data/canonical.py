"""Canonical order of a corpus, deduplication, fingerprint and ids: everything that needs all rows but no texts.

The index is a table of the remaining rows without their texts, ordered by hash, then label. The rows
themselves are then read in that order, one part at a time. The index is held in memory, about 200
bytes per row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sftdiv.data.external_sort import PARTS, Spill
from sftdiv.text.string_columns import codes_of

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 10_000  # rows
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
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.blake2b(digest_size=16)
    for batch in index.select(["hash", "label"]).to_batches(max_chunksize=_BLOCK):
        lines = pc.binary_join_element_wise(batch["hash"], batch["label"], "\n")
        joined = pc.binary_join(pa.LargeListArray.from_arrays([0, len(lines)], lines), "")
        digest.update(joined[0].as_buffer())
    return digest.hexdigest()


def unique_ids(hashes: pa.ChunkedArray, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """One distinct id per row.

    An id that a single row has stays. A missing id becomes the row's hash; a shared one gets the hash
    appended. Equal rows are numbered.

    Args:
        hashes: Hash of each row, equal rows adjacent.
        ids: The user's id of each row, or an empty string.
    """
    import pyarrow.compute as pc

    rows, code = np.arange(len(ids)), codes_of(ids).of_row
    missing = pc.equal(ids, "").to_numpy()
    shared = (np.bincount(code)[code] > 1) & ~missing if len(ids) else missing
    is_copy = np.zeros(len(ids), dtype=bool)
    is_copy[1:] = pc.equal(hashes.slice(1), hashes.slice(0, max(len(ids) - 1, 0))).to_numpy()
    copy = rows - np.maximum.accumulate(np.where(is_copy, 0, rows))
    with_hash = pc.binary_join_element_wise(ids, pc.utf8_slice_codeunits(hashes, 0, 12), "-")
    base = pc.if_else(missing, hashes, pc.if_else(shared, with_hash, ids))
    numbered = pc.binary_join_element_wise(base, pc.cast(copy + 1, "string"), "-")
    return pc.if_else((copy > 0) & (missing | shared), numbered, base)
