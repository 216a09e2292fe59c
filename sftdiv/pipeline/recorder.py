"""Collects the result row of a cell and times its stages; writes ``result.json`` or ``failure.json``.

A successful run writes its row last. Any other end (an error, Ctrl-C, ``SystemExit``) writes the stage, the
message and the traceback.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from sftdiv.protocols import Tracker
from sftdiv.storage.cell import (
    DAMAGED_RESULT,
    FAILURE,
    RESULT,
    RUNNING,
    Cell,
    flatten,
    mark_running,
    write_failure,
    write_result,
)
from sftdiv.storage.folders import disk_errors_explained
from sftdiv.training.resources.available_memory import peak_memory

log = logging.getLogger(__name__)


class Recorder:
    """Collects the row of one cell; a context manager."""

    def __init__(self, cell: Cell, tracker: Tracker) -> None:
        self.cell = cell
        self.tracker = tracker
        self.row: dict[str, Any] = {}
        self._stage = "start"

    def add(self, values: Mapping[str, Any], prefix: str = "") -> None:
        """Add values to the row; nested ones get dotted keys."""
        self.row |= flatten(values, prefix)

    @property
    def is_repair(self) -> bool:
        """Whether the cell was finished before, and a file of it was found damaged."""
        return (self.cell.folder / DAMAGED_RESULT).exists()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage as ``time.NAME`` in seconds; ``failure.json`` names it if it fails."""
        self._stage, started = name, time.perf_counter()
        mark_running(self.cell.folder, name, os.getpid())
        log.info("%s: %s", self.cell.name, name)
        with disk_errors_explained(self.cell.folder):
            yield
        self.row[f"time.{name}"] = time.perf_counter() - started

    def __enter__(self) -> Recorder:
        (self.cell.folder / FAILURE).unlink(missing_ok=True)
        if (self.cell.folder / RESULT).exists():  # of a damaged cell; while this run lasts, the cell is not finished
            (self.cell.folder / RESULT).replace(self.cell.folder / DAMAGED_RESULT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.row["memory.process_peak_gib"] = peak_memory() / 2**30
            write_result(self.cell.folder, self.row)
            for name in (RUNNING, DAMAGED_RESULT):
                (self.cell.folder / name).unlink(missing_ok=True)
            self.tracker.finish(self.row, 0)
            return
        text = "".join(traceback.format_exception(kind, error, trace))
        try:
            write_failure(self.cell.folder, self._stage, f"{kind.__name__}: {error}" if kind else "", text)
        except OSError as unwritten:  # a full disk, on which the first error may rest too; that one is raised
            log.warning("%s failed, and failure.json cannot be written: %s", self.cell.name, unwritten)
        self.tracker.finish({"failed_stage": self._stage}, 1)
