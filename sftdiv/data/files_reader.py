"""Reads a corpus from the user's files (JSON, CSV, Parquet, Arrow): one file, a list, a glob or a folder.

Examples come in any order (`build_corpus` makes it canonical). The identity is the digest of each
file's bytes and never its path, so that a copy elsewhere is the same corpus. The files are therefore
hashed before every run, at about 1 GB/s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sftdiv.data.byte_source import RejectRow, Rows
from sftdiv.data.conversion import Conversion, Reject, check_first_rows
from sftdiv.data.file_shards import FilePart, FileShard, file_shards
from sftdiv.data.folder_files import data_files
from sftdiv.data.formats import Converter
from sftdiv.data.row_parsing import kind_of_file, read_rows
from sftdiv.records import Example
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
        return {
            "kind": "files",
            "files": sorted(_identity(path) for path in self.files()),
            "max_row_bytes": self.max_row_bytes,
            "converter": identity_of(self.converter),
        }

    def examples(self, reject: Reject) -> Iterator[Example]:
        """Every example of every file; see `sftdiv.protocols.Reader`.

        Raises:
            SftdivError: A setting names a column that the first rows lack, or no row has.
        """
        conversion = Conversion(self.converter, reject)
        for shard in self.shards():
            yield from self.read(shard, conversion, reject)
        conversion.check_columns()

    def shards(self) -> list[FileShard]:
        """The files in shards, after a check of their first rows.

        Raises:
            SftdivError: A setting names a column that the first rows lack.
        """
        if self.converter.settings_of_columns:
            check_first_rows(self.converter, (self._rows(FilePart(path)) for path in self.files()))
        return file_shards(self.files())

    def read(self, shard: FileShard, conversion: Conversion, reject: Reject) -> Iterator[Example]:
        """Every example of one shard.

        Args:
            shard: One of `shards`.
            conversion: Converts the rows.
            reject: Receives file, line, reason and text of what cannot be read.
        """
        for part in shard:
            name = str(part.path)
            if part.path.stat().st_size == 0:
                reject(name, 0, "empty file: it has no bytes", "")
                continue
            yield from conversion.examples(name, self._rows(part, partial(reject, name)))

    def _rows(self, part: FilePart, reject: RejectRow = lambda *_: None) -> Rows:
        limit, needed = self.max_row_bytes, self.converter.needed
        return read_rows(part.path, limit=limit, reject=reject, needed=needed, rows=part.rows)

    def files(self) -> list[Path]:
        """The files that ``path`` matches, each once, sorted; links keep their names, which say how a file is read.

        Raises:
            SftdivError: If it matches none, or one of an unknown kind.
        """
        is_list = isinstance(self.path, Sequence) and not isinstance(self.path, str)
        paths = self.path if is_list else [self.path]  # a name of digits, such as 2024, arrives as a number
        files = {file.resolve(): file.absolute() for path in paths for file in data_files(str(path))}
        return sorted(files.values())


def _identity(path: Path) -> str:
    """A file's digest; tab-separated values are read otherwise than the same bytes of another name."""
    stat = path.stat()
    digest = _digest(path, stat.st_size, stat.st_mtime_ns)
    return f"{digest}:tabs" if kind_of_file(path) == ".tsv" else digest


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    """A file's digest, computed once per process while size and time stay the same: a sweep needs it for every cell."""
    return file_digest(path)
