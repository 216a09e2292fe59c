"""The origin of exported subsets, ``lineage.json``, and a check that exported files are unchanged.

The file has one record per export in the folder, with the SHA-256 of its data file, so that
``sha256sum`` can check it too. A record contains the ids of all examples, about 30 bytes each: with them
and the corpus the subset can be rebuilt without this package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from sftdiv.records import SftdivError
from sftdiv.release.export.write_export import LOCK
from sftdiv.storage.files import write_json

LINEAGE = "lineage.json"
LADDER_COLUMNS = ("k_min", "k_max", "k_asked", "k_reached", "pool", "universe")  # of a result row
LICENCE = "The examples keep the licences of the sources they come from (see sources); sftdiv claims no right in them."


def lineage(
    row: Mapping[str, Any],
    ids: Sequence[str],
    *,
    files: Mapping[str, str],
    format: str,
    sources: Mapping[str, int],
    created: str,
) -> dict[str, Any]:
    """The record of one export.

    Args:
        row: Result row of the cell. The columns of a ladder are optional: other selectors have none.
        ids: Ids of the examples, in the order of selection, which is that of the file.
        files: SHA-256 of each data file by its name; see `sha256`.
        format: Export format.
        sources: Number of examples of each source.
        created: Time, as ISO 8601 in UTC.
    """
    selection = {name: row[name] for name in ("strategy", "side", "level", "size", "seed")}
    ladder = {name: row[name] for name in LADDER_COLUMNS} if "k_max" in row else {}
    selector = _columns_below(row, "config.selection.selector.")
    counts = _columns_below(row, "corpus.count.")
    return {
        "format": format,
        "created": created,
        "examples": len(ids),
        "files": dict(files),
        "selection": {**selection, **{f"{step}_seed": row.get(f"seed.{step}") for step in ("ladder", "train")}},
        **({"selector": selector} if selector else {}),
        **({"ladder": ladder} if ladder else {}),
        "corpus": {"name": row["corpus"], "fingerprint": row["corpus_hash"], "counts": counts},
        "config_hash": row["config_hash"],
        "tokenizer": _columns_below(row, "tokenizer."),
        "versions": _columns_below(row, "versions."),
        "sources": dict(sources),
        "licence": LICENCE,
        "ids": list(ids),
    }


def _columns_below(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}


def free_name(folder: Path, name: str, *, format: str, ids: Sequence[str], given: bool) -> str:
    """A name under which an export replaces no other one in a folder; the same export again keeps its name.

    Args:
        folder: Folder of the export.
        name: Wanted name.
        format: Export format.
        ids: Ids of the examples, in order.
        given: Whether the user chose the name; otherwise an export in another format gets the format as a suffix.

    Raises:
        SftdivError: Another export has the name, with the way out.
    """
    path = folder / LINEAGE
    records = _read(path) if path.exists() else {}
    for candidate in (name,) if given else (name, f"{name}-{format}"):
        record = records.get(candidate)
        if record is None or (record["format"] == format and record["ids"] == list(ids)):
            return candidate
    record = records[name]
    raise SftdivError(
        f"{folder} holds another export named {name} ({record['examples']:,} examples as {record['format']}), which "
        f"this one would replace: choose export.name={name}-2 or another export.folder, or delete it there"
    )


def write_lineage(folder: Path, name: str, record: Mapping[str, Any]) -> Path:
    """Write the record of the export ``name`` into the folder's ``lineage.json``, beside those of other exports.

    Raises:
        SftdivError: If a ``lineage.json`` exists and cannot be read.
    """
    path = folder / LINEAGE
    with FileLock(folder / LOCK):
        records = _read(path) if path.exists() else {}
        write_json(path, records | {name: dict(record)})
    return path


def verify_export(folder: Path) -> list[Path]:
    """Check the files of every export in a folder against their SHA-256.

    Returns:
        The checked files.

    Raises:
        SftdivError: If there is no readable ``lineage.json``, or a file is missing or has changed.
    """
    path = folder / LINEAGE
    if not path.exists():
        raise SftdivError(f"{folder} holds no {LINEAGE}: it is not the folder of an export")
    expected = {folder / file: digest for record in _read(path).values() for file, digest in record["files"].items()}
    problems = []
    for file, digest in expected.items():
        if not file.exists():
            problems.append(f"{file.name} is missing")
        elif sha256(file) != digest:
            problems.append(f"{file.name} has changed")
    if problems:
        raise SftdivError(f"the export in {folder} is not what was written: {', '.join(problems)}. Export it again.")
    return list(expected)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise SftdivError(f"{path} cannot be read ({error}): remove it, or export into another folder") from error
