"""datatrove's SLURM executor without its last job, which adds up the statistics of the tasks.

The command that waits for the tasks adds them up itself (`shard_pipeline`); a job that depends on a failed one would
stay in the queue for ever.
"""

from __future__ import annotations

from datatrove.executor.slurm import SlurmPipelineExecutor


class TasksOnlySlurmExecutor(SlurmPipelineExecutor):
    """Submits the tasks alone."""

    def launch_merge_stats(self) -> None:
        """Submit nothing."""
