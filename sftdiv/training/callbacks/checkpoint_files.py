"""Files of a checkpoint: which one is the newest that is complete, undamaged and of this training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sftdiv.storage.file_digests import DamagedFileError, read_sealed
from sftdiv.storage.hashing import file_digest

log = logging.getLogger(__name__)
PROGRESS = "progress.json"


def latest_checkpoint(folder: Path, plan: str) -> Path | None:
    """The newest complete and undamaged checkpoint of the plan in a folder, or None."""
    complete = [path for path in folder.glob("step-*") if (path / PROGRESS).exists()]
    for path in sorted(complete, key=lambda path: -int(path.name.removeprefix("step-"))):
        damage = _damage(path)
        if damage is None and read_progress(path)["plan"] == plan:
            return path
        if damage is not None:
            log.warning("%s is not resumed from: %s", path, damage)
    return None


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Content of ``progress.json``: plan, done, losses, validation, scaler, values, files."""
    return read_sealed(checkpoint / PROGRESS, way_out="the training does not resume from it")


def _damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files; None where they are as they were written."""
    try:
        progress = read_progress(checkpoint)
        files = dict(progress["files"])
        if missing := {"plan", "done", "losses", "validation", "scaler", "values"} - progress.keys():
            return f"{PROGRESS} lacks {', '.join(sorted(missing))}"
    except (DamagedFileError, KeyError, TypeError, ValueError) as error:
        return f"{PROGRESS} is damaged, or of another version: {error!r}"
    current = digests(checkpoint)
    changed = sorted(name for name in files.keys() | current.keys() if files.get(name) != current.get(name))
    return f"{', '.join(changed)} changed since it was written" if changed else None


def digests(checkpoint: Path) -> dict[str, str]:
    """Digest of each file but ``progress.json``, by name."""
    return {path.name: file_digest(path) for path in sorted(checkpoint.iterdir()) if path.name != PROGRESS}
