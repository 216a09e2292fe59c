"""Reads a corpus from the user's files (JSONL, JSON, Parquet, CSV): one file, a list, a glob or a folder.

Examples come in any order (`build_corpus` makes it canonical). The identity is the digest of each
file's bytes and never its path, so that a copy elsewhere is the same corpus. The files are therefore
hashed before every run, at about 1 GB/s.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sftdiv.data.formats import BadRowError, Converter
from sftdiv.data.row_parsing import READERS, RejectRow
from sftdiv.records import Example, SftdivError
from sftdiv.storage.folders import user_path
from sftdiv.storage.hashing import file_digest, identity_of


@dataclass(frozen=True, kw_only=True)
class FilesReader:
    """Reads examples from files.

    Attributes:
        path: A file, a folder, a glob, or a list of these.
        max_row_bytes: Size from which a row is rejected instead of loaded.
        converter: Conversion of a row into an example.
    """

    path: str | Sequence[str]
    max_row_bytes: int
    converter: Converter

    def identity(self) -> Mapping[str, Any]:
        """Sorted digests of the files, the limit that rejects rows, and the settings of the conversion."""
        stats = [(path, path.stat()) for path in self.files()]
        return {
            "kind": "files",
            "files": sorted(_digest(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats),
            "max_row_bytes": self.max_row_bytes,
            "converter": identity_of(self.converter),
        }

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every example of every file; see `sftdiv.protocols.Reader`."""
        for path in self.files():
            yield from self._examples(path, partial(reject, str(path)))

    def files(self) -> list[Path]:
        """The files that ``path`` matches, each once, sorted.

        Raises:
            SftdivError: If it matches none, or one of an unknown kind.
        """
        paths = [self.path] if isinstance(self.path, str) else self.path
        return sorted({file.resolve() for path in paths for file in _expand(path)})

    def _examples(self, path: Path, reject: RejectRow) -> Iterator[Example]:
        if path.stat().st_size == 0:
            reject(0, "empty file: it has no bytes", "")
            return
        for line, row in READERS[path.suffix.lower()](path, limit=self.max_row_bytes, reject=reject):
            try:
                example = self.converter.example(row)
            except BadRowError as error:
                reject(line, str(error), json.dumps(row, ensure_ascii=False, default=str))
                continue
            yield example


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    """A file's digest, computed once per process while size and time stay the same: a sweep needs it for every cell."""
    return file_digest(path)


def _expand(pattern: str) -> list[Path]:
    path = user_path(pattern, name="corpus.path")
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in READERS]
    elif path.is_file():
        files = [path]
    else:
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
        files = [file for name in names if (file := Path(name)).is_file()]
    known = ", ".join(READERS)
    if not files:
        raise SftdivError(f"corpus.path={pattern!r} matches no file. It may be a file, a folder or a glob of {known}.")
    if unknown := [file for file in files if file.suffix.lower() not in READERS]:
        raise SftdivError(f"corpus.path: {unknown[0]} is of an unknown kind. Known: {known}.")
    return files
