"""GPUs for cells that run at once on one machine: each takes as many as it needs, which no other cell holds.

A cell's process gets ``CUDA_VISIBLE_DEVICES`` with its devices. A file lock says who holds a device, which
the system releases when its holder dies. Locks bind the processes of one user on one machine; the scheduler
of a cluster (Slurm) shows each job only its own devices, and then those are the ones to take.
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
def own_gpus(*, count: int | None, locks: Path | None = None) -> Iterator[dict[str, str]]:
    """Hold some of the visible GPUs; wait while too few are free.

    Args:
        count: Number of GPUs; None for all visible ones, 0 for none and an empty environment.
        locks: Folder of the locks; by default one per user in the system's temporary folder.

    Yields:
        Variables for the process that is to use the devices; empty where too few are to be seen
        (the training then says so itself).
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
    """Take devices as they become free; one taker at a time, so that no two wait for each other's devices."""
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
    """The devices that this process may use, as CUDA names them: those of CUDA_VISIBLE_DEVICES, else all of the machine's."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    return [str(index) for index, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]
