"""Memory available to a training, in bytes per process: of a GPU, or of the machine.

The machine's is what the kernel could hand out without swapping, or what the control groups of a
container leave, whichever is less.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from sftdiv.training.config import TrainerConfig

GROUPS, MEMBERSHIPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available(trainer: TrainerConfig) -> float:
    """Bytes per device; on a CPU the processes share the machine's memory.

    Args:
        trainer: Resolved settings.
    """
    if trainer.accelerator != "gpu":
        return machine_memory() / int(trainer.devices)
    import torch

    free_bytes = []
    for device in range(int(trainer.devices)):
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # this process's cache
        free_bytes.append(torch.cuda.mem_get_info(device)[0] + reusable)
    return float(min(free_bytes))


def machine_memory() -> float:
    """Bytes that this machine, or the container on it, has left."""
    return min([_kernel_free(), *_group_limits()])


def peak_memory() -> float:
    """Peak resident bytes of this process; getrusage would also count the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # macOS: in bytes


def _kernel_free() -> float:
    information = Path("/proc/meminfo")
    if information.is_file():
        for line in information.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))  # macOS: total memory


def _group_limits() -> list[float]:
    """Bytes left in each control group above this process: its limit minus its usage, without droppable file caches."""
    if not MEMBERSHIPS.is_file():
        return []
    left: list[float] = []
    for line in MEMBERSHIPS.read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # cgroup v2
            names = ("memory.max", "memory.current")
        elif controllers == "memory":  # cgroup v1
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        root = GROUPS / controllers
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(root):
                left += _group_left(group, *names)
    return left


def _group_left(group: Path, limit_file: str, usage_file: str) -> list[float]:
    try:
        limit = (group / limit_file).read_text(encoding="ascii").strip()
        usage = int((group / usage_file).read_text(encoding="ascii"))
        statistics = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:  # the group is not visible from within a container
        return []
    if limit == "max":
        return []
    droppable = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
    return [max(0.0, float(limit) - usage + droppable)]
