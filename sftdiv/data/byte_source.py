"""Bytes of a file, decompressed on the way, up to its end or to where it is damaged; and its lines.

A damaged compressed stream ends early and says so (`ByteSource.damage`), so that everything before the
damage is read and what follows is named. Lines are never longer than a limit in memory. Text is decoded
with ``surrogateescape``, so that a broken byte costs its own row (`formats` rejects it) and not the rest.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from sftdiv.data.bad_rows import REST

RejectRow = Callable[[int, str, str], None]  # line, reason, text
Rows = Iterator[tuple[int, Any]]
BLOCK = 1 << 20
_PIECE = 1 << 14  # decompressed at once: what stands in a piece before its damage is lost
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class ByteSource(io.RawIOBase):
    """The decompressed bytes of one file.

    Attributes:
        damage: Why the stream ended before its end; empty if it did not.
    """

    def __init__(self, path: Path) -> None:
        self.damage = ""
        self._closing: list[Any] = []
        try:
            opened = _OPEN.get(path.suffix.lower(), _open_plain)(path)
        except OSError as error:
            self.damage = _reason(error)
            opened = io.BytesIO()
        self._stream = opened
        self._at_once = _PIECE if path.suffix.lower() in _OPEN else BLOCK

    def readable(self) -> bool:
        """True: the stream is read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end or at damage."""
        if self.damage:
            return 0
        try:
            block = self._stream.read(min(len(buffer), self._at_once))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            self.damage = _reason(error)
            return 0
        buffer[: len(block)] = block
        return len(block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self.close()


def read_lines(path: Path, *, limit: int, reject: RejectRow) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a line longer than ``limit`` bytes is rejected and never loaded whole."""
    number = 0
    with ByteSource(path) as source:
        stream = io.BufferedReader(source, BLOCK)
        if is_utf16(stream.peek(2), reject):
            return
        while line := stream.readline(limit + 1):
            number += 1
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")
            complete = line.endswith(b"\n")
            if len(line) > limit:
                while not line.endswith(b"\n") and (line := stream.readline(BLOCK)):
                    pass
                reject(number, f"too long: more than corpus.max_row_bytes={limit}", text)
            elif source.damage and not complete and not stream.peek(1):
                reject(number, rest(source.damage), text)  # half a line could pass for a whole one
                return
            else:
                yield number, text
        if source.damage:
            reject(number + 1, rest(source.damage), "")


def is_utf16(head: bytes, reject: RejectRow) -> bool:
    """Whether a file's first bytes are those of UTF-16; it is then rejected as a whole."""
    if head[:2] not in _UTF16:
        return False
    reject(1, rest("the file is UTF-16: save it as UTF-8"), "")
    return True


def rest(reason: str) -> str:
    """The reason of a file that is not read beyond a line."""
    return f"{REST}: {reason}; the file is not read beyond this line"


def _reason(error: Exception) -> str:
    return f"the file is damaged ({str(error).strip() or type(error).__name__})"


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb", buffering=0)


def _open_zstd(path: Path) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")


_OPEN: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}
COMPRESSIONS = tuple(_OPEN)
