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
from sftdiv.tracking.session import Destination

log = logging.getLogger(__name__)


def mark_sent(
    folder: Path, run: str, row: Mapping[str, Any], *, mode: str, destination: Destination | None = None
) -> None:
    """Record that W&B has a row.

    Args:
        folder: The study's folder.
        run: Id of the W&B run.
        row: The result row.
        mode: ``online`` or ``offline``; any other mode, such as ``disabled``, sends nothing and is not recorded.
        destination: Project and entity; None where they are unknown.
    """
    if mode in ("online", "offline"):
        write_sealed(_marker(folder, run), {"row": row_digest(row), "mode": mode, **_place(destination)})


def sent_as(folder: Path, run: str, row: Mapping[str, Any], destination: Destination | None = None) -> str | None:
    """``online`` or ``offline``, as exactly this row was sent; None where it was not.

    Args:
        folder: The study's folder.
        run: Id of the W&B run.
        row: The result row.
        destination: Project and entity; a row that was sent online to others was not sent to these. None for any.
    """
    path = _marker(folder, run)
    if not path.exists():
        return None
    try:
        marker = read_sealed(path, way_out="the row is sent again")
    except DamagedFileError as error:
        log.warning("%s", error)
        return None
    is_elsewhere = marker["mode"] == "online" and any(
        marker.get(key, value) != value for key, value in _place(destination).items()
    )
    return marker["mode"] if marker["row"] == row_digest(row) and not is_elsewhere else None


def row_digest(row: Mapping[str, Any]) -> str:
    """Digest of a row, equal before it is written and after it is read back."""
    return content_hash(finite(row))


def _place(destination: Destination | None) -> dict[str, str | None]:
    return {} if destination is None else {"project": destination.project, "entity": destination.entity}


def _marker(folder: Path, run: str) -> Path:
    return folder / "wandb" / "sent" / f"{run}.json"
