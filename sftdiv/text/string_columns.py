"""Columns of strings as integers: distinct values as codes, values as hashes, with no Python object per row.

A list of a million short strings takes 60 MB and more; the codes of a column take 4 bytes per row. Values come as a
list (small data, tests) or as the column of an Arrow table, which is read in blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sftdiv.text.column_texts import ColumnTexts

if TYPE_CHECKING:
    import pyarrow as pa

    Strings: TypeAlias = Sequence[str] | pa.ChunkedArray

BLOCK = 10_000  # rows
DIGEST = 16  # bytes: 128 bits, so that no two of a billion texts are taken for equal


class Codes(NamedTuple):
    """Distinct values of a column.

    Attributes:
        names: Each distinct value once, as Arrow.
        of_row: Index in ``names`` of each row, shape (rows,).
    """

    names: pa.Array
    of_row: NDArray[np.int32]


class Distinct(NamedTuple):
    """Distinct texts.

    Attributes:
        first: Index of the first occurrence of each distinct text, shape (distinct,).
        of_text: Index among the distinct texts of each text, shape (texts,).
    """

    first: NDArray[np.int64]
    of_text: NDArray[np.int64]


def codes_of(values: Strings) -> Codes:
    """Distinct values in the order of their first occurrence, and the code of each row."""
    import pyarrow as pa

    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, pa.string())])
    encoded = column.dictionary_encode()
    if not encoded.num_chunks:
        return Codes(pa.array([], column.type), np.empty(0, dtype=np.int32))
    encoded = encoded.unify_dictionaries()
    codes = [chunk.indices.to_numpy() for chunk in encoded.chunks]
    return Codes(encoded.chunk(0).dictionary, np.concatenate(codes).astype(np.int32, copy=False))


def sorted_codes(values: Strings) -> Codes:
    """As `codes_of`, with the distinct values in the order of Python's strings, which is that of their code points."""
    import pyarrow.compute as pc

    names, of_row = codes_of(values)
    order = pc.sort_indices(names).to_numpy().astype(np.int64)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return Codes(names.take(order), rank[of_row])


def is_one_of(values: Strings, names: Collection[str]) -> NDArray[np.bool_]:
    """Mask of the rows whose value is one of some names, shape (rows,)."""
    codes = codes_of(values)
    return np.array([name in names for name in each(codes.names)], dtype=bool)[codes.of_row]


def each(values: Strings | pa.Array, rows: NDArray[np.integer] | None = None) -> Iterator[str]:
    """The values one after another, or those of some rows; an Arrow column is decoded in blocks."""
    import pyarrow as pa

    if not isinstance(values, (pa.ChunkedArray, pa.Array)):
        yield from values if rows is None else (values[row] for row in rows)
        return
    for start in range(0, len(values) if rows is None else len(rows), BLOCK):
        block = values.slice(start, BLOCK) if rows is None else values.take(rows[start : start + BLOCK])
        yield from block.to_pylist()


def salted_hashes(values: Strings | pa.Array, salt: str, rows: NDArray[np.int64] | None = None) -> NDArray[np.uint64]:
    """A number for each value (or each of some rows), by BLAKE2b of salt, colon and value; they sort as the digests do.

    Args:
        values: The values.
        salt: Purpose and seed; hashes of different salts are independent.
        rows: Rows of which the values are hashed, shape (chosen,); None for all.
    """
    digests = (hashlib.blake2b(f"{salt}:{value}".encode(), digest_size=8).digest() for value in each(values, rows))
    count = len(values) if rows is None else len(rows)
    return np.fromiter((int.from_bytes(digest) for digest in digests), dtype=np.uint64, count=count)


def text_digests(texts: Iterable[str], count: int) -> NDArray[np.uint64]:
    """BLAKE2b digest of each text as two numbers, shape (texts, 2), which sort as the digests do.

    Args:
        texts: The texts, read once.
        count: Their number.
    """
    content = bytearray(count * DIGEST)
    for row, text in enumerate(texts):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
        content[row * DIGEST : (row + 1) * DIGEST] = digest
    return np.frombuffer(bytes(content), dtype=">u8").astype(np.uint64).reshape(count, DIGEST // 8)


def digest_column(digests: NDArray[np.uint64]) -> pa.ChunkedArray:
    """Digests as a column of bytes, such as `codes_of` takes."""
    import pyarrow as pa

    size = 8 * digests.shape[1]
    buffers = [None, pa.py_buffer(np.ascontiguousarray(digests))]
    return pa.chunked_array([pa.Array.from_buffers(pa.binary(size), len(digests), buffers)])


def digest_order(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows in the order of their digests; equal ones keep theirs, shape (rows,)."""
    return np.lexsort((digests[:, 1], digests[:, 0]))


def distinct_by_digest(texts: Sequence[str]) -> Distinct:
    """The distinct texts in the order of their digests."""
    digests = text_digests(texts, len(texts))
    order = digest_order(digests)
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = np.any(digests[order[1:]] != digests[order[:-1]], axis=1)
    of_text = np.empty(len(order), dtype=np.int64)
    of_text[order] = np.cumsum(is_first) - 1
    return Distinct(order[is_first], of_text)


def distinct_in_order(texts: Sequence[str]) -> Distinct:
    """The distinct texts in the order of Python's strings; those of a corpus column are sorted by Arrow on the map."""
    import pyarrow.compute as pc

    if not (isinstance(texts, ColumnTexts) and len(texts.columns) == 1):
        _, first, of_text = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
        return Distinct(first, of_text)
    by_digest = distinct_by_digest(texts)
    is_first = np.zeros(len(texts), dtype=bool)
    is_first[by_digest.first] = True
    order = pc.sort_indices(texts.columns[0]).to_numpy().astype(np.int64)
    first = order[is_first[order]]
    rank = np.empty(len(first), dtype=np.int64)
    rank[by_digest.of_text[first]] = np.arange(len(first))
    return Distinct(first, rank[by_digest.of_text])
