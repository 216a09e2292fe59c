"""One unit of work for a model: a task that fills one journal line, and the session through which it sends requests.

A task is a key and a coroutine. It may send any number of requests, so a conversation of several
turns, a verdict and a list of tags all fit. The session counts the requests, failures and tokens of
its task and repeats a request whose reply cannot be parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sftdiv.llm.endpoint import Reply, content, token_usage
from sftdiv.llm.journal import FAILED
from sftdiv.llm.transport import MESSAGE_CHARS


class UnansweredError(Exception):
    """A request without a reply: refused, or out of tries. A task that does not catch it ends as a failed line."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status or ''} {reply.message}".strip())
        self.reply = reply


class Chat(Protocol):
    """Answers chat requests: a connection, or the stored answers of a batch."""

    async def chat(self, request: Mapping[str, Any], errors: Counter[str] | None = None) -> Reply:
        """The reply to one request; ``errors`` counts failed tries by kind."""
        ...


class ChatSession:
    """Sends the requests of one task and counts them.

    Attributes:
        errors: Number of failed requests by kind.
        tokens: Number of prompt and completion tokens, where the server reports them.
        answers: Number of answered requests.
        unparsed: Number of replies that could not be parsed and were requested again.
        malformed: The last reply that could not be parsed, shortened.
    """

    def __init__(self, connection: Chat) -> None:
        self._connection = connection
        self.errors: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.answers = 0
        self.unparsed = 0
        self.malformed: str | None = None

    async def reply(self, request: Mapping[str, Any]) -> Reply:
        """The reply to one request; the connection retries where that can help.

        Raises:
            UnansweredError: If there is no reply.
        """
        reply = await self._connection.chat(request, self.errors)
        if reply.body is None:
            raise UnansweredError(reply)
        self.answers += 1
        self.tokens.update(token_usage(reply.body))
        return reply

    async def read_text(
        self, request: Callable[[int], Mapping[str, Any]], read: Callable[[str, str], dict[str, Any]], *, tries: int
    ) -> dict[str, Any]:
        """Send ``request(0)``, ``request(1)`` ... until ``read(text, finish_reason)`` returns a line that did not fail.

        Raises:
            UnansweredError: If a request has no reply.
        """
        return await self.read_body(request, lambda body: read(*content(body)), tries=tries)

    async def read_body(
        self,
        request: Callable[[int], Mapping[str, Any]],
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
        *,
        tries: int,
    ) -> dict[str, Any]:
        """Same as ``read_text``, but ``read`` receives the whole decoded body, such as its log-probabilities."""
        for attempt in range(tries):
            body = (await self.reply(request(attempt))).body or {}
            try:
                line = read(body)
            except RecursionError:  # nested too deeply
                line = {"state": FAILED}
            if line["state"] != FAILED:
                break
            self.malformed = content(body)[0][:MESSAGE_CHARS]
            self.unparsed += attempt + 1 < tries
        return line

    def counts(self) -> dict[str, Any]:
        """The counts as fields of the journal line."""
        malformed = {} if self.malformed is None else {"malformed": self.malformed}
        return {
            **malformed,
            "errors": dict(self.errors),
            "tokens": dict(self.tokens),
            "calls": self.errors.total() + self.answers,
            "asked_again": self.unparsed,
        }


@dataclass(frozen=True)
class RequestTask:
    """One journal line to fill.

    Attributes:
        key: Key of the line.
        run: Coroutine that sends the requests and returns the line's fields, ``state`` among them.
    """

    key: str
    run: Callable[[ChatSession], Awaitable[dict[str, Any]]]
