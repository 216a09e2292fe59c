"""Reads, normalises and hashes the rows of a corpus, shard by shard, and joins the shards in their order.

Of each shard stand beside each other: its examples as files of `external_sort`, the pieces that cannot be read
(``.rejected``), and, written last, a report. A reader without the method ``shards`` is one shard. The joined corpus is
that of a reading in one go: the first bad row is the first in the order of the files, and nothing follows in a file
after the place where it is damaged, although other processes have read it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from sftdiv.compute.local_shards import LOCAL
from sftdiv.data.bad_rows import LONGEST, REST, Rejections
from sftdiv.data.conversion import Conversion, Reject
from sftdiv.data.corpus_preview import PREVIEWED, Turns, cut_turns
from sftdiv.data.example_table import example_table
from sftdiv.data.external_sort import Spill, write_parts
from sftdiv.data.file_shards import FileShard
from sftdiv.data.formats import Converter
from sftdiv.protocols import Reader, ShardExecutor
from sftdiv.records import Example, SftdivError
from sftdiv.storage.files import writing
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.progress_bar import progress_bar

_BATCH = 10_000  # rows


@runtime_checkable
class ShardedReader(Reader, Protocol):
    """A reader whose files can be read by several processes; see `files_reader`."""

    converter: Converter

    def shards(self) -> Sequence[FileShard]: ...  # noqa: D102
    def read(self, shard: FileShard, conversion: Conversion, reject: Reject) -> Iterator[Example]: ...  # noqa: D102


class _FirstBadRowError(SftdivError):
    """Ends a shard at its first bad row; the joined corpus names the first of all."""


@dataclass(frozen=True)
class ReadStep:
    """Reads one shard; see `sftdiv.protocols.ShardStep`.

    Attributes:
        reader: Source of the examples.
        shards: Shards of the reader; None for a reader without shards.
        stops: Whether the first bad row ends a shard.
    """

    name: ClassVar[str] = "reading"
    uses_all_cores: ClassVar[bool] = False

    reader: Any
    shards: Sequence[FileShard] | None
    stops: bool

    def write(self, shard: int, path: Path) -> None:
        """Write the examples and the bad rows of a shard beside ``path``, and the report into it."""
        with _rejected_file(path.parent, shard, stops=self.stops) as reject:
            conversion = None if self.shards is None else Conversion(self.reader.converter, reject)
            if self.shards is None:
                examples = self.reader.examples(reject)
            else:
                examples = self.reader.read(self.shards[shard], conversion, reject)
            report = _write_examples(examples, path.parent, shard)
        report["seen"] = None if conversion is None else conversion.seen()
        path.write_text(json.dumps(report), encoding="utf-8")


def _write_examples(examples: Iterator[Example], folder: Path, shard: int) -> dict[str, Any]:
    """Write examples, up to the first bad row if that ends the shard; returns the report."""
    tables: list[tuple[str, int]] = []
    first: list[Turns] = []
    unread = Counter[str]()
    with progress_bar("reading", unit="rows") as advance, suppress(_FirstBadRowError):
        while batch := list(islice(examples, _BATCH)):
            name = f"{shard:06d}-{len(tables):04d}.arrow"
            with writing(folder / name, durable=False) as temporary:
                write_parts(example_table(batch), temporary)
            tables.append((name, len(batch)))
            first += [cut_turns(example.messages) for example in batch[: PREVIEWED - len(first)]]
            unread.update(name for example in batch for name in example.unread)
            advance(len(batch))
    return {"tables": tables, "first": first, "unread": unread}


def read_shards(
    reader: Reader, folder: Path, spill: Spill, rejections: Rejections, *, compute: ShardExecutor
) -> tuple[list[Turns], Counter[str]]:
    """Read a corpus into the spill.

    Args:
        reader: Source of the examples.
        folder: Folder of the shards, which must last as long as the spill.
        spill: Receives the examples.
        rejections: Receives the bad rows.
        compute: Reads the shards; those of a reader without shards are read in this process.

    Returns:
        The turns of the first examples, cut for a preview, and the number of examples by unread column.

    Raises:
        SftdivError: A row is bad, and bad rows are errors; a setting names a column that no row has.
    """
    shards: Sequence[FileShard] | None = None
    conversion: Conversion | None = None
    if isinstance(reader, ShardedReader):
        shards, conversion = reader.shards(), Conversion(reader.converter, rejections)
        folder = folder / _name_of(shards)
    step = ReadStep(reader, shards, stops=rejections.on_bad_row == "error")
    paths = (LOCAL if shards is None else compute).run(step, 1 if shards is None else len(shards), folder)
    first: list[Turns] = []
    unread, damaged = Counter[str](), set[str]()
    for shard, path in enumerate(paths):
        if shards is not None and str(shards[shard][0].path) in damaged:
            continue
        report = json.loads(path.read_text(encoding="utf-8"))
        for bad in _rejected(folder, shard):
            rejections(*bad)
            if bad[2].startswith(REST):
                damaged.add(bad[0])
        first += report["first"][: PREVIEWED - len(first)]
        unread.update(report["unread"])
        if conversion is not None:
            conversion.add_seen(report["seen"])
        for name, rows in report["tables"]:
            spill.add(folder / name, rows)
    if conversion is not None:
        conversion.check_columns()
    return first, unread


def _name_of(shards: Sequence[FileShard]) -> str:
    """A folder name for shards: files that were renamed since a killed call are cut into other ones."""
    return content_hash([[str(part.path), part.rows and [part.rows.start, part.rows.stop]] for part in chain(*shards)])


@contextmanager
def _rejected_file(folder: Path, shard: int, *, stops: bool) -> Iterator[Reject]:
    """The ``reject`` function of a shard, which writes into the file of its bad rows."""
    with (
        writing(_rejected_path(folder, shard), durable=False) as path,
        path.open("w", encoding="ascii") as stream,
    ):

        def reject(file: str, line: int, reason: str, text: str) -> None:
            stream.write(json.dumps([file, line, reason, text[:LONGEST]]) + "\n")
            if stops:
                raise _FirstBadRowError(reason)

        yield reject


def _rejected_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:06d}.rejected"


def _rejected(folder: Path, shard: int) -> Iterator[list[Any]]:
    """File, line, reason and text of the bad rows of a shard."""
    with _rejected_path(folder, shard).open(encoding="ascii") as stream:
        yield from map(json.loads, stream)
