"""Runs a sweep: plan its cells, launch the unfinished ones, show progress.

Every cell has a folder; ``sweep.json`` holds the plan. Finished cells are never launched: resuming a
finished sweep starts no process and does not import torch. Cells whose job was submitted by an earlier command, which
was not to wait (``sweep.wait=false``) or was killed, and is alive are not launched either: a command that waits, waits
for them too. `on_multirun_end` reports on the study afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console

from sftdiv.config.run_request import RunRequest
from sftdiv.records import SftdivError
from sftdiv.reporting.terminal import print_lines
from sftdiv.storage.cell import FAILURE
from sftdiv.storage.folders import check_folder
from sftdiv.storage.redaction import redacted
from sftdiv.sweep.cost import cost_lines
from sftdiv.sweep.job import STOP
from sftdiv.sweep.plan import PlannedCell, plan_sweep, save_plan
from sftdiv.sweep.submitted import JOB, SubmittedJob, alive_jobs, record_job, wait_for_jobs
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
        submit: Submits cells instead, and returns their jobs at once; None for launchers that run cells themselves.
        wait: Whether to wait for submitted cells.
        launcher: Settings of Hydra's launcher, for the statement of the cost.
    """

    study: str
    root: Path
    command: str
    combinations: Sequence[Sequence[str]]
    build: Callable[[Sequence[str]], RunRequest]
    check: Callable[[int], None]
    launch: Callable[[list[list[str]]], Any]
    submit: Callable[[list[list[str]]], list[SubmittedJob]] | None
    wait: bool
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
    with FileLock(study / ".submit.lock"):  # of two commands at once, the second sees the jobs of the first
        runnable = [cell for cell in cells if not cell.refused]
        alive = alive_jobs(cell.folder for cell in runnable if (cell.folder / JOB).exists() and not cell.done)
        free = [cell for cell in runnable if cell.folder not in alive]
        for cell in free:
            (cell.folder / FAILURE).unlink(missing_ok=True)
        free = [cell for cell in free if not cell.done]
        for cell in free:
            (cell.folder / JOB).unlink(missing_ok=True)
        starting = {cell.folder for cell in free}
        print_lines(console, cost_lines([r for r in requests if r.sweep_cell().folder in starting], order.launcher))
        logging.getLogger("hydra").setLevel(logging.WARNING)  # launchers log every job before the first one starts
        if order.submit is not None and (free or not order.wait):
            _submit(order.submit, free, console)
    if not order.wait:
        return
    announce_sweep()
    with SweepProgress(order.study, cells, console):
        if free and order.submit is None:
            try:
                order.launch([list(cell.overrides) for cell in free])
            except Exception as error:  # launchers raise errors of many libraries; the folders hold the cells' states
                kind = "" if isinstance(error, SftdivError) else f"{type(error).__name__}: "
                console.print(redacted(f"the launcher failed: {kind}{error}"), markup=False, highlight=False)
        wait_for_jobs([*alive, *starting])


def _submit(
    submit: Callable[[list[list[str]]], list[SubmittedJob]], cells: Sequence[PlannedCell], console: Console
) -> None:
    """Submit cells and record their jobs.

    Raises:
        SftdivError: The cluster does not accept them.
    """
    try:
        jobs = submit([list(cell.overrides) for cell in cells]) if cells else []
    except Exception as error:  # of submitit, sbatch and the system
        raise SftdivError(redacted(f"the jobs could not be submitted: {type(error).__name__}: {error}")) from error
    for cell, job in zip(cells, jobs, strict=True):
        cell.folder.mkdir(parents=True, exist_ok=True)
        record_job(cell.folder, job)
    shown = f": {jobs[0]}{f' to {jobs[-1].job_id}' if len(jobs) > 1 else ''}" if jobs else ""
    console.print(f"{len(jobs):,} jobs submitted{shown}", markup=False, highlight=False)
