"""``compute=datatrove_local``: shards as tasks of datatrove's local executor, in processes of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sftdiv.compute.shard_files import UnfinishedShardsError
from sftdiv.protocols import ShardStep
from sftdiv.storage.validate import check_installed, check_range

if TYPE_CHECKING:
    from sftdiv.compute.shard_pipeline import ShardPipeline


@dataclass(frozen=True, kw_only=True)
class DatatroveLocal:
    """Computes shards by datatrove's `LocalPipelineExecutor`, with loky's processes (`loky_executor`).

    Attributes:
        logs: Folder of the logs of all steps.
        tasks: Number of tasks of a step; None for one a shard.
        workers: Number of tasks at once; None for the cores of this machine. Steps that use all cores take one.
    """

    logs: str
    tasks: int | None
    workers: int | None

    def __post_init__(self) -> None:
        check_installed("datatrove", extra="datatrove", setting="compute=datatrove_local")
        check_range("compute.tasks", self.tasks, least=1, whole=True, optional=True)
        check_range("compute.workers", self.workers, least=1, whole=True, optional=True)

    def run(self, step: ShardStep, shards: int, folder: Path) -> list[Path]:
        """See `sftdiv.protocols.ShardExecutor.run`."""
        from sftdiv.compute.shard_pipeline import run_pipeline

        run = partial(self._run, 1 if step.uses_all_cores else self.workers)
        return run_pipeline(step, shards, folder, tasks=self.tasks, logs=Path(self.logs).absolute(), run=run)

    def _run(self, workers: int | None, pipeline: ShardPipeline, tasks: int, logs: Path) -> None:
        from concurrent.futures.process import BrokenProcessPool

        from sftdiv.compute.loky_executor import LokyPipelineExecutor
        from sftdiv.vectors.threads import cores

        executor = LokyPipelineExecutor(
            [pipeline], tasks=tasks, workers=min(workers or cores(), tasks), logging_dir=str(logs)
        )
        try:
            executor.run()
        except BrokenProcessPool as error:
            raise UnfinishedShardsError(
                f"{pipeline.name}: a task's process was killed, perhaps because memory was short (see {logs}/logs). "
                "The same command computes the missing shards only"
            ) from error
