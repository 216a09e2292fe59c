"""Reads a response's body up to a maximum size, also decompressed: a server's answer cannot fill the memory.

Only gzip and deflate are accepted, since zlib can stop decompressing at a size; the client session must
not decompress on its own.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

MOST_BYTES = 32 << 20  # of a decompressed body; 4,096 tokens with 20 log-probabilities each take about 8 MiB
ACCEPTED_ENCODINGS = {"Accept-Encoding": "gzip, deflate"}
TOO_LARGE = "too large"
AUTOMATIC_HEADER = 32 + zlib.MAX_WBITS  # gzip or zlib


class UnreadableBodyError(ValueError):
    """A body that is too large, or compressed in another way than the request accepts."""


async def read_body(response: aiohttp.ClientResponse) -> str:
    """Text of a response's body.

    Raises:
        UnreadableBodyError: The body exceeds ``MOST_BYTES``, or its compression is unknown or damaged.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise UnreadableBodyError(f"unreadable: the response is compressed by {encoding[:20]!r}")
    decompress = None if encoding in {"", "identity"} else zlib.decompressobj(AUTOMATIC_HEADER)
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        try:
            body += chunk if decompress is None else decompress.decompress(chunk, MOST_BYTES + 1 - len(body))
        except zlib.error as error:
            raise UnreadableBodyError(f"unreadable: the compressed response is damaged: {error}") from error
        if len(body) > MOST_BYTES:
            response.close()  # the rest is not read
            raise UnreadableBodyError(f"{TOO_LARGE}: the response exceeds {MOST_BYTES >> 20} MiB")
    return body.decode(response.charset or "utf-8")


async def save_body(response: aiohttp.ClientResponse, path: Path) -> None:
    """Save a response's body, of any size, to a file.

    Raises:
        UnreadableBodyError: The body is compressed although the request did not accept that.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnreadableBodyError(f"unreadable: the response is compressed by {encoding[:20]!r}")
    with path.open("wb") as stream:
        async for chunk in response.content.iter_chunked(1 << 20):
            stream.write(chunk)
