"""datatrove's manager of Ray tasks, whose threads' errors end the command.

datatrove asks Ray for an actor in a thread and waits for what the thread sets; where the thread raises, it waits
forever.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from datatrove.executor.ray import RayTaskManager

from sftdiv.records import SftdivError


class RaisingTaskManager(RayTaskManager):
    """Raises the error of a thread where the results of the tasks are awaited."""

    _error: BaseException | None = None

    def submit_task(self, *arguments: Any) -> Future[Any]:
        """Submit a task in a thread; see `RayTaskManager.submit_task`."""
        submitted: Future[Any] = super().submit_task(*arguments)
        self.pg_futures[-1].add_done_callback(partial(self._keep_error, submitted))
        return submitted

    def wait(self, *arguments: Any, **settings: Any) -> tuple[list[Any], list[Any]]:
        """Wait for tasks; see `RayTaskManager.wait`.

        Raises:
            SftdivError: A task could not be submitted.
        """
        tasks: tuple[list[Any], list[Any]] = super().wait(*arguments, **settings)
        if self._error is not None:
            raise SftdivError(
                f"compute=datatrove_ray: a task could not be submitted to Ray: {type(self._error).__name__}: "
                f"{self._error}. compute=local and datatrove_local need no Ray"
            ) from self._error
        return tasks

    def _keep_error(self, submitted: Future[Any], thread: Future[Any]) -> None:
        if not thread.cancelled() and (error := thread.exception()) is not None:
            self._error = error
            submitted.set_exception(error)  # ends datatrove's wait


@contextmanager
def raising_threads() -> Iterator[None]:
    """Within the block datatrove's Ray executor uses `RaisingTaskManager`; it has no parameter for it."""
    with patch("datatrove.executor.ray.RayTaskManager", RaisingTaskManager):
        yield
