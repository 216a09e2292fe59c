"""Plans a sweep before any cell runs: determines the folder of each cell and rejects those with invalid settings.

One list of overrides per cell becomes planned cells with distinct folders. ``sweep.json`` in the study's
folder lists them, so that the end of the sweep and other programs know which cells belong to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sftdiv.config.run_request import RunRequest
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, RUNNING, is_finished, write_failure
from sftdiv.storage.file_digests import read_sealed, write_sealed
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.redaction import redacted_overrides

PLAN = "sweep.json"
REFUSED = "refused-h"  # prefix of the folder of a cell whose settings are rejected


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a sweep; its state is read from its folder.

    Attributes:
        overrides: Overrides of the cell.
        folder: Folder of the cell.
    """

    overrides: tuple[str, ...]
    folder: Path

    @property
    def done(self) -> bool:
        """Whether its row is written and no file of the cell is damaged."""
        return is_finished(self.folder)

    @property
    def failed(self) -> bool:
        """Whether its last run failed."""
        return (self.folder / FAILURE).exists() and not self.done

    @property
    def running(self) -> bool:
        """Whether it is marked as running; this includes killed cells."""
        return (self.folder / RUNNING).exists() and not self.done and not self.failed

    @property
    def refused(self) -> bool:
        """Whether its settings were rejected."""
        return self.folder.name.startswith(REFUSED)


def plan_sweep(
    combinations: Sequence[Sequence[str]], build: Callable[[Sequence[str]], RunRequest], study: Path
) -> list[PlannedCell]:
    """Build the request of every cell and determine its folder.

    A cell with invalid settings immediately gets a folder with ``failure.json`` and is not run.

    Args:
        combinations: One list of overrides per cell.
        build: Composes and builds the request of a cell.
        study: Folder of the study.

    Returns:
        The distinct cells in the order of the combinations.
    """
    planned: dict[Path, PlannedCell] = {}
    for overrides in combinations:
        try:
            folder = build(overrides).sweep_cell().folder
        except SftdivError as error:
            folder = study / f"{REFUSED}{content_hash(sorted(overrides), length=6)}"
            write_failure(folder, "settings", f"{error} ({' '.join(redacted_overrides(overrides))})")
        planned.setdefault(folder, PlannedCell(tuple(overrides), folder))
    return list(planned.values())


def save_plan(cells: Sequence[PlannedCell], study: Path, command: str) -> None:
    """Write the plan into the study's folder, without what may be a secret."""
    overrides_by_name = {cell.folder.name: redacted_overrides(cell.overrides) for cell in cells}
    write_sealed(study / PLAN, {"command": command, "cells": overrides_by_name})


def load_plan(study: Path) -> tuple[str, list[PlannedCell]]:
    """The command and the cells of the study's last sweep."""
    plan = read_sealed(study / PLAN, way_out="the sweep's command writes it again")
    return plan["command"], [PlannedCell(tuple(overrides), study / name) for name, overrides in plan["cells"].items()]
