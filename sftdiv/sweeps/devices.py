"""One cell a GPU: cells that run at once on one machine each take a device that no other cell holds.

In: whether a GPU is wanted. Out: the environment of the cell's process, with ``CUDA_VISIBLE_DEVICES`` set to its device. Who holds a device
is told by a file lock, which the system lets go when its holder dies. The trade: locks bind the processes of one user on one machine;
a cluster's own scheduler (Slurm) already shows each job its devices alone, and then there is one to take.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

SECONDS_BETWEEN_TRIES = 1.0


@contextlib.contextmanager
def own_gpu(*, wanted: bool, locks: Path | None = None) -> Iterator[dict[str, str]]:
    """Hold one of the visible GPUs; wait while all are taken.

    Args:
        wanted: False takes nothing and gives an empty environment.
        locks: The folder of the locks; by default one a user in the system's temporary folder.

    Yields:
        Variables for the process that is to use the device; empty where no device is to be seen (the training then says so itself).
    """
    devices = visible_gpus() if wanted else []
    if not devices:
        yield {}
        return
    folder = locks or Path(tempfile.gettempdir()) / f"sftdiv-gpus-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for device in devices:
            lock = FileLock(folder / f"{device.replace('/', '_')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield {"CUDA_VISIBLE_DEVICES": device}
            finally:
                lock.release()
            return
        time.sleep(SECONDS_BETWEEN_TRIES)


def visible_gpus() -> list[str]:
    """The devices that this process may use, as CUDA names them: those of CUDA_VISIBLE_DEVICES, else all of the machine's."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip() not in {"", "-1"}]
    return [str(index) for index, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]
