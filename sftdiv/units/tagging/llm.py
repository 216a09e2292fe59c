"""Tags from a language model behind an OpenAI-compatible endpoint (vLLM, transformers serve, hosted), as InsTag had them.

In: distinct texts and an endpoint. Out: the tags of each, with every answer kept (``llm.ledger``).
The prompt is InsTag's (Lu et al. 2023, arXiv 2308.07074), in YAML; where the server can, its answer
is held to a JSON schema. A malformed answer is asked for again, warmer, since at temperature 0 a
model repeats itself; what stays malformed is counted and holds no tags. The trade: the address is
not part of what decides the tags, so that a run can resume on another server; a model's name is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.llm.batch_requests import ChatSession, RequestTask, UnansweredError, run_requests, summary
from sftdiv.llm.endpoint import Endpoint
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import content_hash
from sftdiv.units.tagging.raw import RawTags
from sftdiv.units.tagging.tag_answers import FILE, STATES, answer_line, tags_of, text_key

log = logging.getLogger(__name__)
STRUCTURED = ("auto", "schema", "none")
PLACE = "{text}"  # where the text stands in the prompt
FORMAT_WORDS = ("response_format", "json_schema", "structured", "guided")


@dataclass(frozen=True, kw_only=True)
class LlmTagger:
    """Asks a model for the tags of each text.

    Attributes:
        endpoint: Where the model answers.
        model: Its name there.
        prompt: What it is asked, with ``{text}`` for the text.
        structured: ``schema`` holds the answer to a JSON schema, ``none`` does not, ``auto`` does
            until the server refuses.
        temperature: Of the first answer; None leaves it to the server.
        retry_temperature: Of further ones, after a malformed one.
        seed: Sent along (further answers: the next seeds); None leaves it out.
        max_tokens: Of an answer; None leaves it out.
        max_chars: Characters at which a text is cut.
        retries: Further answers at most where one is malformed.
        max_failed: Share of the texts that may end without a readable answer.
        extra: Further fields of the request, such as ``chat_template_kwargs``.
    """

    endpoint: Endpoint
    model: str
    prompt: str
    structured: str
    temperature: float | None
    retry_temperature: float | None
    seed: int | None
    max_tokens: int | None
    max_chars: int
    retries: int
    max_failed: float
    extra: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.structured not in STRUCTURED:
            raise SftdivError(
                f"strategy.units.tagger.structured={self.structured!r} is unknown. Known: {', '.join(STRUCTURED)}"
            )
        if self.retries < 0:
            raise SftdivError(f"strategy.units.tagger.retries={self.retries} must be 0 or more")
        if self.prompt.count(PLACE) != 1:
            raise SftdivError(
                f"strategy.units.tagger.prompt must hold {PLACE} once, where the text stands; got {self.prompt[:200]!r}"
            )

    def identity(self) -> dict[str, Any]:
        """What decides the tags: the model's name, the prompt (its digest) and how it is asked; not where or how fast."""
        names = (
            "model",
            "structured",
            "temperature",
            "retry_temperature",
            "seed",
            "max_tokens",
            "max_chars",
            "retries",
        )
        asked = {name: getattr(self, name) for name in names}
        return {"name": "llm", **asked, "prompt": content_hash(self.prompt), "extra": dict(self.extra)}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """The tags of every text; answers go to ``partial`` as they come, and those that lie there are not asked for again.

        Raises:
            SftdivError: If the server cannot be reached or refuses, or more texts than
                ``max_failed`` end without a readable answer.
        """
        self.endpoint.key()
        asking = _Asking(self)
        with Journal(partial / FILE) as ledger:
            log.info(
                "%d of %d texts are answered; %s is asked about the others",
                len(ledger),
                len(texts),
                self.endpoint.base_url,
            )
            questions = (asking.question(text) for text in texts)
            total = len(texts)
            run_requests(
                self.endpoint,
                questions,
                ledger,
                total=total,
                max_failed=self.max_failed,
                label="tagging",
                model=self.model,
            )
            counts = summary(ledger.lines(), states=STATES)
            record = {"prompt": self.prompt, "cut_texts": sum(len(text) > self.max_chars for text in texts), **counts}
            return RawTags(tags_of(ledger, texts), record)

    def request(self, text: str, *, attempt: int, schema: bool) -> dict[str, Any]:
        """The body of one request, shape of OpenAI's chat completions; settings that are None are left out."""
        asked = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt.replace(PLACE, text[: self.max_chars])}],
            "temperature": self.temperature if attempt == 0 else self.retry_temperature,
            "max_tokens": self.max_tokens,
            "seed": None if self.seed is None else self.seed + attempt,
            "response_format": SCHEMA if schema else None,
        }
        return {name: value for name, value in asked.items() if value is not None} | dict(self.extra)


class _Asking:
    """The questions of one tagging; once a server has refused a schema, the others are asked without."""

    def __init__(self, tagger: LlmTagger) -> None:
        self._tagger = tagger
        self._schema = tagger.structured != "none"

    def question(self, text: str) -> RequestTask:
        """Ask about one text until its answer can be read."""

        async def ask(asker: ChatSession) -> dict[str, Any]:
            try:
                return await self._readable(asker, text)
            except UnansweredError as refused:
                self._forgo_schema(refused)
                return await self._readable(asker, text)

        return RequestTask(text_key(text), ask)

    async def _readable(self, asker: ChatSession, text: str) -> dict[str, Any]:
        """A line of tags; a list that ends in the middle is asked for again, unless its own limit cut it, and kept if no better comes."""
        kept: dict[str, Any] = {}

        def read(answer: str, ended: str) -> dict[str, Any]:
            line = answer_line(answer)
            if line["state"] != "cut" or ended == "length":
                return line
            kept.update(line)
            return {"state": FAILED}

        def request(attempt: int) -> dict[str, Any]:
            return self._tagger.request(text, attempt=attempt, schema=self._schema)

        line = await asker.read_text(request, read, tries=self._tagger.retries + 1)
        return kept or line if line["state"] == FAILED else line

    def _forgo_schema(self, refused: UnansweredError) -> None:
        """Ask without a schema where the server knows none and the tagger may do without.

        Raises:
            UnansweredError: If the refusal is about something else.
        """
        about_format = any(word in refused.reply.message for word in FORMAT_WORDS)
        if self._tagger.structured != "auto" or refused.reply.status not in {400, 422} or not about_format:
            raise refused
        if self._schema:
            log.info("the server knows no response_format of a JSON schema: answers are asked for in words alone")
        self._schema = False


ENTRY = {
    "type": "object",
    "properties": {"tag": {"type": "string"}, "explanation": {"type": "string"}},
    "required": ["tag", "explanation"],
    "additionalProperties": False,
}
SCHEMA = {  # strict mode wants an object at the top
    "type": "json_schema",
    "json_schema": {
        "name": "tags",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"tags": {"type": "array", "items": ENTRY}},
            "required": ["tags"],
            "additionalProperties": False,
        },
    },
}
