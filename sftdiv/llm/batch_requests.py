"""Asking a model many questions at once: what is in flight, what is asked again, when to stop, and what is written down of it.

In: an endpoint, questions and a ledger. Out: the ledger, with a line a question. Where nothing was
answered yet, one is asked at a time until one is, so that a wrong model, key or setting is one
clear error before any work. The trade: a question that the server refuses later (too long, a
content filter) or never answers is counted as failed and the rest goes on, until more have failed
than may; on a stop nothing more is sent, and what is in flight is waited for, since it is paid for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from sftdiv.llm.connection import AGAIN, Connection, StoppedError
from sftdiv.llm.endpoint import Endpoint, Reply
from sftdiv.llm.journal import FAILED, Ledger
from sftdiv.llm.request import Asker, Question, UnansweredError
from sftdiv.llm.request_progress import Advance, progress
from sftdiv.records import SftdivError

__all__ = ["Asker", "Question", "UnansweredError", "interview", "summary"]
OF_THE_TEXT = {400, 413, 422}  # refusals that may be about one text: too long, filtered
OPENING = 3  # such refusals in a row, with no answer before, are about the setting


def interview(
    endpoint: Endpoint,
    questions: Iterable[Question],
    ledger: Ledger,
    *,
    total: int,
    max_failed: float,
    label: str,
    model: str,
    max_calls: int | None = None,
    bound: str = "max_failed",
) -> list[str]:
    """Ask every question that the ledger holds no answer to, and write a line for each as soon as it ends.

    Args:
        endpoint: Where the model answers; it bounds how many are asked at once.
        questions: Taken one by one, as they can be asked.
        ledger: Open; lines that failed are asked again.
        total: Number of questions, those that are answered already included.
        max_failed: Share of them that may end as a failed line.
        label: What it is called while it runs, such as ``tagging``.
        model: Its name, for messages.
        max_calls: HTTP requests at most, over all runs of this ledger (but for those that were in
            flight when a run was killed).
        bound: What ``max_failed`` is called where a user sets it, for messages.

    Returns:
        The models that the server lists; none where it keeps no list, or nothing was asked.

    Raises:
        SftdivError: If the server cannot be reached or refuses the first request, too many
            questions fail, or the calls are spent.
    """
    asking = _Interview(endpoint, ledger, allowed=max_failed * total, bound=bound, label=label, model=model)
    return asyncio.run(asking.run(questions, total, max_calls))


class _Interview:
    """One pass over the questions."""

    def __init__(
        self, endpoint: Endpoint, ledger: Ledger, *, allowed: float, bound: str, label: str, model: str
    ) -> None:
        self._endpoint = endpoint
        self._ledger = ledger
        self._allowed = allowed
        self._bound = bound
        self._label = label
        self._model = model
        self._failed = 0
        self._last = ""
        self._models: list[str] = []
        self._stop: SftdivError | None = None

    async def run(self, questions: Iterable[Question], total: int, max_calls: int | None) -> list[str]:
        """Ask what is missing: one at a time until one is answered, then as many at once as the endpoint allows."""
        with progress(self._label, total) as advance:
            queue = self._missing(questions, advance)
            first = next(queue, None)
            if first is None:
                return []
            queue = chain([first], queue)
            left = None if max_calls is None else max_calls - self._ledger.calls
            async with self._endpoint.connect(most_calls=left) as connection:
                self._models = await connection.models()
                if not any(self._ledger.done(key) for key in self._ledger):
                    await self._open(connection, queue, advance)
                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(self._endpoint.concurrency, total)):
                            group.create_task(self._work(connection, queue, advance))
                except* Exception as failed:  # a fault of a question, or of the disk
                    raise failed.exceptions[0] from None
        if self._stop is not None:
            raise self._stop
        return self._models

    def _missing(self, questions: Iterable[Question], advance: Advance) -> Iterator[Question]:
        """The questions without an answer, one at a time."""
        for question in questions:
            if self._ledger.done(question.key):
                advance(False)
            else:
                yield question

    async def _open(self, connection: Connection, queue: Iterator[Question], advance: Advance) -> None:
        """Ask one question at a time until one is answered."""
        refused: UnansweredError | None = None
        for question in islice(queue, OPENING):
            refused = await self._ask(connection, question)
            advance(True)
            if refused is None or refused.reply.status not in OF_THE_TEXT:
                break
        if refused is not None:
            raise self._refusal(refused.reply)
        self._check_failed()

    async def _work(self, connection: Connection, queue: Iterator[Question], advance: Advance) -> None:
        """Ask one question after the other until there is none left or a reason to stop."""
        for question in queue:  # shared by all workers: each takes the next
            try:
                await self._ask(connection, question)
                self._check_failed()
            except SftdivError as stop:
                self._stop = self._stop or stop
                connection.close()
            advance(True)
            if self._stop is not None:
                return

    async def _ask(self, connection: Connection, question: Question) -> UnansweredError | None:
        """Ask one question and write down what came of it; gives why there was no answer, where there was none."""
        asker, unanswered = Asker(connection), None
        try:
            line = await question.ask(asker)
        except UnansweredError as refused:
            if 400 <= refused.reply.status < 500 and refused.reply.status not in AGAIN | OF_THE_TEXT:
                raise self._refusal(refused.reply) from None
            unanswered, line = refused, {"state": FAILED, "refused": str(refused)}
        except StoppedError as stopped:
            if asker.errors or asker.answers:  # its calls count, whatever became of them
                self._ledger.add({"key": question.key, "state": FAILED, "refused": str(stopped), **asker.counts()})
            raise
        self._ledger.add({"key": question.key, **line, **asker.counts()})
        if line["state"] == FAILED:
            self._failed += 1
            self._last = line.get("refused") or f"an answer that cannot be read: {(asker.malformed or '')[:100]!r}"
        return unanswered

    def _refusal(self, reply: Reply) -> SftdivError:
        """The error of a server that answers nothing that is asked like this."""
        if 400 <= reply.status < 500 and reply.status not in AGAIN:
            listed = (
                f" The server lists the models {', '.join(self._models)}."
                if self._models and reply.status == 404
                else ""
            )
            return SftdivError(
                f"{self._endpoint.base_url} refuses model={self._model!r} with {reply.status}: {reply.message}{listed}"
            )
        return SftdivError(
            f"{self._endpoint.base_url} gave no answer to the first request in {self._endpoint.tries} tries; "
            f"the last: {reply.status or ''} {reply.message}"
        )

    def _check_failed(self) -> None:
        """Stop once more have failed than may."""
        if self._failed > self._allowed:
            raise SftdivError(
                f"{self._label}: {self._failed} got no readable answer, more than the {self._allowed:g} that {self._bound} allows; "
                f"the last: {self._last}. So far: {summary(self._ledger.lines())}. Nothing is lost: the same command asks only "
                "what is missing"
            )


def summary(lines: Iterable[Mapping[str, Any]], *, states: Iterable[str] = (FAILED,)) -> dict[str, Any]:
    """Counts over lines: of each state (``states`` are named even where there are none), answers asked for again, calls, errors, tokens."""
    counted: Counter[str] = Counter(dict.fromkeys(states, 0))
    errors: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    asked = again = calls = 0
    for line in lines:
        asked, again, calls = asked + 1, again + int(line.get("asked_again", 0)), calls + int(line.get("calls", 0))
        counted[str(line["state"])] += 1
        errors.update(line.get("errors", {}))
        tokens.update(line.get("tokens", {}))
    return {
        "asked": asked,
        **counted,
        "asked_again": again,
        "calls": calls,
        "errors": dict(sorted(errors.items())),
        "tokens": dict(sorted(tokens.items())),
    }
