"""The map from raw tags to final ones, as a file that can be read, edited by hand and given back.

In: a map (None: dropped) and how many texts hold each raw tag. Out: CSV with the columns
``raw_tag,tag,texts``, or JSON, the commonest raw tags first. The trade: a file that was edited is
taken at its word; no step of the normalisation is learnt beside it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically

TagMap = Mapping[str, str | None]
COLUMNS = ("raw_tag", "tag", "texts")


def save_tag_map(tag_map: TagMap, counts: Mapping[str, int], path: Path) -> None:
    """Write the map to a ``.csv`` or ``.json`` file; an empty ``tag`` (null in JSON) is a dropped one.

    Args:
        tag_map: Final tag of each raw tag (``Units.record["tag_map"]``).
        counts: Distinct texts that hold each raw tag (``Units.record["tag_counts"]``).
        path: Where to.

    Raises:
        SftdivError: If the file's name ends otherwise.
    """
    rows = sorted(
        ((raw, final, counts.get(raw, 0)) for raw, final in tag_map.items()), key=lambda row: (-row[2], row[0])
    )
    if _kind(path) == ".json":
        text = json.dumps(
            {raw: {"tag": final, "texts": count} for raw, final, count in rows}, ensure_ascii=False, indent=1
        )
    else:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([COLUMNS, *((raw, final or "", count) for raw, final, count in rows)])
        text = buffer.getvalue()
    write_atomically(path, text)


def load_tag_map(path: Path) -> dict[str, str | None]:
    """Read a map: CSV with the columns ``raw_tag`` and ``tag``, or JSON of ``raw: final`` or ``raw: {"tag": final}``.

    Raises:
        SftdivError: If the file is missing, damaged, or says something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets like to write a byte-order mark
        read = _from_json(text) if _kind(path) == ".json" else _from_csv(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, csv.Error) as error:
        raise SftdivError(f"tag_map={str(path)!r} cannot be read: {error!r}; {_FORMATS}") from error
    wrong = next((f"{raw!r}: {final!r}" for raw, final in read.items() if not isinstance(final, str | None)), None)
    if wrong is not None:
        raise SftdivError(
            f"tag_map={str(path)!r} maps {wrong}; a tag is text, and an empty one or null is a dropped one"
        )
    return {raw: final.strip() or None if final else None for raw, final in read.items()}


_FORMATS = 'it is CSV with the columns raw_tag,tag or JSON such as {"maths": "mathematics", "misc": null}'


def _kind(path: Path) -> str:
    if path.suffix not in {".csv", ".json"}:
        raise SftdivError(f"tag_map={str(path)!r} has an unknown ending {path.suffix!r}. Known: .csv, .json")
    return path.suffix


def _from_json(text: str) -> dict[str, str | None]:
    read = json.loads(text)
    if not isinstance(read, dict):
        raise KeyError("raw tags as keys")
    return {raw: final["tag"] if isinstance(final, dict) else final for raw, final in read.items()}


def _from_csv(text: str) -> dict[str, str | None]:
    return {row["raw_tag"]: row["tag"] for row in csv.DictReader(io.StringIO(text, newline=""))}
