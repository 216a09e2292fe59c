"""A cell: the folder of one run, named by what decides its result, and its state files.

``result.json`` is one flat row, written last: its presence means that the run is finished.
``failure.json`` records a failure, ``.running.json`` the current stage. The same specification gives the
same folder on every machine, so that a repeated command finds its earlier results; see
`config.spec.RunSpec.cell`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_json
from sftdiv.storage.folders import check_names
from sftdiv.storage.redaction import redacted

RESULT, FAILURE, RUNNING = "result.json", "failure.json", ".running.json"


@dataclass(frozen=True)
class Cell:
    """The folder of one run.

    Attributes:
        study: Name of the study.
        name: Name of the cell and of its folder.
        folder: Its folder.
        hash: Digest of the settings that the cells of one ladder share and their names omit.
    """

    study: str
    name: str
    folder: Path
    hash: str

    def result(self) -> dict[str, Any] | None:
        """The result row; None until the run is finished."""
        path = self.folder / RESULT
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def check_cell_name(name: str) -> None:
    """Refuse a name of a cell that is no plain name of a folder: it stands in paths, pages and commands.

    Raises:
        SftdivError: With the settings that names are made of.
    """
    if not re.fullmatch(r"\w[\w.+=@,-]*", name):
        raise SftdivError(
            f"the cell would be named {name!r}: strategy.name, strategy.side and model.name may hold letters, digits "
            "and _ . + = @ , - only"
        )
    check_names("the cell's name, made of strategy.name, model.name and others", Path(name))


def write_failure(folder: Path, stage: str, message: str, trace: str = "") -> None:
    """Write ``failure.json``, without what may be a secret, and remove the mark that the cell is running."""
    write_json(folder / FAILURE, {"stage": stage, "message": redacted(message), "traceback": redacted(trace)})
    (folder / RUNNING).unlink(missing_ok=True)


def stage_of(folder: Path) -> str | None:
    """Current stage of a running cell, or last stage of a killed one; None otherwise."""
    try:
        return str(json.loads((folder / RUNNING).read_text(encoding="utf-8"))["stage"])
    except FileNotFoundError:
        return None


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings flattened to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
