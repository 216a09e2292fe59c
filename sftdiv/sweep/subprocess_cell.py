"""A cell in a process of its own: what it allocates, and whatever kills it, ends with it.

The child receives the pickled request and gives back an exit code; everything else is in the cell's
folder. With ``forkserver`` a server imports the heavy libraries once, without starting a thread or CUDA,
and every cell is forked from it (0.3 s instead of 10); with ``spawn`` each cell imports them itself. A
child leads a process group of its own: it is stopped with everything it started, also when its parent is
killed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sftdiv.config.run_request import RunRequest
from sftdiv.storage.cell import FAILURE, RESULT, Cell, write_failure

HEAVY = [  # which import torch, Lightning, transformers, lm-eval, pandas and W&B
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
SECONDS_BETWEEN_LOOKS = 0.5
SWEEP = "SFTDIV_SWEEP"  # the process id of the sweep, for the workers that launchers start
STARTED_BY = str(os.getppid())


def run_isolated(request: RunRequest, cell: Cell, *, method: str, environment: Mapping[str, str]) -> int:
    """Run a cell in a child process and wait for its end.

    Args:
        request: The run.
        cell: Its folder; what the child prints goes to ``log.txt`` in it.
        method: ``forkserver`` or ``spawn``.
        environment: Variables that are set in the child before anything else.

    Returns:
        The child's exit code; minus the signal's number where a signal ended it.
    """
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(HEAVY)
    process = context.Process(target=_child, args=(request, cell, dict(environment)), name=cell.name)
    with _default_method(method):
        process.start()
    try:
        while process.exitcode is None:
            process.join(SECONDS_BETWEEN_LOOKS)
            if _sweep_has_died():
                _stop(process)
                os._exit(1)  # a worker of a launcher whose sweep was killed
    except BaseException:  # Ctrl-C, above all
        _stop(process)
        raise
    assert process.exitcode is not None
    return process.exitcode


def announce_sweep() -> None:
    """Let workers that a launcher starts from this process know that it is their sweep."""
    os.environ[SWEEP] = str(os.getpid())


def _sweep_has_died() -> bool:
    """Whether this process was started by a sweep on this machine (as joblib's workers are, which otherwise live on) that is gone."""
    return os.environ.get(SWEEP) == STARTED_BY and os.getppid() != int(STARTED_BY)


@contextlib.contextmanager
def _default_method(method: str) -> Iterator[None]:
    """Children are told their parent's default start method, and joblib's workers have one (loky) that no child would know."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _stop(process: multiprocessing.process.BaseProcess) -> None:
    """End a child and everything it started: asked first, so that its folder says so, then killed."""
    assert process.pid is not None
    for how, seconds in ((signal.SIGINT, SECONDS_TO_STOP), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        process.join(seconds)
        if process.exitcode is not None:
            return


def _child(request: RunRequest, cell: Cell, environment: Mapping[str, str]) -> None:
    """The child: lead a process group, watch the parent, run the cell."""
    os.setpgid(0, 0)
    os.environ.pop("WANDB_SERVICE", None)  # the address of a W&B service that belongs to another process
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _print_into(cell.folder / LOG)
    try:
        from sftdiv.pipeline.run_cell import run_cell

        run_cell(request, cell)
    except BaseException as error:
        traceback.print_exc()
        has_ended = (cell.folder / RESULT).exists() or (cell.folder / FAILURE).exists()
        if not has_ended:  # it failed before the recorder could write
            write_failure(cell.folder, "start", f"{type(error).__name__}: {error}", traceback.format_exc())
        sys.exit(1)


def _die_with_parent() -> None:
    """Wait for the end of the process that started this one, however it ends, and then end this group at once."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _print_into(path: Path) -> None:
    """Send all output of this process, that of its libraries and children too, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("a", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO, force=True)
