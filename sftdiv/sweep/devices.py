"""Assigns free GPUs to cells that run concurrently on one machine.

The process of a cell gets its devices in ``CUDA_VISIBLE_DEVICES``. A file lock per device marks it as used;
the system releases the lock when the process ends. Locks apply to the processes of one user on one machine.
On a cluster the scheduler (Slurm) restricts each job to its own devices, and cells choose among those.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

SECONDS_BETWEEN_TRIES = 1.0


@contextlib.contextmanager
def lock_gpus(*, count: int | None, locks: Path | None = None) -> Iterator[dict[str, str]]:
    """Lock some of the visible GPUs; wait until enough are free.

    Args:
        count: Number of GPUs; None for all visible ones, 0 for none and an empty environment.
        locks: Folder of the locks; by default one per user in the system's temporary folder.

    Yields:
        Environment variables for the process that uses the devices; empty if too few are visible, which the
        training reports.
    """
    devices = visible_gpus() if count != 0 else []
    needed = len(devices) if count is None else count
    if not devices or needed > len(devices):
        yield {}
        return
    folder = locks or Path(tempfile.gettempdir()) / f"sftdiv-gpus-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(_take(devices, needed, folder, stack))}


def _take(devices: Sequence[str], needed: int, folder: Path, stack: contextlib.ExitStack) -> list[str]:
    """Lock devices as they become free, one process at a time, so that no two processes wait for each other."""
    taken: list[str] = []
    with FileLock(folder / "taking.lock"):
        while True:
            for device in devices:
                if device not in taken and len(taken) < needed:
                    with contextlib.suppress(Timeout):
                        stack.enter_context(FileLock(folder / f"{device.replace('/', '_')}.lock", timeout=0))
                        taken.append(device)
            if len(taken) == needed:
                return taken
            time.sleep(SECONDS_BETWEEN_TRIES)


def visible_gpus() -> list[str]:
    """CUDA names of the devices of this process: those of CUDA_VISIBLE_DEVICES, or all devices of the machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    return [str(index) for index, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]
