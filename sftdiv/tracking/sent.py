"""Which rows W&B already has: one small file a run, so that cells that run at once do not write to the same one.

In: a study's folder, a run's id, a row. Out: ``wandb/sent/ID.json`` with the row's digest and
whether it went online or offline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import content_hash
from sftdiv.tracking.contents import finite


def mark_sent(folder: Path, run: str, row: Mapping[str, Any], *, mode: str) -> None:
    """Write down that W&B has this row; ``mode`` is ``online`` or ``offline`` (any other, such as ``disabled``, sends nothing)."""
    if mode in ("online", "offline"):
        write_json(_marker(folder, run), {"row": row_digest(row), "mode": mode})


def sent_as(folder: Path, run: str, row: Mapping[str, Any]) -> str | None:
    """``online`` or ``offline``, as this very row was sent; None where it was not."""
    path = _marker(folder, run)
    if not path.exists():
        return None
    marker = json.loads(path.read_text(encoding="utf-8"))
    return marker["mode"] if marker["row"] == row_digest(row) else None


def row_digest(row: Mapping[str, Any]) -> str:
    """Digest of a row, the same before it is written and after it is read back."""
    return content_hash(finite(row))


def _marker(folder: Path, run: str) -> Path:
    return folder / "wandb" / "sent" / f"{run}.json"
