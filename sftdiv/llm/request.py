"""How one question is asked: what it may use, what is counted on the way, and how an answer that cannot be read is asked for again.

In: a session. Out: answers to a question's requests, and the counts that its line ends with. The
trade: a question is a function that asks what it likes, so that a conversation of several turns, a
verdict and a list of tags need no more than this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sftdiv.llm.connection import SHOWN, Connection
from sftdiv.llm.endpoint import Reply, content, used
from sftdiv.llm.journal import FAILED


class UnansweredError(Exception):
    """A request that came to nothing: refused, or out of tries. An interview makes a failed line of it; a question may catch it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status or ''} {reply.message}".strip())
        self.reply = reply


class Asker:
    """What a question may use to ask; it counts what its line is told of.

    Attributes:
        errors: Requests that failed, by kind.
        tokens: Of prompts and answers, where the server counts them.
        answers: Requests that were answered.
        asked_again: Answers that could not be read, each of which was asked for again or given up.
        malformed: The last of these, shortened.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.errors: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.answers = 0
        self.asked_again = 0
        self.malformed: str | None = None

    async def reply(self, request: Mapping[str, Any]) -> Reply:
        """The answer to one request, which the endpoint tries again where that can help.

        Raises:
            UnansweredError: If there is none.
        """
        reply = await self._connection.chat(request, self.errors)
        if reply.body is None:
            raise UnansweredError(reply)
        self.answers += 1
        self.tokens.update(used(reply.body))
        return reply

    async def readable(
        self, request: Callable[[int], Mapping[str, Any]], read: Callable[[str, str], dict[str, Any]], *, tries: int
    ) -> dict[str, Any]:
        """Ask ``request(0)``, ``request(1)``, ... until ``read(text, finish_reason)`` gives a line that did not fail.

        Raises:
            UnansweredError: If a request comes to nothing.
        """
        return await self.readable_body(request, lambda body: read(*content(body)), tries=tries)

    async def readable_body(
        self,
        request: Callable[[int], Mapping[str, Any]],
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
        *,
        tries: int,
    ) -> dict[str, Any]:
        """As ``readable``, where ``read`` takes the whole decoded body: what reads the log-probabilities needs them."""
        for attempt in range(tries):
            body = (await self.reply(request(attempt))).body or {}
            line = read(body)
            if line["state"] != FAILED:
                break
            self.malformed = content(body)[0][:SHOWN]
            self.asked_again += attempt + 1 < tries
        return line

    def counts(self) -> dict[str, Any]:
        """What its line is told of."""
        calls = self.errors.total() + self.answers
        malformed = {} if self.malformed is None else {"malformed": self.malformed}
        return {
            **malformed,
            "errors": dict(self.errors),
            "tokens": dict(self.tokens),
            "calls": calls,
            "asked_again": self.asked_again,
        }


@dataclass(frozen=True)
class Question:
    """What is asked: the key of the line that it ends as, and how; ``ask`` gives the line's further fields, with ``state``."""

    key: str
    ask: Callable[[Asker], Awaitable[dict[str, Any]]]
