"""Plans a sweep before any cell runs: determines the folder of each cell and rejects those with invalid settings.

One list of overrides per cell becomes planned cells with distinct folders. ``sweep.json`` in the study's
folder lists them, so that the end of the sweep and other programs know which cells belong to it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sftdiv.config.run_request import RunRequest
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, RUNNING, is_finished, write_failure
from sftdiv.storage.file_digests import read_sealed, write_sealed
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.redaction import redacted_overrides

PLAN = "sweep.json"
SHOWN_REASONS = 3  # of cells that are refused
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
) -> tuple[list[PlannedCell], list[RunRequest]]:
    """Build the request of every cell and determine its folder.

    A cell with invalid settings gets a folder with ``failure.json`` and is not run. Such folders of earlier plans are
    removed, since a repaired command has other cells.

    Args:
        combinations: One list of overrides per cell.
        build: Composes and builds the request of a cell.
        study: Folder of the study.

    Returns:
        The distinct cells in the order of the combinations, and the requests of those that are not refused.

    Raises:
        SftdivError: Every cell is refused; nothing is written.
    """
    _remove_refused(study)
    attempt = _Attempts(build)
    probes = {str(attempt(overrides)) for overrides in _covering(combinations)}
    if len(probes) == 1 and isinstance(attempt(combinations[0]), SftdivError):
        raise SftdivError(f"no cell of the sweep can run ({len(combinations):,} cells): {probes.pop()}")
    planned: dict[Path, PlannedCell] = {}
    requests: dict[Path, RunRequest] = {}
    refused: dict[Path, str] = {}
    for overrides in combinations:
        request = attempt(overrides)
        if isinstance(request, SftdivError):
            folder = study / f"{REFUSED}{content_hash(sorted(overrides), length=6)}"
            refused[folder] = str(request)
        else:
            folder = request.sweep_cell().folder
            requests.setdefault(folder, request)
        planned.setdefault(folder, PlannedCell(tuple(overrides), folder))
    if planned and len(refused) == len(planned):
        raise SftdivError(_all_refused(list(refused.values())))
    for folder, message in refused.items():
        settings = " ".join(redacted_overrides(planned[folder].overrides))
        write_failure(folder, "settings", f"{message} ({settings})")
    return list(planned.values()), list(requests.values())


class _Attempts:
    """Builds the request of each cell once, or gives the error that refuses it."""

    def __init__(self, build: Callable[[Sequence[str]], RunRequest]) -> None:
        self._build = build
        self._known: dict[tuple[str, ...], RunRequest | SftdivError] = {}

    def __call__(self, overrides: Sequence[str]) -> RunRequest | SftdivError:
        key = tuple(overrides)
        if key not in self._known:
            try:
                request = self._build(overrides)
                request.sweep_cell()
                self._known[key] = request
            except SftdivError as error:
                self._known[key] = error
        return self._known[key]


def _covering(combinations: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The first and the last cell with each swept value: what refuses all of these alike is taken to refuse every cell.

    Both ends, since a reason may go away only where several settings have other values than in the first cell.
    """
    for ordered in (combinations, combinations[::-1]):
        seen: set[str] = set()
        for overrides in ordered:
            if not seen.issuperset(overrides):
                seen.update(overrides)
                yield overrides


def _remove_refused(study: Path) -> None:
    """Remove the folders of cells that earlier plans refused; no cell has run in them."""
    for folder in study.glob(f"{REFUSED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _all_refused(messages: Sequence[str]) -> str:
    """One message for a sweep of which no cell can run, each reason once."""
    reasons = Counter(messages).most_common(SHOWN_REASONS + 1)
    if len(reasons) == 1:
        return f"no cell of the sweep can run ({len(messages):,} cells): {messages[0]}"
    shown = "; ".join(f"{count:,} cells: {reason}" for reason, count in reasons[:SHOWN_REASONS])
    return f"no cell of the sweep can run: {shown}{'; and others' if len(reasons) > SHOWN_REASONS else ''}"


def save_plan(cells: Sequence[PlannedCell], study: Path, command: str) -> None:
    """Write the plan into the study's folder, without what may be a secret."""
    overrides_by_name = {cell.folder.name: redacted_overrides(cell.overrides) for cell in cells}
    write_sealed(study / PLAN, {"command": command, "cells": overrides_by_name})


def load_plan(study: Path) -> tuple[str, list[PlannedCell]]:
    """The command and the cells of the study's last sweep."""
    plan = read_sealed(study / PLAN, way_out="the sweep's command writes it again")
    return plan["command"], [PlannedCell(tuple(overrides), study / name) for name, overrides in plan["cells"].items()]
