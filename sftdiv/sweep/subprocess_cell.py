"""Runs a cell in a child process, so that its memory is released and its crash does not affect other cells.

The child receives the pickled request and returns an exit code; all other results are in the cell's folder.
With ``forkserver`` a server imports the heavy libraries once, without starting a thread or CUDA, and every
cell is forked from it (0.3 s instead of 10 s). With ``spawn`` each cell imports them itself. A child leads
its own process group: it is stopped with all its children, also when its parent is killed.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sftdiv.config.run_request import RunRequest
from sftdiv.storage.cell import FAILURE, RESULT, Cell, write_failure
from sftdiv.storage.redaction import redact_output, redacted

HEAVY = [  # modules that import torch, Lightning, transformers, lm-eval, pandas and W&B
    "sftdiv.sweep.end_with_parent",  # first, since the server ends with its parent from here on
    "datasets",
    "lm_eval.models.huggingface",
    "numba.np.npyimpl",
    "numba.typed",
    "sftdiv.modeling.generate",
    "sftdiv.evaluation.harness",
    "sftdiv.evaluation.heldout",
    "sftdiv.pipeline.run_cell",
    "sftdiv.training.pretrain",
    "sftdiv.training.fine_tune",
    "wandb",
]
LOG = "log.txt"
SECONDS_TO_STOP = 10.0
POLL_SECONDS = 0.5
SWEEP = "SFTDIV_SWEEP"  # variable with the process id of the sweep, for the workers of launchers
STARTED_BY = str(os.getppid())
_running: list[Any] = []  # processes of this process's cells


def run_isolated(request: RunRequest, cell: Cell, *, method: str, environment: Mapping[str, str]) -> int:
    """Run a cell in a child process and wait for its end.

    Args:
        request: The run.
        cell: Its folder; the child's output goes to its ``log.txt``.
        method: ``forkserver`` or ``spawn``.
        environment: Environment variables set in the child before the cell runs.

    Returns:
        Exit code of the child; the negative signal number if a signal ended it.
    """
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(HEAVY)
    process = context.Process(target=_child, args=(request, cell, dict(environment)), name=cell.name)
    _end_with_sweep()
    _running.append(process)
    try:
        with _default_method(method):
            process.start()  # with forkserver it returns when the libraries are imported
        while process.exitcode is None:
            process.join(POLL_SECONDS)
    except BaseException:  # Ctrl-C, above all
        _stop(process)
        raise
    finally:
        _running.remove(process)
    assert process.exitcode is not None
    return process.exitcode


def announce_sweep() -> None:
    """Store this process's id in the environment, for the workers that a launcher starts."""
    os.environ[SWEEP] = str(os.getpid())


@functools.cache
def _end_with_sweep() -> None:
    """In a worker of a launcher, start a thread that ends it with its sweep, also while it waits for another cell."""
    if os.environ.get(SWEEP) == STARTED_BY:
        threading.Thread(target=_wait_for_end_of_sweep, daemon=True).start()


def _wait_for_end_of_sweep() -> None:
    """When the sweep was killed, stop the cells of this worker and end it. joblib's workers would otherwise go on."""
    while os.getppid() == int(STARTED_BY):
        time.sleep(POLL_SECONDS)
    for process in list(_running):
        _stop(process)
    os._exit(1)


@contextlib.contextmanager
def _default_method(method: str) -> Iterator[None]:
    """Set the default start method while a child starts.

    Children inherit the parent's default, and that of joblib's workers (loky) is unknown to them.
    """
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _stop(process: multiprocessing.process.BaseProcess) -> None:
    """Stop a child and its process group: first by SIGINT, so that it records the failure, then by SIGKILL."""
    if process.pid is None:
        return
    for number, seconds in ((signal.SIGINT, SECONDS_TO_STOP), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        process.join(seconds)
        if process.exitcode is not None:
            return


def _child(request: RunRequest, cell: Cell, environment: Mapping[str, str]) -> None:
    """Entry point of the child: create a process group, watch the parent, run the cell."""
    os.setpgid(0, 0)
    os.environ.pop("WANDB_SERVICE", None)  # address of a W&B service that belongs to another process
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    redact_output()
    _redirect_output(cell.folder / LOG)
    try:
        from sftdiv.pipeline.run_cell import run_cell

        run_cell(request, cell)
    except BaseException as error:
        print(redacted(traceback.format_exc()), file=sys.stderr, flush=True)
        is_recorded = (cell.folder / RESULT).exists() or (cell.folder / FAILURE).exists()
        if not is_recorded:  # it failed before the recorder started
            write_failure(cell.folder, "start", f"{type(error).__name__}: {error}", traceback.format_exc())
        sys.exit(1)


def _die_with_parent() -> None:
    """Wait for the end of the parent process, then kill this process group."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _redirect_output(path: Path) -> None:
    """Redirect the output of this process, its libraries and its children to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("a", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO, force=True)
