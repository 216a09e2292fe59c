"""How much memory there is for a training: of a GPU, or of the machine.

In: where the training runs. Out: bytes that each of its processes may take. The machine's are what
the kernel could hand out without swapping, or what the control group of a container leaves,
whichever is less.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from sftdiv.training.config import TrainerConfig

GROUPS, MEMBERSHIPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available(hardware: TrainerConfig) -> float:
    """Bytes for each device; on a CPU the processes of a machine share its memory.

    Args:
        hardware: Resolved.
    """
    if hardware.accelerator != "gpu":
        return machine_memory() / int(hardware.devices)
    import torch

    free = []
    for device in range(int(hardware.devices)):
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
            device
        )  # this process's own, for new tensors
        free.append(torch.cuda.mem_get_info(device)[0] + cached)
    return float(min(free))


def machine_memory() -> float:
    """Bytes that this machine, or the container on it, has left."""
    free = _kernel()
    return min([free, *_groups()])


def peak_memory() -> float:
    """Bytes that this process has held at most; getrusage would also count the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes
    return float(most)


def _kernel() -> float:
    information = Path("/proc/meminfo")
    if information.is_file():
        for line in information.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))  # macOS: all that there is


def _groups() -> list[float]:
    """What each control group above this process leaves: its limit less its use, where files that can be dropped are no use."""
    if not MEMBERSHIPS.is_file():
        return []
    left = []
    for line in MEMBERSHIPS.read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            names = (
                ("memory.max", "memory.current")
                if controllers == ""
                else ("memory.limit_in_bytes", "memory.usage_in_bytes")
            )
            root = GROUPS / controllers
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents):
                if group.is_relative_to(root):
                    left += _left(group, *names)
    return left


def _left(group: Path, limit_file: str, use_file: str) -> list[float]:
    try:
        limit, use = (
            (group / limit_file).read_text(encoding="ascii").strip(),
            int((group / use_file).read_text(encoding="ascii")),
        )
        statistics = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:  # no such group is seen from within a container
        return []
    if limit == "max":
        return []
    droppable = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
    return [max(0.0, float(limit) - use + droppable)]
