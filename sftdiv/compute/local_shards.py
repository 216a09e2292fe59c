"""``compute=local``: shards in processes of this machine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sftdiv.compute.shard_files import UnfinishedShardsError, missing_shards, shard_paths, write_shard
from sftdiv.protocols import ShardStep
from sftdiv.storage.progress_bar import tracked
from sftdiv.storage.validate import check_range
from sftdiv.text.processes import in_processes

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LocalShards:
    """Computes shards in processes of this machine; a single shard, and steps that use all cores, in this process.

    Attributes:
        processes: Number of processes; None for the cores of this machine (``NUMBA_NUM_THREADS`` lowers them).
    """

    processes: int | None

    def __post_init__(self) -> None:
        check_range("compute.processes", self.processes, least=1, whole=True, optional=True)

    def run(self, step: ShardStep, shards: int, folder: Path) -> list[Path]:
        """See `sftdiv.protocols.ShardExecutor.run`."""
        folder.mkdir(parents=True, exist_ok=True)
        missing = missing_shards(folder, shards)
        if len(missing) < shards:
            log.info("%s: %d of %d shards are there", step.name, shards - len(missing), shards)
        work = partial(write_shard, step, folder)
        if len(missing) == 1:
            work(missing[0])  # shows its own progress
        elif missing:
            processes = 1 if step.uses_all_cores else min(self.processes or _cores(), len(missing))
            self._run(work, missing, processes, step.name)
        return shard_paths(folder, shards)

    def _run(self, work: partial[bool], missing: list[int], processes: int, name: str) -> None:
        from concurrent.futures.process import BrokenProcessPool

        try:
            done = in_processes(work, missing, processes=processes)
            for _ in tracked(done, name, total=len(missing), unit="shards"):
                pass
        except BrokenProcessPool as error:
            raise UnfinishedShardsError(
                f"{name}: a process was killed, perhaps because memory was short (compute.processes={processes} at "
                "once). The same command computes the missing shards only"
            ) from error


def _cores() -> int:
    from sftdiv.vectors.threads import cores

    return cores()


LOCAL = LocalShards(processes=None)
