"""The order of a corpus, which rows of it stay, and the names they go by: all that depends on every row and on no text.

In: a `Spill` of rows with their hashes and labels. Out: a table of the rows that stay, without
their texts, in canonical order (by hash, then label), by which the rows themselves are then read a
part at a time. The trade: this table stands in memory, about 200 bytes a row.
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
    """What is known of each row that stays, but its texts, by hash and then label: `_KEYS`, its part, and its row in the part.

    With ``distinct`` each conversation stays once: of exact duplicates the one with the smallest
    label, whatever the order read.
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


def rows_in_order(spill: Spill, kept: pa.Table, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows that stay, in canonical order, a part at a time; all columns, or some."""
    ends = np.searchsorted(kept.column("part").to_numpy(), np.arange(PARTS), side="right").tolist()
    rows = kept.column("row").to_numpy()
    for part, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        yield spill.part(part, columns).take(rows[start:end])


def fingerprint_of(kept: pa.Table) -> str:
    """Digest of all that the user's data says, row by row in canonical order."""
    digest = hashlib.blake2b(digest_size=16)
    for batch in kept.select(["hash", "label"]).to_batches():
        for pair in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update("\n".join(pair).encode())
    return digest.hexdigest()


def unique_ids(hashes: Sequence[str], ids: Sequence[str]) -> list[str]:
    """An example without an id gets its hash, and ids that several examples share get theirs appended; of equal rows each its number."""
    holders = Counter(ids)
    holders[""] = 1
    unique, copy = [], 0
    for at, (key, name) in enumerate(zip(hashes, ids, strict=True)):
        copy = copy + 1 if at and key == hashes[at - 1] else 0
        given = (name or key) if holders[name] == 1 else f"{name}-{key[:12]}"
        unique.append(f"{given}-{copy + 1}" if copy and (not name or holders[name] > 1) else given)
    return unique
