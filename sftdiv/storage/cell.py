"""A cell: the folder of one run, named by what decides its result, and the files that say how far it came.

``result.json`` (one flat row, written last: its presence means finished), ``failure.json``, and
``.running.json`` in between. The same specification gives the same folder on every machine, so that a
command given again finds what it did before; see `config.spec.RunSpec.cell`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_json

RESULT, FAILURE, RUNNING = "result.json", "failure.json", ".running.json"


@dataclass(frozen=True)
class Cell:
    """The folder of one run.

    Attributes:
        study: Name of the study.
        name: Name of the cell, equal to that of its folder.
        folder: Its folder.
        hash: Digest of what the cells of one ladder share and their names do not say.
    """

    study: str
    name: str
    folder: Path
    hash: str

    def result(self) -> dict[str, Any] | None:
        """The finished row, or None while there is none."""
        path = self.folder / RESULT
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_failure(folder: Path, stage: str, message: str, trace: str = "") -> None:
    """Write ``failure.json`` and remove the mark that the cell is running."""
    write_json(folder / FAILURE, {"stage": stage, "message": message, "traceback": trace})
    (folder / RUNNING).unlink(missing_ok=True)


def stage_of(folder: Path) -> str | None:
    """The stage that a cell is in, or was in when it was killed; None where it neither runs nor was killed."""
    try:
        return str(json.loads((folder / RUNNING).read_text(encoding="utf-8"))["stage"])
    except FileNotFoundError:
        return None


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
