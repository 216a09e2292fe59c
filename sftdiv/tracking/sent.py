"""Record of the rows that W&B already has: ``wandb/sent/ID.json`` holds a row's digest and how it was sent.

There is one file per run, so that cells that run at the same time never write to the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.storage.file_digests import DamagedFileError, read_sealed, write_sealed
from sftdiv.storage.files import finite
from sftdiv.storage.hashing import content_hash

log = logging.getLogger(__name__)


def mark_sent(folder: Path, run: str, row: Mapping[str, Any], *, mode: str) -> None:
    """Record that W&B has a row.

    Args:
        folder: The study's folder.
        run: Id of the W&B run.
        row: The result row.
        mode: ``online`` or ``offline``; any other mode, such as ``disabled``, sends nothing and is not recorded.
    """
    if mode in ("online", "offline"):
        write_sealed(_marker(folder, run), {"row": row_digest(row), "mode": mode})


def sent_as(folder: Path, run: str, row: Mapping[str, Any]) -> str | None:
    """``online`` or ``offline``, as exactly this row was sent; None where it was not."""
    path = _marker(folder, run)
    if not path.exists():
        return None
    try:
        marker = read_sealed(path, way_out="the row is sent again")
    except DamagedFileError as error:
        log.warning("%s", error)
        return None
    return marker["mode"] if marker["row"] == row_digest(row) else None


def row_digest(row: Mapping[str, Any]) -> str:
    """Digest of a row, equal before it is written and after it is read back."""
    return content_hash(finite(row))


def _marker(folder: Path, run: str) -> Path:
    return folder / "wandb" / "sent" / f"{run}.json"
