"""A step over shards as a pipeline step of datatrove, and what its three executors have in common.

datatrove cuts the work into tasks: task ``t`` of ``n`` computes the shards ``t, t + n, t + 2n, ...``. A finished task
leaves a completion marker in the folder of the logs and is skipped by the next run; in an interrupted one the finished
shards are skipped, since each is a file. Log, statistics and marker of each task, and the executor as JSON, stand in
the folder that the log names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats

from sftdiv.compute.shard_files import UnfinishedShardsError, missing_shards, shard_path, shard_paths, write_shard
from sftdiv.protocols import ShardStep
from sftdiv.records import SftdivError
from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import content_hash

log = logging.getLogger(__name__)
FAILURES = "failures"


class ShardPipeline(PipelineStep):
    """Computes the shards of a task.

    Args:
        step: The work on a shard.
        shards: Number of shards of all tasks.
        folder: Folder of the shards.
    """

    type = "sftdiv"

    def __init__(self, step: ShardStep, shards: int, folder: Path) -> None:
        self.name = step.name
        super().__init__()
        self.step = step
        self.shards = shards
        self.folder = folder

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Compute the missing shards of a task; documents are neither read nor passed on."""
        for shard in range(rank, self.shards, world_size):
            with self.track_time("shard"):
                computed = self._compute(shard)
            self.stat_update("computed" if computed else "skipped")
        yield from data or ()

    def _compute(self, shard: int) -> bool:
        try:
            return write_shard(self.step, self.folder, shard)
        except Exception as error:  # Ray's executor only counts failures, so that the message is left in a file
            is_known = isinstance(error, SftdivError)
            message = str(error) if is_known else f"{type(error).__name__}: {error}"
            write_json(self.folder / FAILURES / f"{shard:06d}.json", {"message": message, "known": is_known})
            raise


def run_pipeline(
    step: ShardStep,
    shards: int,
    folder: Path,
    *,
    tasks: int | None,
    logs: Path,
    run: Callable[[ShardPipeline, int, Path], None],
) -> list[Path]:
    """Compute the missing shards by one of datatrove's executors.

    Args:
        step: The work on a shard.
        shards: Number of shards.
        folder: Folder of the shards.
        tasks: Number of tasks; None for one a shard.
        logs: Folder of the logs of all steps.
        run: Runs a pipeline as a number of tasks with its logs in a folder, and waits for them.

    Returns:
        The file of each shard.

    Raises:
        SftdivError: A shard raised it.
        UnfinishedShardsError: Shards are missing without a failure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = missing_shards(folder, shards)
    if not missing:
        return shard_paths(folder, shards)
    tasks = min(tasks or shards, shards)
    step_logs = logs / f"{step.name.replace(' ', '-')}-{content_hash([str(folder.absolute()), tasks], length=8)}"
    _unmark(step_logs, missing, tasks)
    for failure in (folder / FAILURES).glob("*.json"):
        failure.unlink()
    log.info("%s: %d of %d shards by datatrove, logs in %s", step.name, len(missing), shards, step_logs)
    try:
        run(ShardPipeline(step, shards, folder), tasks, step_logs)
    finally:
        _raise_failure(step.name, folder, step_logs)
    if left := missing_shards(folder, shards):
        raise UnfinishedShardsError(
            f"{step.name}: {len(left)} of {shards} shards are missing, because their tasks ended early; see "
            f"{step_logs}/logs. The same command computes the missing shards only"
        )
    _write_stats(step_logs, tasks)
    return shard_paths(folder, shards)


def incomplete_tasks(executor: PipelineExecutor) -> list[int]:
    """The tasks of an executor without a completion marker."""
    incomplete: list[int] = executor.get_incomplete_ranks(skip_completed=True)
    return incomplete


def _unmark(logs: Path, missing: list[int], tasks: int) -> None:
    """Remove the completion markers of tasks whose shards are gone, as those of an artifact that was deleted."""
    for task in {shard % tasks for shard in missing}:
        (logs / "completions" / f"{task:05d}").unlink(missing_ok=True)


def _raise_failure(name: str, folder: Path, logs: Path) -> None:
    """Raise the failure of the first shard that has one and is still missing."""
    for path in sorted((folder / FAILURES).glob("*.json")):
        if shard_path(folder, int(path.stem)).exists():
            continue
        failure = json.loads(path.read_text(encoding="utf-8"))
        if failure["known"]:
            raise SftdivError(failure["message"])
        raise RuntimeError(f"{name}, shard {int(path.stem)}: {failure['message']}; the traceback is in {logs}/logs")


def _write_stats(logs: Path, tasks: int) -> None:
    """Write the sum of the tasks' statistics, ``stats.json``."""
    files = (logs / "stats" / f"{task:05d}.json" for task in range(tasks))
    stats = [PipelineStats.from_json(json.loads(file.read_text(encoding="utf-8"))) for file in files if file.exists()]
    with (logs / "stats.json").open("w", encoding="utf-8") as stream:
        sum(stats, start=PipelineStats()).save_to_disk(stream)
