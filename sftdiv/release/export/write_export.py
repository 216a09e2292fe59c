"""Write the chosen examples in a form that trainers load as it is.

In: rows of a corpus in the order drawn. Out: one data file, its entry in LLaMA-Factory's
``dataset_info.json`` and its entry in ``axolotl.yaml``; TRL takes the ``messages`` and ``parquet``
files by name. Rows stream from the memory map to the file, a thousand at a time, under a temporary
name. The trade: the JSON files hold the conversations and nothing else, because trainers give
columns of other names (``prompt``, ``text``) meanings of their own; the ids are in
``lineage.json``, in the same order, and in the Parquet file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sftdiv.records import SftdivError
from sftdiv.release.export.entries import add_entries
from sftdiv.release.export.export_conversations import as_alpaca, as_messages, as_sharegpt, check_turns

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

FORMATS = ("messages", "sharegpt", "alpaca", "parquet")
LOCK = ".export.lock"
_BATCH = 1000  # rows
_TWICE = ("instruction", "response", "group", "heldout")  # columns of a corpus that its messages imply
_MEANINGFUL = (
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "conversations",
    "input_ids",
    "labels",
)  # TRL trains on these instead


def write_export(rows: datasets.Dataset, folder: Path, *, format: str, name: str) -> list[Path]:
    """Write rows as ``NAME.jsonl``, ``NAME.json`` (alpaca with history: see `_alpaca`) or ``NAME.parquet``, and what loads it.

    A second export under one name replaces the first; exports under other names are added to the same folder.

    Args:
        rows: Rows of a `Corpus` table, at least one, in the order in which they are written.
        folder: Made where it is missing.
        format: One of ``FORMATS``.
        name: What the file, and the data set in ``dataset_info.json``, is called.

    Returns:
        The data file, ``dataset_info.json``, and ``axolotl.yaml`` where axolotl has a type for the file.

    Raises:
        SftdivError: If the format or name is unknown or unfit, there is no row, or the format
            cannot hold a row or a carried column.
    """
    if format not in FORMATS:
        raise SftdivError(f"export.format={format!r} is unknown. Known: {', '.join(FORMATS)}")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SftdivError(
            f"export.name={name!r} must be letters, digits, '_', '-' and '.', since it names a file and a data set"
        )
    if not len(rows):
        raise SftdivError("there is nothing to export: the subset holds no example")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        data, keys = _WRITERS[format](rows, folder / name)
        return [data, *add_entries(folder, name, data.name, format=format, keys=keys)]


def _messages(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    return _write_json(rows, path, lambda messages, _: as_messages(messages))


def _sharegpt(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    def convert(messages: Any, name: str) -> dict[str, Any]:
        check_turns(messages, name, format="sharegpt")
        return as_sharegpt(messages)

    return _write_json(rows, path, convert)


def _alpaca(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    """With history a JSON array: of JSON lines `datasets` takes types from the first 10 MB, and a wrong one from empty histories."""
    system = history = False
    for messages, name in _conversations(rows):
        check_turns(messages, name, format="alpaca")
        system |= messages[0]["role"] == "system"
        history |= len(messages) > 3 or (len(messages) > 2 and messages[0]["role"] != "system")
    convert = partial(as_alpaca, system=system, history=history)
    return _write_json(rows, path, lambda messages, _: convert(messages), array=history)


def _write_json(
    rows: datasets.Dataset, path: Path, convert: Callable[[Any, str], dict[str, Any]], *, array: bool = False
) -> tuple[Path, list[str]]:
    """One object a line, as JSON lines or as an array; the path with its suffix and the objects' keys."""
    target = path.with_name(path.name + (".json" if array else ".jsonl"))
    keys: list[str] = []
    with _atomic(target) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for number, (messages, name) in enumerate(_conversations(rows)):
            row = convert(messages, name)
            keys = keys or list(row)
            stream.write((",\n" if number else "[\n") if array else "")
            stream.write(json.dumps(row, ensure_ascii=False) + ("" if array else "\n"))
        stream.write("\n]\n" if array else "")
    return target, keys


def _conversations(rows: datasets.Dataset) -> Iterator[tuple[Any, str]]:
    """Messages and id of each row."""
    for batch in rows.select_columns(["messages", "id"]).iter(batch_size=_BATCH):
        yield from zip(batch["messages"], batch["id"], strict=True)


def _parquet(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    """Id, messages, source and carried columns, with 32-bit offsets: older readers know no large types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if misleading := sorted(set(rows.column_names) & set(_MEANINGFUL)):
        raise SftdivError(
            f"export.format=parquet would carry {', '.join(misleading)} along, on which TRL would train instead of the messages: "
            "leave the column out of corpus.columns, or take export.format=messages, which holds the conversations alone"
        )
    names = [name for name in rows.column_names if name not in _TWICE]
    target = path.with_name(f"{path.name}.parquet")
    tables = rows.select_columns(names).with_format("arrow").iter(batch_size=_BATCH)
    schema = pa.schema([(field.name, _plain(field.type)) for field in rows.select_columns(names).features.arrow_schema])
    with _atomic(target) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for table in tables:
            writer.write_table(table.cast(schema))
    return target, names


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the same values with 32-bit offsets."""
    import pyarrow as pa

    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _plain(field.type)) for field in kind])
    return kind


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """A hidden path beside ``path`` that becomes it when all is written, and goes when something fails."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


_WRITERS: dict[str, Callable[[datasets.Dataset, Path], tuple[Path, list[str]]]] = {
    "messages": _messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "parquet": _parquet,
}
