"""The map from raw to final tags as a file that can be read, edited and passed as ``tag_map``.

The file is CSV with the columns ``raw_tag,tag,texts``, or JSON, the most common raw tags first. An
edited file is applied as it is; no step of the normalisation runs in addition.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically
from sftdiv.text.csv_cells import csv_line, from_csv_cell

TagMap = Mapping[str, str | None]
COLUMNS = ("raw_tag", "tag", "texts")
FORMATS = 'expected: CSV with the columns raw_tag,tag or JSON such as {"maths": "mathematics", "misc": null}'


def save_tag_map(tag_map: TagMap, counts: Mapping[str, int], path: Path) -> None:
    """Write the map to a ``.csv`` or ``.json`` file; an empty ``tag`` (null in JSON) is a dropped one.

    Args:
        tag_map: Final tag of each raw tag (``Units.record["tag_map"]``).
        counts: Number of distinct texts with each raw tag (``Units.record["tag_counts"]``).
        path: Destination.

    Raises:
        SftdivError: If the file name has another suffix.
    """
    entries = [(raw, final, counts.get(raw, 0)) for raw, final in tag_map.items()]
    entries.sort(key=lambda entry: (-entry[2], entry[0]))
    if _suffix(path) == ".json":
        by_tag = {raw: {"tag": final, "texts": count} for raw, final, count in entries}
        text = json.dumps(by_tag, ensure_ascii=False, indent=1)
    else:
        rows = [COLUMNS, *((raw, final or "", count) for raw, final, count in entries)]
        text = "".join(map(csv_line, rows))
    write_atomically(path, text)


def load_tag_map(path: Path) -> dict[str, str | None]:
    """Read a map: CSV with the columns ``raw_tag`` and ``tag``, or JSON of ``raw: final`` or ``raw: {"tag": final}``.

    Raises:
        SftdivError: If the file is missing or damaged, or a value is not a string.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets often write a byte-order mark
        entries = _from_json(text) if _suffix(path) == ".json" else _from_csv(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, csv.Error) as error:
        raise SftdivError(f"tag_map={str(path)!r} cannot be read: {error!r}; {FORMATS}") from error
    for raw, final in entries.items():
        if not isinstance(final, str | None):
            raise SftdivError(
                f"tag_map={str(path)!r} maps {raw!r}: {final!r}; "
                "a tag must be a string, and an empty one or null drops the raw tag"
            )
    return {raw: final.strip() or None if final else None for raw, final in entries.items()}


def _suffix(path: Path) -> str:
    """The suffix of the file name, if known."""
    if path.suffix not in {".csv", ".json"}:
        raise SftdivError(f"tag_map={str(path)!r} has the unknown suffix {path.suffix!r}. Known: .csv, .json")
    return path.suffix


def _from_json(text: str) -> dict[str, str | None]:
    """The map in a JSON text."""
    decoded = json.loads(text)
    if not isinstance(decoded, dict):
        raise KeyError("raw tags as keys")
    return {raw: final["tag"] if isinstance(final, dict) else final for raw, final in decoded.items()}


def _from_csv(text: str) -> dict[str, str | None]:
    """The map in a CSV text."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {from_csv_cell(row["raw_tag"]): row["tag"] and from_csv_cell(row["tag"]) for row in rows}
