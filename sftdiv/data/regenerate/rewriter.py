"""One conversation with its responses rewritten: the requests that a row becomes, and what is written down of the answers.

In: a row's id and messages. Out: a question for `sftdiv.llm.batch_requests`, which ends as a line
of the new ``answers``. A conversation is rewritten turn by turn: each later request holds the
answers that the model gave before, not those that the corpus had, since a model that follows
another's words writes like it. The trade: a conversation is one line, so that a killed run asks its
earlier turns again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sftdiv.llm.batch_requests import ChatSession, RequestTask
from sftdiv.llm.endpoint import content
from sftdiv.llm.journal import FAILED
from sftdiv.records import SftdivError

WHOLE, CUT = "whole", "cut"  # states of a line: every answer ended by itself; one ran into the limit of tokens
# Servers that do not part thoughts leave them before the answer; without <think> where the chat template has said that already.
THOUGHTS = re.compile(r"\A(\s*<think>.*?(</think>|\Z)|((?!<think>).)*?</think>)", re.DOTALL)
Message = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Rewriter:
    """How a model is asked for responses; all of it decides what it answers.

    Attributes:
        model: Its name at the endpoint.
        temperature: None leaves it, like ``top_p`` and ``max_tokens``, to the server.
        top_p: Share of the probability that is sampled from.
        max_tokens: Of one response.
        seed: Each request's own seed is made of it and the row's id, turn and try; None sends none.
        system: Said before conversations that have no system turn of their own; it is not written.
            None: nothing.
        keep_thoughts: Whether what stands in ``<think>`` before an answer is part of the response.
        retries: Further answers at most where one is empty.
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
        if self.retries < 0:
            raise SftdivError(f"sampling.retries={self.retries} must be 0 or more")
        if taken := sorted({"model", "messages"} & set(self.extra)):
            raise SftdivError(f"sampling.extra may not hold {', '.join(taken)}: the request has fields of that name")

    def identity(self) -> dict[str, Any]:
        """What decides the answers, JSON-serialisable: all of it."""
        return {**asdict(self), "extra": dict(self.extra)}

    def question(self, key: str, messages: Sequence[Message]) -> RequestTask:
        """What to ask for one conversation, ``key`` being its row's id."""

        async def ask(asker: ChatSession) -> dict[str, Any]:
            return await self._rewrite(asker, key, messages)

        return RequestTask(key, ask)

    async def _rewrite(self, asker: ChatSession, key: str, messages: Sequence[Message]) -> dict[str, Any]:
        said: list[Message] = (
            []
            if self.system is None or messages[0]["role"] == "system"
            else [{"role": "system", "content": self.system}]
        )
        answers: list[str] = []
        written_by: Any = None
        state = WHOLE
        for message in messages:
            if message["role"] != "assistant":
                said.append(message)
                continue
            turn, so_far = len(answers), list(said)
            ask = lambda attempt, turn=turn, so_far=so_far: self.request(so_far, seed=self._seed(key, turn, attempt))  # noqa: E731
            line = await asker.read_body(ask, self._read, tries=self.retries + 1)
            if line["state"] == FAILED:
                return {"state": FAILED, "turn": turn}
            state = CUT if line["state"] == CUT else state
            answers.append(line["text"])
            written_by = line["written_by"]
            said.append({"role": "assistant", "content": line["text"]})
        return {"state": state, "answers": answers, "written_by": written_by}

    def _read(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The text of an answer and whether it is whole; one without a text is none."""
        text, ended = content(body)
        text = (text if self.keep_thoughts else THOUGHTS.sub("", text)).strip()
        if not text:
            return {"state": FAILED}
        names = {name: body[name] for name in ("model", "system_fingerprint") if body.get(name)}
        return {
            "state": CUT if ended == "length" else WHOLE,
            "text": characters(text),
            "written_by": " ".join(map(str, names.values())),
        }

    def request(self, messages: Sequence[Message], *, seed: int | None) -> dict[str, Any]:
        """The body of one request; settings that are None are left out."""
        asked = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens, "seed": seed}
        given = {name: value for name, value in asked.items() if value is not None}
        return {"model": self.model, "messages": list(messages), **given, **self.extra}

    def _seed(self, key: str, turn: int, attempt: int) -> int | None:
        """A seed of 31 bits: servers take what fits a signed integer."""
        if self.seed is None:
            return None
        digest = hashlib.blake2b(f"{self.seed}:{turn}:{attempt}:{key}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") >> 1


def characters(text: str) -> str:
    """The text with lone surrogates, which JSON escapes can make and UTF-8 cannot hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
