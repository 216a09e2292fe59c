"""Asking a model about many texts at once: what is in flight, what is asked again, and when to stop.

In: a tagger's settings, the texts that lack an answer, and the file of answers. Out: that file, filled. The first text is asked alone, so
that a wrong model, key or setting is one clear error before any work. The trade: a text that the server refuses later (too long, a content
filter) or never answers is counted as failed and the rest goes on, until more have failed than may.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from sftdiv.records import SftdivError
from sftdiv.units.tagging.answers import FAILED, Answers, summary, text_key
from sftdiv.units.tagging.endpoint import AGAIN, SHOWN, Connection, Reply
from sftdiv.units.tagging.parsing import parse_tags

if TYPE_CHECKING:
    from sftdiv.units.tagging.llm import LlmTagger

log = logging.getLogger(__name__)
OF_THE_TEXT = {400, 413, 422}  # refusals that may be about one text: too long, filtered
FORMAT_WORDS = ("response_format", "json_schema", "structured", "guided")


class Interview:
    """One pass over the texts that lack an answer."""

    def __init__(self, tagger: LlmTagger, answers: Answers, *, total: int) -> None:
        self._tagger = tagger
        self._answers = answers
        self._allowed = tagger.max_failed * total
        self._failed = 0
        self._schema = tagger.structured != "none"
        self._models: list[str] = []

    async def run(self, texts: Sequence[str]) -> None:
        """Ask about every text.

        Raises:
            SftdivError: If the server cannot be reached or refuses the first request, or too many texts fail.
        """
        endpoint = self._tagger.endpoint
        async with endpoint.connect() as connection:
            self._models = await connection.models()
            with _progress(len(self._answers.lines), len(texts)) as advance:
                queue = iter(texts)
                await self._ask(connection, next(queue), first=True)
                advance()
                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(endpoint.concurrency, len(texts) - 1)):
                            group.create_task(self._work(connection, queue, advance))
                except* SftdivError as stopped:
                    raise stopped.exceptions[0] from None

    async def _work(self, connection: Connection, queue: Iterator[str], advance: Any) -> None:
        for text in queue:  # shared by all workers: each takes the next
            await self._ask(connection, text, first=False)
            advance()

    async def _ask(self, connection: Connection, text: str, *, first: bool) -> None:
        """Ask about one text until an answer can be read, and write down what came of it."""
        line: dict[str, Any] = {"text": text_key(text), "answer": None, "state": FAILED, "asked_again": 0}
        errors: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        for attempt in range(self._tagger.retries + 1):
            reply = await self._reply(connection, text, attempt)
            errors.update(reply.errors)
            if reply.body is None:
                self._check_refusal(reply, first=first)
                line["refused"] = f"{reply.status} {reply.message}"
                break
            tokens.update(_used(reply.body))
            answer, ended = _content(reply.body)
            state = parse_tags(answer).state
            if state == "malformed":
                line["malformed"] = answer[:SHOWN]
            else:
                line |= {"answer": answer, "state": state}
            line["asked_again"] = attempt
            if state in {"clean", "repaired"} or (state == "cut" and ended == "length"):  # its own limit would cut it again
                break
        self._answers.add({**line, "errors": dict(errors), "tokens": dict(tokens)})
        self._count_failure(line)

    async def _reply(self, connection: Connection, text: str, attempt: int) -> Reply:
        """One reply; where the server knows no schema and may do without, the same again without it."""
        schema = self._schema
        reply = await connection.chat(self._tagger.request(text, attempt=attempt, schema=schema))
        about_format = any(word in reply.message for word in FORMAT_WORDS)
        if schema and self._tagger.structured == "auto" and reply.status in {400, 422} and about_format:
            if self._schema:
                log.info("the server knows no response_format of a JSON schema: answers are asked for in words alone")
            self._schema = False
            reply = await connection.chat(self._tagger.request(text, attempt=attempt, schema=False))
        return reply

    def _check_refusal(self, reply: Reply, *, first: bool) -> None:
        """Stop at a refusal that is not about one text."""
        if 400 <= reply.status < 500 and reply.status not in AGAIN and (first or reply.status not in OF_THE_TEXT):
            listed = f" The server lists the models {', '.join(self._models)}." if self._models and reply.status == 404 else ""
            raise SftdivError(
                f"{self._tagger.endpoint.base_url} refuses model={self._tagger.model!r} with {reply.status}: {reply.message}{listed}"
            )
        if first:
            raise SftdivError(
                f"{self._tagger.endpoint.base_url} gave no answer to the first request in {self._tagger.endpoint.tries} tries; "
                f"the last: {reply.status or ''} {reply.message}"
            )

    def _count_failure(self, line: Mapping[str, Any]) -> None:
        """Stop once more texts have failed than may."""
        self._failed += line["state"] == FAILED
        if self._failed > self._allowed:
            counts = summary(self._answers.lines.values())
            raise SftdivError(
                f"{self._failed} texts got no readable answer, more than max_failed={self._tagger.max_failed:g} allows; the last: "
                f"{line.get('refused', 'malformed answers')}. So far: {counts}. Nothing is lost: the same command asks only what is missing"
            )


def _content(body: Mapping[str, Any]) -> tuple[str, str]:
    """The answer's text and why it ended."""
    choice = body["choices"][0]
    return str((choice.get("message") or {}).get("content") or ""), str(choice.get("finish_reason"))


def _used(body: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of the prompt and the answer, where the server counts them."""
    usage = body.get("usage") or {}
    return {name: int(usage[name]) for name in ("prompt_tokens", "completion_tokens") if usage.get(name)}


class _Rate(ProgressColumn):
    """Texts a second."""

    def render(self, task: Task) -> Text:
        """The speed so far."""
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def _progress(done: int, missing: int) -> Iterator[Any]:
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn(), TextColumn("left"))
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("tagging", total=done + missing, completed=done)
        yield lambda: progress.advance(task)
