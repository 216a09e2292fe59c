"""datatrove's local executor with loky's processes in place of ``multiprocessing.Pool``.

A pool waits forever for a worker that was killed; loky raises an error. Tasks, logs, statistics and completion markers
are those of `LocalPipelineExecutor`.
"""

from __future__ import annotations

import contextlib
import io

from datatrove.executor import LocalPipelineExecutor
from datatrove.utils.stats import PipelineStats

from sftdiv.storage.progress_bar import tracked
from sftdiv.text.processes import in_other_processes

QUIET = 1  # a local rank other than 0, for which datatrove logs to the task's file only


class LokyPipelineExecutor(LocalPipelineExecutor):
    """Runs the tasks that have no completion marker, ``workers`` at once."""

    def run(self) -> PipelineStats:
        """Run the tasks.

        Returns:
            The sum of the statistics of these tasks.

        Raises:
            BrokenProcessPool: If a process is killed.
        """
        self.save_executor_as_json()
        tasks = self.get_incomplete_ranks()
        done = in_other_processes(self._run_quietly, tasks, processes=min(self.workers, max(len(tasks), 1)))
        return sum(tracked(done, self.pipeline[0].name, total=len(tasks), unit="tasks"), start=PipelineStats())

    def _run_quietly(self, task: int) -> PipelineStats:
        with contextlib.redirect_stderr(io.StringIO()):  # errors are raised, and in the task's log
            return self._run_for_rank(task, QUIET)
