"""A corpus in the user's own files: JSONL, JSON, Parquet and CSV; one file, a list, a glob or a folder.

In: paths. Out: examples, in whatever order (`build` makes it canonical). What names the content is
the digest of each file's bytes, never its path, so that a copy elsewhere is the same corpus. The
trade: bytes are hashed before every run, about 1 GB a second.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sftdiv.data.formats import BadRowError, Converter
from sftdiv.data.row_parsing import READERS, Bad
from sftdiv.records import Example, SftdivError
from sftdiv.storage.hashing import file_digest


@dataclass(frozen=True, kw_only=True)
class FilesReader:
    """Reads examples from files; ``path`` is a file, a folder, a glob or a list of these, ``max_row_bytes`` bounds one row."""

    path: str | Sequence[str]
    max_row_bytes: int
    converter: Converter

    def identity(self) -> Mapping[str, Any]:
        """Digests of the files, sorted, and the settings of the conversion."""
        digests = sorted(_digest(path, (known := path.stat()).st_size, known.st_mtime_ns) for path in self.files())
        return {"files": digests, "max_row_bytes": self.max_row_bytes, "converter": asdict(self.converter)}

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every example of every file; see `sftdiv.records.Reader`."""
        for path in self.files():
            yield from self._examples(path, partial(reject, str(path)))

    def files(self) -> list[Path]:
        """The files that ``path`` names, each once, sorted.

        Raises:
            SftdivError: when it names none, or one of an unknown kind.
        """
        given = [self.path] if isinstance(self.path, str) else list(self.path)
        return sorted({file.resolve() for path in given for file in _expand(path)})

    def _examples(self, path: Path, bad: Bad) -> Iterator[Example]:
        if path.stat().st_size == 0:
            bad(0, "empty file: it has no bytes", "")
            return
        for line, row in READERS[path.suffix.lower()](path, limit=self.max_row_bytes, bad=bad):
            try:
                example = self.converter.example(row)
            except BadRowError as error:
                bad(line, str(error), json.dumps(row, ensure_ascii=False, default=str))
                continue
            yield example


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    """A file's digest, read once a process while neither its size nor its time changes: a sweep asks for it once a cell."""
    return file_digest(path)


def _expand(path: str) -> list[Path]:
    place = Path(path).expanduser()
    if place.is_dir():
        found = [file for file in place.rglob("*") if file.is_file() and file.suffix.lower() in READERS]
    elif place.is_file():
        found = [place]
    else:
        names = glob.glob(str(place), recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
        found = [file for name in names if (file := Path(name)).is_file()]
    known = ", ".join(READERS)
    if not found:
        raise SftdivError(f"corpus.path={path!r} names no file. It may be a file, a folder or a glob of {known}.")
    if unknown := [file for file in found if file.suffix.lower() not in READERS]:
        raise SftdivError(f"corpus.path: {unknown[0]} is of an unknown kind. Known: {known}.")
    return found
