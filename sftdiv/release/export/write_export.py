"""Writes selected examples in a form that trainers load directly.

The result is one data file with its entries in LLaMA-Factory's ``dataset_info.json`` and in
``axolotl.yaml``; TRL takes the ``messages`` and ``parquet`` files by name. Rows stream from the memory map
to the file, a thousand at a time, under a temporary name. The JSON files contain the conversations and
nothing else, because trainers give other columns (``prompt``, ``text``) meanings of their own; the ids are
in ``lineage.json``, in the same order, and in the Parquet file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sftdiv.records import SftdivError
from sftdiv.release.export.entries import add_entries
from sftdiv.release.export.export_conversations import as_alpaca, as_messages, as_sharegpt, check_turns
from sftdiv.storage.files import writing
from sftdiv.storage.folders import check_names
from sftdiv.storage.validate import check_one_of, shown_value

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

FORMATS = ("messages", "sharegpt", "alpaca", "parquet")
LOCK = ".export.lock"
_BATCH = 1000  # rows
_DERIVED = ("instruction", "response", "group", "heldout")  # columns of a corpus that its messages imply
# Columns that TRL trains on instead of the messages.
_TRL_COLUMNS = ("prompt", "completion", "chosen", "rejected", "conversations", "input_ids", "labels")


def check_name(name: str) -> None:
    """Refuse a name that cannot name a file and a data set.

    Raises:
        SftdivError: With the name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SftdivError(
            f"export.name={shown_value(name)} must be letters, digits, '_', '-' and '.', since it names a file"
        )
    check_names("export.name", Path(f"{name}.lineage.json"))


def write_export(rows: datasets.Dataset, folder: Path, *, format: str, name: str) -> list[Path]:
    """Write rows as ``NAME.jsonl``, ``NAME.json`` (alpaca with history, see `_alpaca`) or ``NAME.parquet``.

    The entries for LLaMA-Factory and axolotl are written too. A file of that name is replaced (`lineage.free_name`
    finds a name that replaces no other export); exports under other names are added to the same folder.

    Args:
        rows: Rows of a `Corpus` table, at least one, in the order of the file.
        folder: Folder of the export; created if it is missing.
        format: One of `FORMATS`.
        name: Name of the file and of the data set in ``dataset_info.json``.

    Returns:
        The data file, ``dataset_info.json``, and ``axolotl.yaml`` if axolotl has a type for the file.

    Raises:
        SftdivError: If the format is unknown, the name is no file name, there is no row, or the format
            cannot hold a row or a carried column.
    """
    check_one_of("export.format", format, FORMATS)
    check_name(name)
    if not len(rows):
        raise SftdivError("there is nothing to export: the subset holds no example")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        data, keys = _WRITERS[format](rows, folder / name)
        return [data, *add_entries(folder, name, data.name, format=format, keys=keys)]


def suffix_of(rows: datasets.Dataset, format: str) -> str:
    """The suffix of the data file that `write_export` writes.

    Raises:
        SftdivError: If the format is unknown, or cannot hold a row.
    """
    check_one_of("export.format", format, FORMATS)
    if format == "parquet":
        return ".parquet"
    return ".json" if format == "alpaca" and _alpaca_keys(rows)[1] else ".jsonl"


def _messages(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    return _write_json(rows, path, lambda messages, _: as_messages(messages))


def _sharegpt(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    def convert(messages: Any, name: str) -> dict[str, Any]:
        check_turns(messages, name, format="sharegpt")
        return as_sharegpt(messages)

    return _write_json(rows, path, convert)


def _alpaca(rows: datasets.Dataset, path: Path) -> tuple[Path, list[str]]:
    """With history a JSON array: `datasets` infers types of JSON lines from 10 MB, whose histories may all be empty."""
    system, history = _alpaca_keys(rows)
    convert = partial(as_alpaca, system=system, history=history)
    return _write_json(rows, path, lambda messages, _: convert(messages), array=history)


def _alpaca_keys(rows: datasets.Dataset) -> tuple[bool, bool]:
    """Whether any conversation has a system prompt, and whether any has earlier turns."""
    system = history = False
    for messages, name in _conversations(rows):
        check_turns(messages, name, format="alpaca")
        system |= messages[0]["role"] == "system"
        history |= len(messages) > 3 or (len(messages) > 2 and messages[0]["role"] != "system")
    return system, history


def _write_json(
    rows: datasets.Dataset, path: Path, convert: Callable[[Any, str], dict[str, Any]], *, array: bool = False
) -> tuple[Path, list[str]]:
    """Write one object per line, as JSON lines or as an array; returns the path with its suffix, and the keys."""
    target = path.with_name(path.name + (".json" if array else ".jsonl"))
    keys: list[str] = []
    with writing(target) as temporary, temporary.open("w", encoding="utf-8") as stream:
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
    """Id, messages, source and carried columns, with 32-bit offsets, since older readers know no large types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if misleading := sorted(set(rows.column_names) & set(_TRL_COLUMNS)):
        raise SftdivError(
            f"export.format=parquet would carry {', '.join(misleading)} along, on which TRL would train instead of the "
            "messages: remove the column from corpus.columns, or take export.format=messages, which holds nothing else"
        )
    names = [name for name in rows.column_names if name not in _DERIVED]
    target = path.with_name(f"{path.name}.parquet")
    tables = rows.select_columns(names).with_format("arrow").iter(batch_size=_BATCH)
    schema = pa.schema([(field.name, _plain(field.type)) for field in rows.select_columns(names).features.arrow_schema])
    with writing(target) as temporary, pq.ParquetWriter(temporary, schema) as writer:
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


_WRITERS: dict[str, Callable[[datasets.Dataset, Path], tuple[Path, list[str]]]] = {
    "messages": _messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "parquet": _parquet,
}
