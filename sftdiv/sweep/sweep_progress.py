"""Progress of a running sweep: numbers of finished, running and failed cells, and the remaining time.

It is a live table in a terminal, otherwise one line per completed cell. All states are read from the cells'
folders, so that progress works for any launcher and for cells on other machines with a shared file system.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sftdiv.reporting.format import format_duration
from sftdiv.reporting.terminal import literal
from sftdiv.storage.cell import RESULT, RUNNING, read_row, stage_of
from sftdiv.sweep.plan import PlannedCell

POLL_SECONDS = 1.0
SHOWN_CELLS = 8  # maximum number of running cells in the table


class SweepProgress:
    """Polls the folders of a sweep in a separate thread; a context manager around the launch."""

    def __init__(self, study: str, cells: Sequence[PlannedCell], console: Console) -> None:
        self.study = study
        self.console = console
        self.total = len(cells)
        self._unfinished = {cell for cell in cells if not (cell.done or cell.failed)}
        self._done_before = self._done = sum(cell.done for cell in cells)
        self._failed = sum(cell.failed for cell in cells)
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> SweepProgress:
        self.console.print(
            f"{self.study}: {self.total:,} cells, {self._done:,} already finished, {len(self._unfinished):,} to run",
            markup=False,
        )
        if self._live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.poll()
        if self._live:
            self._live.stop()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self.poll()

    def poll(self) -> None:
        """Read the folders once and print the cells that ended."""
        ended = [cell for cell in self._unfinished if cell.done or cell.failed]
        for cell in sorted(ended, key=lambda cell: cell.folder):
            self._unfinished.remove(cell)
            self._done += cell.done
            self._failed += cell.failed
            line = f"{self._summary()} · {cell.folder.name}: {_outcome(cell)}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if self._live:
            self._live.update(self._table(), refresh=True)

    def _summary(self) -> str:
        failed = f", {self._failed:,} failed" if self._failed else ""
        return f"{self._done:,} of {self.total:,} finished{failed}{self._time_left()}"

    def _time_left(self) -> str:
        """Remaining time at the average pace so far; empty until the first cell has ended."""
        ended = self._done - self._done_before + self._failed
        if not ended or not self._unfinished:
            return ""
        seconds = (time.monotonic() - self._started) / ended * len(self._unfinished)
        return f", {format_duration(seconds)} left"

    def _table(self) -> RenderableType:
        running = sorted((cell for cell in self._unfinished if cell.running), key=lambda cell: cell.folder)
        table = Table.grid(padding=(0, 2))
        for cell in running[:SHOWN_CELLS]:
            table.add_row("", literal(cell.folder.name), literal(_stage(cell)))
        if len(running) > SHOWN_CELLS:
            table.add_row("", f"and {len(running) - SHOWN_CELLS} more", "")
        head = Table.grid()  # a bare bar would not end its line
        head.add_row(Text(f"{self.study}: {self._summary()}, {len(running)} running", style="bold"))
        head.add_row(ProgressBar(self.total, self._done + self._failed, width=60))
        return Group(head, table)


def _stage(cell: PlannedCell) -> str:
    """Stage of a running cell and its duration; empty if the cell ended in the meantime."""
    try:
        return f"{stage_of(cell.folder)} {format_duration(time.time() - (cell.folder / RUNNING).stat().st_mtime)}"
    except FileNotFoundError:
        return ""


def _outcome(cell: PlannedCell) -> str:
    """Primary score and duration of a finished cell, or ``failed``."""
    if cell.failed:
        return "failed"
    row = read_row(cell.folder / RESULT)
    duration = format_duration(sum(value for key, value in row.items() if key.startswith("time.")))
    score = row.get(f"score.{row['primary']}")
    return duration if score is None else f"{row['primary']} {score:.4g} ({duration})"
