"""Append-only journal of model replies, which makes a killed run cheap to resume.

A journal is a JSON-lines file. Each line is a mapping with a ``key`` and a ``state``; the last line
of a key counts. Each ends with a digest of itself: a damaged line is not read, and its request is sent again.
A line is handed to the operating system as soon as it is added, so ``kill -9``
loses at most the requests in flight. A torn last line is cut off before anything is appended.
Memory holds the offset of each key's line, not the line itself: a hundred thousand long replies cost
some megabytes, and reading one back costs a seek.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from filelock import FileLock, Timeout

from sftdiv.records import SftdivError
from sftdiv.storage.file_digests import DIGEST, MARK

log = logging.getLogger(__name__)
_SEALED = re.compile(rb'(.*), "%s": "%s([0-9a-f]{16})"\}\n?' % (DIGEST.encode(), MARK.encode()), re.DOTALL)
FAILED = "failed"  # the only state that is requested again


def encode_line(line: Mapping[str, Any]) -> bytes:
    """A line as JSON that ends with the digest of what stands before it, and a line feed."""
    data = json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return b'%s, "%s": "%s%s"}\n' % (data[:-1], DIGEST.encode(), MARK.encode(), _digest(data))


def decode_line(data: bytes) -> dict[str, Any]:
    """The mapping in a line, without its digest; a line that earlier versions wrote without one is not checked.

    Raises:
        ValueError: The line is damaged.
    """
    try:
        line = json.loads(data)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    if not isinstance(line, dict):
        raise ValueError("not a mapping")
    match = _SEALED.fullmatch(data)
    if match is None:
        if any(name == DIGEST or (isinstance(value, str) and value.startswith(MARK)) for name, value in line.items()):
            raise ValueError("its digest is damaged")
        return line
    if _digest(match[1] + b"}") != match[2]:
        raise ValueError("it changed since it was written")
    del line[DIGEST]
    return line


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).hexdigest().encode()


class Journal:
    """The lines of one file, locked by this process while the context is open.

    Attributes:
        path: The file.
        calls: Number of HTTP requests over all lines, including lines that were replaced later.
    """

    def __init__(self, path: Path) -> None:
        """Set the path; the file is created and opened when the context is entered."""
        self.path = Path(path)
        self.calls = 0
        self._index: dict[str, tuple[int, str]] = {}  # key -> offset and state of its last line
        self._end = 0
        self._lock = FileLock(f"{self.path}.lock")
        self._writer: IO[bytes]
        self._reader: IO[bytes]

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system."""
        data = encode_line(line)
        self._writer.write(data)
        self._writer.flush()
        self._register(line, self._end)
        self._end += len(data)

    def state(self, key: str) -> str | None:
        """State of a key's last line; None where the key has no line."""
        entry = self._index.get(key)
        return None if entry is None else entry[1]

    def position(self, key: str) -> int:
        """Offset of a key's last line; -1 where the key has no line."""
        entry = self._index.get(key)
        return -1 if entry is None else entry[0]

    @property
    def batches(self) -> Path:
        """Folder of the batches whose answers become lines."""
        return self.path.with_suffix(".batches")

    def done(self, key: str) -> bool:
        """Whether the key has a line that did not fail."""
        return self.state(key) not in {None, FAILED}

    def line(self, key: str) -> dict[str, Any] | None:
        """A key's last line, read from the file; None where the key has no line."""
        entry = self._index.get(key)
        if entry is None:
            return None
        self._reader.seek(entry[0])
        return decode_line(self._reader.readline())

    def lines(self) -> Iterator[dict[str, Any]]:
        """The last line of each key, in the order of the keys' first lines; one line at a time is in memory."""
        for key in list(self._index):
            line = self.line(key)
            if line is not None:
                yield line

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SftdivError(f"{self.path} is being written by another process; wait for it, or stop it") from None
        try:
            self.path.touch()
            self._load()
            self._writer, self._reader = self.path.open("ab"), self.path.open("rb")
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._reader.close()
        self._lock.release()

    def _load(self) -> None:
        """Index the file and cut off the torn last line of a killed run."""
        self._index, self._end, self.calls, damaged = {}, 0, 0, 0
        with self.path.open("rb+") as stream:
            for data in stream:
                if not data.endswith(b"\n"):
                    stream.truncate(self._end)
                    break
                try:
                    self._register(decode_line(data), self._end)
                except (ValueError, KeyError, TypeError):
                    damaged += 1
                self._end += len(data)
        if damaged:
            log.warning("%d lines of %s are damaged; their requests are sent again", damaged, self.path)

    def _register(self, line: Mapping[str, Any], offset: int) -> None:
        self._index[line["key"]] = (offset, sys.intern(line["state"]))
        self.calls += int(line.get("calls", 0))
