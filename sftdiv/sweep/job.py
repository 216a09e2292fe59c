"""One cell of a sweep, as every launcher calls it: it leaves a row or a failure on disk and raises nothing but Ctrl-C.

In: a composed and checked config. Out: ``result.json`` or ``failure.json`` in the cell's folder.
What Hydra's launchers return is never read: a cell that a signal or the cluster ended could not
return anything.
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from sftdiv.config.compose import identified
from sftdiv.pipeline.export import export_cell
from sftdiv.pipeline.publish import publish_cell
from sftdiv.storage.cell import FAILURE, RUNNING, Cell, plan_cell, stage_of, write_failure
from sftdiv.storage.files import write_atomically
from sftdiv.sweep.devices import own_gpus
from sftdiv.sweep.subprocess_cell import run_isolated

log = logging.getLogger(__name__)
STOP = ".stop"  # in the study's folder: no further cell is started


def run_in_sweep(config: DictConfig, root: Path) -> None:
    """Run one cell of a sweep unless it is done, or the sweep is stopping.

    Args:
        config: The composed and checked config.
        root: The folder that studies are put in.
    """
    cell = plan_cell(identified(config), root)
    if (root / cell.study / STOP).exists():
        return
    cell.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cell.folder / ".lock"):
        if cell.result() is None:
            _run(config, cell)
    row = cell.result()
    if row is not None:
        export_cell(config, cell, row)
        publish_cell(config, cell)
    if row is None and config.sweep.on_error == "stop":
        (root / cell.study / STOP).touch()


def _gpus(trainer: DictConfig) -> int | None:
    """How many a cell takes on this machine; None for all that it sees."""
    if trainer.accelerator == "cpu":
        return 0
    return None if trainer.devices == "auto" else int(trainer.devices)


def _run(config: DictConfig, cell: Cell) -> None:
    (cell.folder / FAILURE).unlink(missing_ok=True)
    (cell.folder / RUNNING).unlink(missing_ok=True)
    write_atomically(cell.folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    with own_gpus(count=_gpus(config.trainer)) as environment:
        if config.sweep.isolate is False:
            _run_here(config, cell)
            return
        method = "spawn" if config.sweep.isolate == "spawn" else "forkserver"
        code = run_isolated(cell, method=method, environment=environment)
    if cell.result() is None and not (cell.folder / FAILURE).exists():
        write_failure(cell.folder, stage_of(cell.folder) or "start", _told(code))


def _run_here(config: DictConfig, cell: Cell) -> None:
    """Without isolation an error is kept in the folder all the same, and the sweep goes on."""
    from sftdiv.pipeline.run_cell import run_steps

    try:
        run_steps(config, cell)
    except (Exception, SystemExit) as error:
        log.warning("%s failed: %s", cell.name, error)
        if not (cell.folder / FAILURE).exists():  # it failed before the recorder was there
            write_failure(cell.folder, "start", f"{type(error).__name__}: {error}")


def _told(code: int) -> str:
    if code >= 0:
        return f"the cell's process ended with exit code {code} and left no word; its log.txt may say more"
    name = signal.Signals(-code).name
    hint = " (most often the system ran out of memory: see dmesg)" if -code == signal.SIGKILL else ""
    return f"the cell's process was killed by signal {-code}, {name}{hint}"
