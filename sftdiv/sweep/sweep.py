"""Runs a sweep: plan its cells, launch the unfinished ones, show progress.

Every cell has a folder; ``sweep.json`` holds the plan. Finished cells are never launched: resuming a
finished sweep starts no process and does not import torch. `on_multirun_end` reports on the study afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sftdiv.config.run_request import RunRequest
from sftdiv.reporting.terminal import print_lines
from sftdiv.storage.cell import FAILURE
from sftdiv.storage.folders import check_folder
from sftdiv.storage.redaction import redacted
from sftdiv.sweep.cost import cost_lines
from sftdiv.sweep.job import STOP
from sftdiv.sweep.plan import plan_sweep, save_plan
from sftdiv.sweep.subprocess_cell import announce_sweep
from sftdiv.sweep.sweep_progress import SweepProgress


@dataclass(frozen=True, kw_only=True)
class SweepOrder:
    """A requested sweep.

    Attributes:
        study: Name of the study.
        root: Folder of all studies.
        command: Command that resumes the sweep.
        combinations: One list of overrides per cell.
        build: Composes and builds the request of a cell.
        check: Called with the number of cells before the launch; raises if they cannot run together.
        launch: Runs cells, given one list of overrides per cell.
        launcher: Settings of Hydra's launcher, for the statement of the cost.
    """

    study: str
    root: Path
    command: str
    combinations: Sequence[Sequence[str]]
    build: Callable[[Sequence[str]], RunRequest]
    check: Callable[[int], None]
    launch: Callable[[list[list[str]]], Any]
    launcher: Mapping[str, Any]


def run_sweep(order: SweepOrder) -> None:
    """Run the unfinished cells of a sweep."""
    console = Console(stderr=True)
    study = order.root / order.study
    check_folder("paths.multirun", order.root)
    with console.status("planning the cells"):
        cells, requests = plan_sweep(order.combinations, order.build, study)
    check_folder("paths.multirun", study)
    order.check(len(cells))
    save_plan(cells, study, order.command)
    (study / STOP).unlink(missing_ok=True)
    runnable = [cell for cell in cells if not cell.refused]
    for cell in runnable:
        (cell.folder / FAILURE).unlink(missing_ok=True)
    jobs = [list(cell.overrides) for cell in runnable if not cell.done]
    unfinished = [request for request in requests if request.sweep_cell().result() is None]
    print_lines(console, cost_lines(unfinished, order.launcher))
    logging.getLogger("hydra").setLevel(logging.WARNING)  # Hydra's launchers log every job before the first one starts
    announce_sweep()
    with SweepProgress(order.study, cells, console):
        if jobs:
            try:
                order.launch(jobs)
            except Exception as error:  # launchers raise errors of many libraries; the folders hold the cells' states
                message = f"the launcher failed: {type(error).__name__}: {error}"
                console.print(redacted(message), markup=False, highlight=False)
