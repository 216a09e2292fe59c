"""Rewrites the responses of one conversation: the requests, and the resulting line of the journal.

A conversation is rewritten turn by turn. Each request contains the responses that the model gave before
and not those of the corpus, since a model that continues another's words writes like it. A conversation
is one line, so a killed run repeats the turns of unfinished conversations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftdiv.llm.answer_text import escape_surrogates, without_thoughts
from sftdiv.llm.batch_requests import ChatSession, RequestTask
from sftdiv.llm.endpoint import content
from sftdiv.llm.journal import FAILED
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range

WHOLE, CUT = "whole", "cut"  # states of a line: all responses ended by themselves; one reached the token limit
Message = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Rewriter:
    """Settings of the requests; all of them decide the responses.

    Attributes:
        model: Model name at the endpoint.
        temperature: Sampling temperature. None leaves it, like ``top_p`` and ``max_tokens``, to the server.
        top_p: Probability mass of nucleus sampling.
        max_tokens: Token limit of one response.
        seed: Base of the seed of each request, with row id, turn and attempt; None sends no seed.
        system: System prompt of conversations that have none; sent, but not written. None for no prompt.
        keep_thoughts: Whether a ``<think>`` block before the response is part of it.
        retries: Maximal number of further attempts after an empty response.
        extra: Further fields of the request, such as ``chat_template_kwargs``.
    """

    model: str
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    system: str | None
    keep_thoughts: bool
    retries: int
    extra: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_range("sampling.retries", self.retries, least=0, whole=True)
        if reserved := sorted({"model", "messages"} & set(self.extra)):
            raise SftdivError(f"sampling.extra may not hold {', '.join(reserved)}: the request has fields of that name")

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return settings_identity(self)

    def question(self, key: str, messages: Sequence[Message]) -> RequestTask:
        """The requests of one conversation; ``key`` is its row's id."""

        async def ask(asker: ChatSession) -> dict[str, Any]:
            return await self._rewrite(asker, key, messages)

        return RequestTask(key, ask)

    async def _rewrite(self, asker: ChatSession, key: str, messages: Sequence[Message]) -> dict[str, Any]:
        context: list[Message] = []
        if self.system is not None and messages[0]["role"] != "system":
            context.append({"role": "system", "content": self.system})
        answers: list[str] = []
        written_by: Any = None
        state = WHOLE
        for message in messages:
            if message["role"] != "assistant":
                context.append(message)
                continue
            turn, history = len(answers), list(context)
            ask = lambda attempt, turn=turn, history=history: self.request(history, seed=self._seed(key, turn, attempt))  # noqa: E731
            line = await asker.read_body(ask, self._read, tries=self.retries + 1)
            if line["state"] == FAILED:
                return {"state": FAILED, "turn": turn}
            state = CUT if line["state"] == CUT else state
            answers.append(line["text"])
            written_by = line["written_by"]
            context.append({"role": "assistant", "content": line["text"]})
        return {"state": state, "answers": answers, "written_by": written_by}

    def _read(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Text of a response and whether it is whole; an empty one has failed."""
        text, ended = content(body)
        text = (text if self.keep_thoughts else without_thoughts(text)).strip()
        if not text:
            return {"state": FAILED}
        names = {name: body[name] for name in ("model", "system_fingerprint") if body.get(name)}
        return {
            "state": CUT if ended == "length" else WHOLE,
            "text": text,
            "written_by": escape_surrogates(" ".join(map(str, names.values()))),
        }

    def request(self, messages: Sequence[Message], *, seed: int | None) -> dict[str, Any]:
        """The body of one request; settings that are None are left out."""
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens, "seed": seed}
        sent = {name: value for name, value in sampling.items() if value is not None}
        return {"model": self.model, "messages": list(messages), **sent, **self.extra}

    def _seed(self, key: str, turn: int, attempt: int) -> int | None:
        """A seed of 31 bits, since servers accept signed integers."""
        if self.seed is None:
            return None
        digest = hashlib.blake2b(f"{self.seed}:{turn}:{attempt}:{key}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") >> 1
