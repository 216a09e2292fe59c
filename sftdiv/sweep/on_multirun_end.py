"""The end of every multirun: what failed and how to go on, then what the study says.

In: the plan that the sweep wrote, and the cells' folders. Out: the slope table in the terminal, the
report and its tables in the study's folder, the study's summary in W&B; exit code 1 where a cell
failed. Hydra turns an exception in a callback into a warning, so the exit code is set by
``sys.exit``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from sftdiv.config.build import tracking_options
from sftdiv.protocols import Tracking
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, stage_of
from sftdiv.sweep.plan import PlannedCell, load_plan


class StudyEnd(Callback):  # type: ignore[misc]  # Hydra is untyped here
    """Told by Hydra once every cell of a multirun was launched."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Report failures, analyse the study, and set the exit code."""
        console = Console(stderr=True)
        try:
            failed = _end(config, console)
        except Exception:  # Hydra would make a warning of it, and the command would seem to have succeeded
            console.print_exception()
            failed = True
        if failed:
            sys.exit(1)


def _end(config: DictConfig, console: Console) -> bool:
    """Analyse what is done and tell what is not; gives whether anything is not."""
    study = Path(config.paths.multirun).expanduser().absolute() / config.study
    command, cells = load_plan(study)
    unfinished = [cell for cell in cells if not cell.done]
    if len(unfinished) < len(cells):
        _analyse(study, tracking_options(config), console)
    if unfinished:
        _tell(unfinished, len(cells), command, console)
    return bool(unfinished)


def _analyse(study: Path, options: Sequence[Tracking], console: Console) -> None:
    """Write, show and track what the finished cells say; too little to say anything is told, and is no failure of the sweep."""
    from sftdiv.analyze import analyze_study, show_analysis
    from sftdiv.sweep.study_summary import track_study
    from sftdiv.tracking.session import sync_line

    try:
        analysis = analyze_study(study)
    except SftdivError as error:
        console.print(f"no analysis: {error}", markup=False, highlight=False)
        return
    show_analysis(analysis, console)
    track_study(options, analysis)
    if options and (line := sync_line(study)):
        console.print(f"W&B was offline; to send it all: {line}", markup=False, highlight=False, soft_wrap=True)


def _why(cell: PlannedCell) -> tuple[str, str]:
    """Stage and message of a cell that is not done."""
    if cell.failed:
        failure = json.loads((cell.folder / FAILURE).read_text(encoding="utf-8"))
        return failure["stage"], failure["message"]
    stage = stage_of(cell.folder)
    return (
        (stage, "it was killed together with the process that launched it")
        if stage
        else ("not started", "the sweep was stopped before")
    )


def _tell(unfinished: list[PlannedCell], total: int, command: str, console: Console) -> None:
    """The table of what failed, and how to resume."""
    table = Table(title=f"{len(unfinished):,} of {total:,} cells are not done", title_justify="left")
    for name in ("cell", "stage", "message"):
        table.add_column(name, overflow="fold")
    for cell in unfinished:
        table.add_row(cell.folder.name, *_why(cell))
    console.print(table)
    console.print(
        "Tracebacks: failure.json and log.txt in each cell's folder. The same command goes on:", highlight=False
    )
    console.print(f"  {command}", highlight=False, soft_wrap=True)
