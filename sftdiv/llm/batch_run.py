"""Runs request tasks through batches: half the price of single requests at most hosts, and answers within a day.

A task is run until it sends a request that has no stored answer. That request is written to the current file and the
task is set aside; once the file's batch is answered, the task runs again from its start, and its earlier requests are
answered from the files. The same replay resumes a killed run: an answered request is never sent again, and a running
batch is adopted by the id that is stored beside the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sftdiv.llm.batch_files import BatchFiles
from sftdiv.llm.batch_service import BatchService, OpenAIBatches, ResultFiles
from sftdiv.llm.connection import CALLS_ARE_SPENT, Connection, StoppedError
from sftdiv.llm.endpoint import Endpoint
from sftdiv.llm.journal import Journal
from sftdiv.llm.request import Chat, RequestTask
from sftdiv.llm.stored_batch import StoredBatch
from sftdiv.llm.stored_chat import PostponedError, StoredChat
from sftdiv.storage.progress_bar import Advance

RunTask = Callable[[Chat, RequestTask], Awaitable[Any]]


@dataclass(eq=False)
class _Waiting:
    """A task that was set aside.

    Attributes:
        task: The task.
        batches: Batches that hold its requests.
        sent: Number of its requests.
    """

    task: RequestTask
    batches: set[StoredBatch] = field(default_factory=set)
    sent: int = 0


class BatchRun:
    """Runs tasks through batches; see the module's docstring."""

    def __init__(
        self,
        endpoint: Endpoint,
        connection: Connection,
        journal: Journal,
        run_task: RunTask,
        advance: Advance,
        *,
        calls_left: int | None,
    ) -> None:
        """Read the batches of earlier runs.

        Args:
            endpoint: The server and its limits.
            connection: An open connection to it.
            journal: The open journal; the folder of the batches has its name.
            run_task: Runs one task to its end and adds its line.
            advance: Receives each ended task, and what the server has answered of running batches.
            calls_left: Number of requests that may be sent; None for no limit.

        Raises:
            SftdivError: A stored batch is on another server.
        """
        self._connection, self._journal, self._tries = connection, journal, endpoint.tries
        self._run_task, self._advance, self._calls_left = run_task, advance, calls_left
        self._files = BatchFiles(journal.batches, most_requests=endpoint.batch_requests)
        self._service: BatchService
        if endpoint.batch == "files":
            self._service = ResultFiles(self._files)
        else:
            self._service = OpenAIBatches(endpoint, connection, self._files, advance)
        self._unsent = deque(self._files.waiting)
        self._places = {custom_id: batch for batch in self._files.waiting for custom_id in batch.ids}
        self._tasks: dict[StoredBatch, list[_Waiting]] = {batch: [] for batch in self._files.waiting}
        self._open: list[_Waiting] = []  # tasks of the file that is being written
        self._stop: StoppedError | None = None

    async def run(self, queue: Iterator[RequestTask]) -> None:
        """Run all tasks to their end.

        Raises:
            SftdivError: A batch was refused or cancelled, or the user has not added its answers.
        """
        try:
            await self._run(queue)
        finally:
            self._files.stop()
        if self._stop is not None:
            raise self._stop
        self._files.clear()

    async def _run(self, queue: Iterator[RequestTask]) -> None:
        """Fill files, send them, and run the tasks again whose batches have ended, until no task waits."""
        sent: list[StoredBatch] = []
        while True:
            most = self._service.most
            while (most is None or len(sent) < most) and await self._fill(queue):
                await self._service.send(self._unsent[0])
                sent.append(self._unsent.popleft())
            if not sent:
                break
            for batch in await self._service.collect(sent):
                sent.remove(batch)
                for waiting in self._tasks.pop(batch):
                    await self._try(waiting)

    async def _fill(self, queue: Iterator[RequestTask]) -> bool:
        """Take tasks until a file is full or none is left; returns whether a file is to be sent."""
        while not self._unsent and self._stop is None and (task := next(queue, None)) is not None:
            await self._try(_Waiting(task))
        if not self._unsent and (batch := self._files.close()) is not None:
            self._complete(batch)
        return bool(self._unsent)

    async def _try(self, waiting: _Waiting) -> None:
        """Run a task as far as the stored answers go; then it ends, or waits for a batch."""
        chat = StoredChat(waiting.task, self._files, self._journal, self._connection, tries=self._tries)
        postponed: PostponedError | None = None
        try:
            await self._run_task(chat, waiting.task)
        except PostponedError as request:
            postponed = request
        if self._calls_left is not None:
            self._calls_left -= chat.sent - waiting.sent
        waiting.sent = chat.sent
        waiting.batches |= chat.used
        if postponed is None:
            self._files.ended(waiting.batches)
            self._advance()
        else:
            self._postpone(waiting, postponed)

    def _postpone(self, waiting: _Waiting, request: PostponedError) -> None:
        """Let a task wait for the batch that holds its request, which is written unless an earlier run did."""
        batch = self._places.pop(request.custom_id, None)
        if batch is not None:
            waiting.batches.add(batch)
            self._tasks[batch].append(waiting)
            return
        if self._calls_left is not None and self._calls_left < 0:
            self._stop = StoppedError(CALLS_ARE_SPENT)  # requests that are written are sent and awaited
            return
        completed = self._files.add(request.custom_id, request.body)
        if completed is not None:
            self._complete(completed)
        self._open.append(waiting)

    def _complete(self, batch: StoredBatch) -> None:
        """A file is complete: its tasks wait for its answers."""
        self._tasks[batch], self._open = self._open, []
        for waiting in self._tasks[batch]:
            waiting.batches.add(batch)
        self._unsent.append(batch)
