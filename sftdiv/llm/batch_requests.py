"""Runs many request tasks against one endpoint: concurrency, repeated failures, stopping, and the journal.

Tasks come as an iterable and are taken one by one. Each ends as one line of the journal; tasks with
a successful line are skipped. In an empty journal the first tasks run one at a time until one
succeeds, so that a wrong model, key or setting is one clear error before any work. Later, a task
that the server refuses (too long, content filter) or never answers is marked as failed and the others
go on, until more have failed than ``max_failed`` allows. On a stop no further requests are sent;
those in flight are awaited, because they are paid for. With a batch interface only the first tasks are sent one by
one; see `sftdiv.llm.batch_run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from sftdiv.llm.batch_files import BatchFiles
from sftdiv.llm.batch_run import BatchRun
from sftdiv.llm.chat_tries import RETRIED, TEXT_REFUSALS, concerns_all_requests
from sftdiv.llm.connection import Connection, StoppedError
from sftdiv.llm.endpoint import Endpoint, Reply
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.llm.request import Chat, ChatSession, RequestTask, UnansweredError
from sftdiv.records import SftdivError
from sftdiv.storage.progress_bar import Advance, progress_bar

log = logging.getLogger(__name__)
__all__ = ["ChatSession", "RequestTask", "UnansweredError", "run_requests", "summary"]
PROBES = 3  # such refusals in a row, before any success, concern the settings


def run_requests(
    endpoint: Endpoint,
    tasks: Iterable[RequestTask],
    journal: Journal,
    *,
    total: int,
    max_failed: float,
    label: str,
    model: str,
    max_calls: int | None = None,
    bound: str = "max_failed",
) -> list[str]:
    """Run every task that has no successful line in the journal, and add a line for each as soon as it ends.

    Args:
        endpoint: The server; it limits the number of tasks at once.
        tasks: Taken one by one, as capacity becomes free.
        journal: An open journal; failed lines are requested again.
        total: Number of tasks, including those with a successful line.
        max_failed: Share of the tasks that may end with a failed line.
        label: Name of the activity in progress output and messages, such as ``tagging``.
        model: Name of the model, for messages.
        max_calls: Maximum number of HTTP requests over all runs with this journal (without those in
            flight when a run was killed).
        bound: Name of the setting behind ``max_failed``, for messages.

    Returns:
        The models that the server lists; empty where it has no list, or no request was needed.

    Raises:
        SftdivError: If the server cannot be reached or refuses the first request, too many tasks
            fail, or ``max_calls`` is reached.
    """
    batch = _Batch(endpoint, journal, allowed=max_failed * total, bound=bound, label=label, model=model)
    return asyncio.run(batch.run(tasks, total, max_calls))


class _Batch:
    """One pass over the tasks."""

    def __init__(
        self, endpoint: Endpoint, journal: Journal, *, allowed: float, bound: str, label: str, model: str
    ) -> None:
        self._endpoint = endpoint
        self._journal = journal
        self._allowed = allowed
        self._bound = bound
        self._label = label
        self._model = model
        self._failed = 0
        self._last_failure = ""
        self._models: list[str] = []
        self._stop: SftdivError | None = None

    async def run(self, tasks: Iterable[RequestTask], total: int, max_calls: int | None) -> list[str]:
        """Run the missing tasks: one at a time until one succeeds, then as many at once as the endpoint allows."""
        with progress_bar(self._label, total, unit="requests") as advance:
            queue = self._missing(tasks, advance)
            first = next(queue, None)
            if first is None:
                if self._has_batches():  # a kill left answers that are lines by now
                    BatchFiles(self._journal.batches, most_requests=self._endpoint.batch_requests).clear()
                return []
            queue = chain([first], queue)
            calls_left = None if max_calls is None else max_calls - self._journal.calls
            async with self._endpoint.connect(max_calls=calls_left) as connection:
                if self._endpoint.batch != "files":
                    self._models = await connection.models()
                    if not (any(map(self._journal.done, self._journal)) or self._has_batches()):
                        await self._probe(connection, queue, advance)
                if self._endpoint.batch is None:
                    await self._run_singly(connection, queue, advance, total)
                else:
                    calls_left = None if max_calls is None else max_calls - self._journal.calls
                    settings = (self._endpoint, connection, self._journal, self._run_checked, advance)
                    await BatchRun(*settings, calls_left=calls_left).run(queue)
        if self._stop is not None:
            raise self._stop
        return self._models

    async def _run_singly(
        self, connection: Connection, queue: Iterator[RequestTask], advance: Advance, total: int
    ) -> None:
        """Run the tasks with one HTTP request for each of theirs, as many at once as the endpoint allows."""
        if self._has_batches():
            log.warning("batches of an earlier run are in %s; batch=openai adopts them", self._journal.batches)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._endpoint.concurrency, total)):
                    group.create_task(self._work(connection, queue, advance))
        except* Exception as failures:  # an error in a task itself, or of the disk
            raise failures.exceptions[0] from None

    def _has_batches(self) -> bool:
        return self._journal.batches.exists()

    def _missing(self, tasks: Iterable[RequestTask], advance: Advance) -> Iterator[RequestTask]:
        """The tasks without a successful line."""
        for task in tasks:
            if self._journal.done(task.key):
                advance(earlier=True)
            else:
                yield task

    async def _probe(self, connection: Connection, queue: Iterator[RequestTask], advance: Advance) -> None:
        """Run one task at a time until one succeeds."""
        refusal: UnansweredError | None = None
        for task in islice(queue, PROBES):
            refusal = await self._run_task(connection, task)
            advance()
            if refusal is None or refusal.reply.status not in TEXT_REFUSALS:
                break
        if refusal is not None:
            raise self._refusal_error(refusal.reply)
        self._check_failed()

    async def _work(self, connection: Connection, queue: Iterator[RequestTask], advance: Advance) -> None:
        """Run one task after another until none is left or the batch stops."""
        for task in queue:  # shared by all workers: each takes the next
            try:
                await self._run_checked(connection, task)
            except SftdivError as stop:
                self._stop = self._stop or stop
                connection.close()
            advance()
            if self._stop is not None:
                return

    async def _run_checked(self, connection: Chat, task: RequestTask) -> None:
        """Run one task; stop if too many have failed."""
        await self._run_task(connection, task)
        self._check_failed()

    async def _run_task(self, connection: Chat, task: RequestTask) -> UnansweredError | None:
        """Run one task and add its line; return the refusal where the server gave no reply."""
        session, refusal = ChatSession(connection), None
        try:
            line = await task.run(session)
        except UnansweredError as error:
            if concerns_all_requests(error.reply.status):
                raise self._refusal_error(error.reply) from None
            refusal, line = error, {"state": FAILED, "refused": str(error)}
        except StoppedError as stopped:
            if session.errors or session.answers:  # its requests count towards max_calls
                self._journal.add({"key": task.key, "state": FAILED, "refused": str(stopped), **session.counts()})
            raise
        self._journal.add({"key": task.key, **line, **session.counts()})
        if line["state"] == FAILED:
            self._failed += 1
            self._last_failure = (
                line.get("refused") or f"an answer that cannot be parsed: {(session.malformed or '')[:100]!r}"
            )
        return refusal

    def _refusal_error(self, reply: Reply) -> SftdivError:
        """The error for a server that refuses every request of this form."""
        url = self._endpoint.base_url
        if 300 <= reply.status < 400:
            return SftdivError(f"{url} answers {reply.status} and {reply.message}")
        if 400 <= reply.status < 500 and reply.status not in RETRIED:
            listed = ""
            if self._models and reply.status == 404:
                listed = f" The server lists the models {', '.join(self._models)}."
            return SftdivError(f"{url} refuses model={self._model!r} with {reply.status}: {reply.message}{listed}")
        return SftdivError(
            f"{url} gave no reply to the first request in {self._endpoint.tries} tries; "
            f"the last: {reply.status or ''} {reply.message}"
        )

    def _check_failed(self) -> None:
        """Stop once more tasks have failed than allowed."""
        if self._failed > self._allowed:
            raise SftdivError(
                f"{self._label}: {self._failed} got no readable answer, more than the {self._allowed:g} that "
                f"{self._bound} allows; the last: {self._last_failure}. So far: {summary(self._journal.lines())}. "
                "Nothing is lost: the same command sends only the missing requests"
            )


def summary(lines: Iterable[Mapping[str, Any]], *, states: Iterable[str] = (FAILED,)) -> dict[str, Any]:
    """Counts over journal lines.

    Args:
        lines: Lines of a journal.
        states: States that are counted even where no line has them.

    Returns:
        ``asked`` (lines), a count per state, ``asked_again`` (replies that were requested again),
        ``calls`` (HTTP requests), ``errors`` by kind and ``tokens`` by kind.
    """
    by_state: Counter[str] = Counter(dict.fromkeys(states, 0))
    errors: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    count = repeated = calls = 0
    for line in lines:
        count += 1
        repeated += int(line.get("asked_again", 0))
        calls += int(line.get("calls", 0))
        by_state[str(line["state"])] += 1
        errors.update(line.get("errors", {}))
        tokens.update(line.get("tokens", {}))
    return {
        "asked": count,
        **by_state,
        "asked_again": repeated,
        "calls": calls,
        "errors": dict(sorted(errors.items())),
        "tokens": dict(sorted(tokens.items())),
    }
