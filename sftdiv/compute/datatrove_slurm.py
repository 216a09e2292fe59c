"""``compute=datatrove_slurm``: shards as a job array of a SLURM cluster, by datatrove's SLURM executor.

The command runs on a node that may submit jobs, submits an array for each step, waits until the array has left the
queue, and goes on with what one machine does. Cache and logs must be on a file system that all nodes share.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.protocols import ShardStep
from sftdiv.records import SftdivError
from sftdiv.storage.progress_bar import progress_bar
from sftdiv.storage.validate import check_installed, check_range

if TYPE_CHECKING:
    from sftdiv.compute.shard_pipeline import ShardPipeline
    from sftdiv.compute.slurm_executor import TasksOnlySlurmExecutor

log = logging.getLogger(__name__)
POLL_SECONDS = 5.0
SETTLE_SECONDS = 30.0  # after a job has left the queue, until a shared file system shows all of its files


@dataclass(frozen=True, kw_only=True)
class DatatroveSlurm:
    """Computes shards by datatrove's `SlurmPipelineExecutor`.

    Attributes:
        logs: Folder of the logs of all steps.
        tasks: Number of tasks of a step; None for one a shard.
        workers: Number of tasks at once; None for as many as the cluster has room for.
        partition: Partition of the jobs.
        time: Time limit of a task, such as ``04:00:00``.
        cpus_per_task: Cores of a task.
        mem_per_cpu_gb: Memory of each of these cores, in GiB.
        gpus_per_task: GPUs of a task.
        qos: Quality of service; None for the cluster's default.
        tasks_per_job: Tasks that a job of the array runs one after the other.
        environment: Shell command that prepares a node; None puts this Python and its modules on the paths.
        sbatch: Further options of ``sbatch``, such as ``{account: NAME}``.
    """

    logs: str
    tasks: int | None
    workers: int | None
    partition: str
    time: str
    cpus_per_task: int
    mem_per_cpu_gb: int
    gpus_per_task: int
    qos: str | None
    tasks_per_job: int
    environment: str | None
    sbatch: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_installed("datatrove", extra="datatrove", setting="compute=datatrove_slurm")
        for name in ("tasks", "workers"):
            check_range(f"compute.{name}", getattr(self, name), least=1, whole=True, optional=True)
        for name in ("cpus_per_task", "mem_per_cpu_gb", "tasks_per_job"):
            check_range(f"compute.{name}", getattr(self, name), least=1, whole=True)
        check_range("compute.gpus_per_task", self.gpus_per_task, least=0, whole=True)

    def run(self, step: ShardStep, shards: int, folder: Path) -> list[Path]:
        """See `sftdiv.protocols.ShardExecutor.run`."""
        from sftdiv.compute.shard_pipeline import run_pipeline

        if shutil.which("sbatch") is None:
            raise SftdivError(
                "compute=datatrove_slurm submits jobs by sbatch, which this machine does not have: run it on a login "
                "node, or choose compute=local or datatrove_local"
            )
        if "SLURM_ARRAY_TASK_ID" in os.environ:
            raise SftdivError(
                "compute=datatrove_slurm submits jobs and this is one of a job array, which datatrove takes for one of "
                "its own: build the corpus from a login node first, or choose compute=local here"
            )
        return run_pipeline(step, shards, folder, tasks=self.tasks, logs=Path(self.logs).absolute(), run=self._run)

    def executor(self, pipeline: ShardPipeline, tasks: int, logs: Path) -> TasksOnlySlurmExecutor:
        """Datatrove's executor of a pipeline."""
        from sftdiv.compute.slurm_executor import TasksOnlySlurmExecutor

        return TasksOnlySlurmExecutor(
            [pipeline],
            tasks=tasks,
            time=self.time,
            partition=self.partition,
            workers=self.workers or -1,
            job_name=f"sftdiv-{pipeline.name.replace(' ', '-')}",
            logging_dir=str(logs),
            cpus_per_task=self.cpus_per_task,
            mem_per_cpu_gb=self.mem_per_cpu_gb,
            gpus_per_task=self.gpus_per_task,
            tasks_per_job=self.tasks_per_job,
            qos=self.qos,  # type: ignore[arg-type]  # None is accepted
            env_command=self.environment or _this_environment(),
            sbatch_args=dict(self.sbatch),
        )

    def _run(self, pipeline: ShardPipeline, tasks: int, logs: Path) -> None:
        from sftdiv.compute.shard_pipeline import incomplete_tasks

        executor = self.executor(pipeline, tasks, logs)
        executor.launch_job()
        log.info("%s: SLURM job %s, script %s", pipeline.name, executor.job_id, logs / "launch_script.slurm")
        done, gone_since = 0, None
        with progress_bar(pipeline.name, tasks, unit="tasks") as advance:
            while left := incomplete_tasks(executor):
                advance(tasks - len(left) - done)
                done = tasks - len(left)
                if _is_queued(str(executor.job_id)):
                    gone_since = None
                elif gone_since is None:
                    gone_since = time.monotonic()
                elif time.monotonic() - gone_since > SETTLE_SECONDS:
                    return
                time.sleep(POLL_SECONDS)


def _is_queued(job: str) -> bool:
    """Whether any task of a job waits or runs: no for an unknown job, yes while SLURM does not answer."""
    shown = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False)
    if shown.returncode and "Invalid job id" not in shown.stderr:
        log.warning("squeue: %s. It is asked again in %g seconds", shown.stderr.strip(), POLL_SECONDS)
        return True
    return bool(shown.stdout.strip())


def _this_environment() -> str:
    modules = os.pathsep.join(path for path in sys.path if path)
    return f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={modules}"
