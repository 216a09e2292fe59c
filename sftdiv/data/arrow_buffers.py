"""Sizes of the record batches of an Arrow file or stream before they are decompressed, from their headers alone.

Arrow allocates what a compressed buffer claims to hold, so a file of some kilobytes can ask for any memory. The
headers are flatbuffers (https://arrow.apache.org/docs/format/Columnar.html, "Encapsulated message format" and
"Compression"): a compressed buffer begins with the length of its content.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sftdiv.data.byte_source import BLOCK
from sftdiv.records import SftdivError

MAGIC = b"ARROW1\0\0"
DICTIONARY, BATCH = 2, 3  # types of a message's header
_MOST_METADATA = 64 << 20  # bytes; the header of a batch takes about 50 per column
_SMALL = 64 << 20  # bytes that any machine should have
_PLAIN = 1 << 30  # bytes that any file may hold in one batch
_MOST_RATIO = 100  # of larger batches to the file's size


def first_too_large(path: Path, *, limit: int) -> tuple[int, int] | None:
    """Index and bytes of the first compressed batch that is too large to decode; None if there is none.

    Args:
        path: Arrow file or stream.
        limit: Bytes of a row, on average over a batch.
    """
    most = max(_PLAIN, _MOST_RATIO * path.stat().st_size)
    with path.open("rb", buffering=BLOCK) as stream:
        for index, (rows, size) in enumerate(decoded_sizes(stream)):
            if size > BLOCK and (size > most or size > limit * max(rows, 1)):
                return index, size
    return None


def check_memory(error: Exception, path: Path) -> None:
    """Tell an exhausted machine from a damaged file, which may ask for any memory.

    Raises:
        SftdivError: What could not be allocated is no more than the content of such a file may take.
    """
    if not isinstance(error, MemoryError):
        return
    claimed = re.search(r"size (\d+)", str(error))
    if claimed is None or int(claimed[1]) <= max(_SMALL, _MOST_RATIO * path.stat().st_size):
        raise SftdivError(
            f"{path}: not enough memory to read it ({error or 'MemoryError'}); free some, or write the file with "
            "smaller row groups or batches"
        ) from error


def decoded_sizes(stream: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Rows of each record batch, and bytes of its compressed buffers and of the dictionaries before it, decompressed.

    Ends where the framing is damaged, at which a reader of Arrow fails too.
    """
    is_file = stream.read(len(MAGIC)) == MAGIC
    stream.seek(len(MAGIC) if is_file else 0)
    dictionaries = 0
    try:
        while (length := _length(stream)) is not None:
            if length == 0:
                if is_file:
                    return  # the footer follows
                continue  # another stream follows
            metadata = stream.read(length)
            body = stream.tell()
            message = _root(metadata)
            kind = metadata[position] if (position := _field(metadata, message, 1)) else 0
            if kind in (DICTIONARY, BATCH):
                header = _table(metadata, message, 2)
                batch = _table(metadata, header, 1) if kind == DICTIONARY else header
                size = _decoded(stream, body, metadata, batch)
                if kind == DICTIONARY:
                    dictionaries += size
                else:
                    yield _int64(metadata, _field(metadata, batch, 0)), size + dictionaries
                    dictionaries = 0
            stream.seek(body + _int64(metadata, _field(metadata, message, 3)))
    except (struct.error, IndexError, ValueError, OverflowError):
        return


def _length(stream: IO[bytes]) -> int | None:
    """Length of the next message's metadata; 0 at the end of a stream, None at the end of the file."""
    mark = stream.read(4)
    if mark == b"\xff\xff\xff\xff":
        mark = stream.read(4)
    if len(mark) < 4:
        return None
    (length,) = struct.unpack("<i", mark)
    return length if 0 <= length <= _MOST_METADATA else None


def _decoded(stream: IO[bytes], body: int, data: bytes, batch: int) -> int:
    """Bytes of the buffers of a batch, decompressed; 0 if it is not compressed."""
    if not _field(data, batch, 3):
        return 0
    field = _field(data, batch, 2)
    vector = field + struct.unpack_from("<I", data, field)[0]
    (count,) = struct.unpack_from("<I", data, vector)
    total = 0
    for number in range(count):
        offset, length = struct.unpack_from("<qq", data, vector + 4 + 16 * number)
        if length > 0:
            stream.seek(body + offset)
            (claimed,) = struct.unpack("<q", stream.read(8))
            total += length - 8 if claimed < 0 else claimed
    return total


def _root(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, 0)[0])


def _field(data: bytes, table: int, number: int) -> int:
    """Position of a field of a table; 0 where the table lacks it."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _table(data: bytes, table: int, number: int) -> int:
    """Position of a table that is a field of another one."""
    field = _field(data, table, number)
    return int(field + struct.unpack_from("<I", data, field)[0])


def _int64(data: bytes, position: int) -> int:
    """A number; 0, the default, where the field is lacking."""
    return int(struct.unpack_from("<q", data, position)[0]) if position else 0
