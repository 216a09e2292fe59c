"""The job of one cell, called by every launcher. It writes a row or a failure record and raises only Ctrl-C.

The return values of Hydra's launchers are not used, since a cell killed by a signal or by the cluster
returns nothing.
"""

from __future__ import annotations

import logging
import signal

from filelock import FileLock

from sftdiv.config.run_request import RunRequest
from sftdiv.pipeline.export import export_cell
from sftdiv.pipeline.publish import publish_cell
from sftdiv.storage.cell import FAILURE, RUNNING, Cell, stage_of, write_failure
from sftdiv.storage.files import write_atomically
from sftdiv.sweep.devices import lock_gpus
from sftdiv.sweep.subprocess_cell import run_isolated
from sftdiv.training.config import TrainerConfig

log = logging.getLogger(__name__)
LOST_SERVER = 255  # exit code that multiprocessing gives a process whose fork server ended
STOP = ".stop"  # marker in the study's folder: no further cell is started


def run_in_sweep(request: RunRequest) -> None:
    """Run one cell of a sweep unless it is finished or the sweep is stopping."""
    cell = request.sweep_cell()
    stop = cell.folder.parent / STOP
    if stop.exists():
        return
    cell.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cell.folder / ".lock"):
        if cell.result() is None:
            _run(request, cell)
    row = cell.result()
    if row is not None:
        export_cell(request.export, cell, row)
        publish_cell(request, cell)
    elif request.sweep.on_error == "stop":
        stop.touch()


def record_lost_cell(request: RunRequest, message: str) -> None:
    """Record that a cell ended without a result or a record, as its worker died."""
    cell = request.sweep_cell()
    if cell.result() is None:
        if not (cell.folder / FAILURE).exists():
            cell.folder.mkdir(parents=True, exist_ok=True)
            write_failure(cell.folder, stage_of(cell.folder) or "start", message)
        if request.sweep.on_error == "stop":
            (cell.folder.parent / STOP).touch()


def _gpu_count(trainer: TrainerConfig) -> int | None:
    """Number of GPUs that a cell uses on this machine; None for all visible ones."""
    if trainer.accelerator == "cpu":
        return 0
    return None if trainer.devices == "auto" else int(trainer.devices)


def _run(request: RunRequest, cell: Cell) -> None:
    (cell.folder / FAILURE).unlink(missing_ok=True)
    (cell.folder / RUNNING).unlink(missing_ok=True)
    write_atomically(cell.folder / "config.yaml", request.text)
    with lock_gpus(count=_gpu_count(request.spec.training.trainer)) as environment:
        if request.sweep.isolate is False:
            _run_in_this_process(request, cell)
            return
        method = "spawn" if request.sweep.isolate == "spawn" else "forkserver"
        code = run_isolated(request, cell, method=method, environment=environment)
    if cell.result() is None and not (cell.folder / FAILURE).exists():
        write_failure(cell.folder, stage_of(cell.folder) or "start", _exit_message(code))


def _run_in_this_process(request: RunRequest, cell: Cell) -> None:
    """Run a cell without isolation; an error is recorded in its folder, and the sweep continues."""
    from sftdiv.pipeline.run_cell import run_cell

    try:
        run_cell(request, cell)
    except (Exception, SystemExit) as error:
        log.warning("%s failed: %s", cell.name, error)
        if not (cell.folder / FAILURE).exists():  # it failed before the recorder started
            write_failure(cell.folder, "start", f"{type(error).__name__}: {error}")


def _exit_message(code: int) -> str:
    if code == LOST_SERVER:
        return "the cell was killed with the process that started it: its job was canceled or ran out of memory"
    if code >= 0:
        return f"the cell's process exited with code {code} without a failure record; see its log.txt"
    name = signal.Signals(-code).name
    hint = " (usually the system ran out of memory: see dmesg)" if -code == signal.SIGKILL else ""
    return f"the cell's process was killed by signal {-code}, {name}{hint}"
