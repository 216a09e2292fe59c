"""Every answer of a model on disk as it comes: what makes a killed run cheap to resume.

In: lines, each a mapping with a ``key`` and a ``state``. Out: an append-only JSON-lines file and
what it holds; a key's last line counts. A line is handed to the operating system as soon as it is
added, so that kill -9 loses at most the answers in flight; a torn last line is cut off before
anything is appended. The trade: memory holds where each key's line stands, not the line, so that a
hundred thousand long answers cost some megabytes, and reading one back costs a seek.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from filelock import FileLock, Timeout

from sftdiv.records import SftdivError

log = logging.getLogger(__name__)
FAILED = "failed"  # the one state that is asked again


class Ledger:
    """The lines of one file, open for this process alone; see the module's text.

    Attributes:
        path: The file.
        calls: HTTP requests that its lines took, those of lines that later ones replaced included.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; it is opened, and made where it is not there, on entering the context."""
        self.path = Path(path)
        self.calls = 0
        self._places: dict[str, tuple[int, str]] = {}  # key -> where its line begins, its state
        self._end = 0
        self._lock = FileLock(f"{self.path}.lock")
        self._written: IO[bytes]
        self._read: IO[bytes]

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system."""
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self._written.write(data)
        self._written.flush()
        self._note(line, self._end)
        self._end += len(data)

    def state(self, key: str) -> str | None:
        """State of a key's last line; None where there is no line."""
        place = self._places.get(key)
        return None if place is None else place[1]

    def done(self, key: str) -> bool:
        """Whether the key has a line that did not fail."""
        return self.state(key) not in {None, FAILED}

    def line(self, key: str) -> dict[str, Any] | None:
        """A key's last line, read back from the file."""
        place = self._places.get(key)
        if place is None:
            return None
        self._read.seek(place[0])
        read: dict[str, Any] = json.loads(self._read.readline())
        return read

    def lines(self) -> Iterator[dict[str, Any]]:
        """The last line of each key, in the order in which the keys were first written; one at a time is in memory."""
        for key in list(self._places):
            line = self.line(key)
            if line is not None:
                yield line

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Ledger:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SftdivError(f"{self.path} is being written by another process; wait for it, or stop it") from None
        try:
            self.path.touch()
            self._load()
            self._written, self._read = self.path.open("ab"), self.path.open("rb")
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._written.close()
        self._read.close()
        self._lock.release()

    def _load(self) -> None:
        """Note where each line stands; the torn end of a killed run is cut off."""
        self._places, self._end, self.calls, damaged = {}, 0, 0, 0
        with self.path.open("rb+") as stream:
            for data in stream:
                if not data.endswith(b"\n"):
                    stream.truncate(self._end)
                    break
                try:
                    self._note(json.loads(data), self._end)
                except (ValueError, KeyError, TypeError):
                    damaged += 1
                self._end += len(data)
        if damaged:
            log.warning("%d lines of %s are damaged; what they were about is asked again", damaged, self.path)

    def _note(self, line: Mapping[str, Any], place: int) -> None:
        self._places[line["key"]] = (place, sys.intern(line["state"]))
        self.calls += int(line.get("calls", 0))
