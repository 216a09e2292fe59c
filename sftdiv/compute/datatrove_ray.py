"""``compute=datatrove_ray``: shards as tasks of datatrove's Ray executor, on a running cluster or one started here.

Ray notices that an actor is lost, and datatrove then submits its tasks again, up to three times. But an actor computes
in a child process and waits forever where only that is killed; `EndsWithChild` ends the actor as well.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.protocols import ShardStep
from sftdiv.storage.validate import check_installed, check_range

if TYPE_CHECKING:
    from sftdiv.compute.shard_pipeline import ShardPipeline

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DatatroveRay:
    """Computes shards by datatrove's `RayPipelineExecutor`.

    Attributes:
        logs: Folder of the logs of all steps, on a file system that all nodes share, as the cache is.
        tasks: Number of tasks of a step; None for one a shard.
        workers: Number of tasks at once; None for as many as the cluster has room for.
        address: Address of the cluster, or ``auto`` for the one of this node; None starts a Ray on this machine for the
            duration of the command.
        cpus_per_task: Cores that Ray reserves for a task.
        mem_per_cpu_gb: Memory that Ray reserves for each of these cores, in GiB.
        gpus_per_task: GPUs that Ray reserves for a task.
    """

    logs: str
    tasks: int | None
    workers: int | None
    address: str | None
    cpus_per_task: int
    mem_per_cpu_gb: float
    gpus_per_task: int

    def __post_init__(self) -> None:
        for package in ("datatrove", "ray"):
            check_installed(package, extra="ray", setting="compute=datatrove_ray")
        for name in ("tasks", "workers"):
            check_range(f"compute.{name}", getattr(self, name), least=1, whole=True, optional=True)
        check_range("compute.cpus_per_task", self.cpus_per_task, least=1, whole=True)
        check_range("compute.mem_per_cpu_gb", self.mem_per_cpu_gb, above=0)
        check_range("compute.gpus_per_task", self.gpus_per_task, least=0, whole=True)

    def run(self, step: ShardStep, shards: int, folder: Path) -> list[Path]:
        """See `sftdiv.protocols.ShardExecutor.run`."""
        from sftdiv.compute.shard_pipeline import run_pipeline

        return run_pipeline(step, shards, folder, tasks=self.tasks, logs=Path(self.logs).absolute(), run=self._run)

    def _run(self, pipeline: ShardPipeline, tasks: int, logs: Path) -> None:
        from datatrove.executor.ray import RayPipelineExecutor

        from sftdiv.compute.ends_with_child import EndsWithChild
        from sftdiv.compute.ray_task_manager import raising_threads

        executor = RayPipelineExecutor(
            [pipeline, EndsWithChild()],
            tasks=tasks,
            workers=self.workers or -1,
            logging_dir=str(logs),
            cpus_per_task=self.cpus_per_task,
            mem_per_cpu_gb=self.mem_per_cpu_gb,
            gpus_per_task=self.gpus_per_task,
        )
        with self._ray(), raising_threads(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as an error, one in datatrove's threads would end the command
            executor.run()

    @contextlib.contextmanager
    def _ray(self) -> Iterator[None]:
        """A connection to the cluster; nodes import the modules that this process imports."""
        import ray

        if ray.is_initialized():
            yield
            return
        settings: dict[str, Any] = {"address": self.address}
        if self.address is None:
            settings = {"address": "local", "include_dashboard": False}
            settings |= {} if self.workers is None else {"num_cpus": self.workers * self.cpus_per_task}
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        paths = os.pathsep.join(path for path in sys.path if path)
        ray.init(
            **settings,
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            yield
        finally:
            ray.shutdown()
