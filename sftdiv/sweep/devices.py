"""Cells that run at once on one machine each take the GPUs they need, which no other cell holds.

In: how many are wanted. Out: the environment of the cell's process, with ``CUDA_VISIBLE_DEVICES``
set to its devices. Who holds a device is told by a file lock, which the system lets go when its
holder dies. The trade: locks bind the processes of one user on one machine; a cluster's own
scheduler (Slurm) already shows each job its devices alone, and then there is one to take.
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
        count: How many; None for all that are to be seen, 0 takes nothing and gives an empty environment.
        locks: The folder of the locks; by default one a user in the system's temporary folder.

    Yields:
        Variables for the process that is to use the devices; empty where too few are to be seen
        (the training then says so itself).
    """
    devices = visible_gpus() if count != 0 else []
    wanted = len(devices) if count is None else count
    if not devices or wanted > len(devices):
        yield {}
        return
    folder = locks or Path(tempfile.gettempdir()) / f"sftdiv-gpus-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(_take(devices, wanted, folder, held))}


def _take(devices: Sequence[str], wanted: int, folder: Path, held: contextlib.ExitStack) -> list[str]:
    """Take devices as they become free; one taker at a time, so that no two wait for what the other has."""
    taken: list[str] = []
    with FileLock(folder / "taking.lock"):
        while True:
            for device in devices:
                if device not in taken and len(taken) < wanted:
                    with contextlib.suppress(Timeout):
                        held.enter_context(FileLock(folder / f"{device.replace('/', '_')}.lock", timeout=0))
                        taken.append(device)
            if len(taken) == wanted:
                return taken
            time.sleep(SECONDS_BETWEEN_TRIES)


def visible_gpus() -> list[str]:
    """The devices that this process may use, as CUDA names them: those of CUDA_VISIBLE_DEVICES, else all of the machine's."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip() not in {"", "-1"}]
    return [str(index) for index, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]
