"""Tags from a language model behind an OpenAI-compatible endpoint (vLLM, transformers serve, hosted), as in InsTag.

The prompt is InsTag's (Lu et al. 2023, arXiv 2308.07074), set in YAML; where the server supports
it, the answer must follow a JSON schema. Every answer is stored (``llm.journal``). A malformed
answer is requested again at a higher temperature, since at temperature 0 a model repeats itself;
texts without a parsable answer are counted and have no tags. The model's name identifies the tags,
the address does not, so that a run can resume on another server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sftdiv.llm.batch_requests import ChatSession, RequestTask, UnansweredError, run_requests, summary
from sftdiv.llm.endpoint import Endpoint
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.protocols import ShardExecutor
from sftdiv.records import RawTags, SftdivError
from sftdiv.storage.hashing import content_hash, settings_identity
from sftdiv.storage.validate import check_one_of, check_range
from sftdiv.units.tagging import llm_shards
from sftdiv.units.tagging.tag_answers import FILE, STATES, answer_line, tags_of, text_key

log = logging.getLogger(__name__)
STRUCTURED = ("auto", "schema", "none")
PLACEHOLDER = "{text}"
FORMAT_WORDS = ("response_format", "json_schema", "structured", "guided")


@dataclass(frozen=True, kw_only=True)
class LlmTagger:
    """Requests the tags of each text from a model.

    Attributes:
        endpoint: Endpoint of the model.
        model: Name of the model at the endpoint.
        prompt: Prompt, with ``{text}`` in place of the text.
        structured: ``schema`` constrains the answer by a JSON schema, ``none`` does not, ``auto``
            does until the server rejects the schema.
        temperature: Temperature of the first answer; None for the server's default.
        retry_temperature: Temperature of further answers, after a malformed one.
        seed: Seed of the first answer (further answers use the next seeds); None for the server's
            default.
        max_tokens: Maximum tokens of an answer; None for the server's default.
        max_chars: Maximum characters of a text; longer texts are truncated.
        retries: Maximum number of further answers after a malformed one.
        max_failed: Share of the texts that may end without a parsable answer; decides only whether
            the run fails.
        extra: Further fields of the request, such as ``chat_template_kwargs``.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"endpoint", "max_failed"})
    kind_column: ClassVar[str] = "name"

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
        check_one_of("strategy.units.tagger.structured", self.structured, STRUCTURED)
        check_range("strategy.units.tagger.retries", self.retries, least=0, whole=True)
        check_prompt(self.prompt)

    def identity(self) -> dict[str, Any]:
        """Model name, digest of the prompt and settings of the requests; ``retry_temperature`` only with retries."""
        settings = settings_identity(self)
        if not self.retries:
            del settings["retry_temperature"]
        return {"kind": "llm", **settings, "prompt": content_hash(self.prompt)}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """The tags of every text.

        Args:
            texts: Distinct texts.
            partial: Folder of the journal; texts that are answered there are not requested again.

        Raises:
            SftdivError: If the server cannot be reached or rejects the requests, or if more texts
                than ``max_failed`` allows end without a parsable answer.
        """
        with Journal(partial / FILE) as journal:
            self._request_all(texts, journal, self.max_failed)
            counts = summary(journal.lines(), states=STATES)
            truncated = sum(len(text) > self.max_chars for text in texts)
            return RawTags(tags_of(journal, texts), {"prompt": self.prompt, "cut_texts": truncated, **counts})

    def tag_sharded(self, texts: Sequence[str], partial: Path, *, compute: ShardExecutor) -> RawTags:
        """The tags of every text, see `tag`; those of many texts are requested in shards (`llm_shards`).

        A Batch API does the work elsewhere, so that its batches are not cut into shards. What failed in a shard is
        requested once more at the end.
        """
        if len(texts) > llm_shards.SHARD and self.endpoint.batch is None and not (partial / FILE).exists():
            llm_shards.fill_journal(
                self._request_all, texts, partial / FILE, max_failed=self.max_failed, compute=compute
            )
        return self.tag(texts, partial)

    def _request_all(self, texts: Sequence[str], journal: Journal, max_failed: float) -> None:
        """Request the tags of the texts that the journal does not have."""
        self.endpoint.key()  # fails early where the key is missing
        requests = _Requests(self)
        url = self.endpoint.base_url
        log.info("%d of %d texts have an answer; requesting the others from %s", len(journal), len(texts), url)
        run_requests(
            self.endpoint,
            # Sorted, so that texts with equal beginnings are sent together: servers such as vLLM cache prefixes.
            (requests.question(text) for text in llm_shards.in_order(texts)),
            journal,
            total=len(texts),
            max_failed=max_failed,
            label="tagging",
            model=self.model,
        )

    def request(self, text: str, *, attempt: int, schema: bool) -> dict[str, Any]:
        """The body of one request (OpenAI's chat completions); settings that are None are omitted.

        Args:
            text: Text to tag.
            attempt: Number of the answer to this text, from 0.
            schema: Whether the answer is constrained by the JSON schema.
        """
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt.replace(PLACEHOLDER, text[: self.max_chars])}],
            "temperature": self.temperature if attempt == 0 else self.retry_temperature,
            "max_tokens": self.max_tokens,
            "seed": None if self.seed is None else self.seed + attempt,
            "response_format": SCHEMA if schema else None,
        }
        return {name: value for name, value in body.items() if value is not None} | dict(self.extra)


def check_prompt(prompt: str) -> None:
    """Refuse a tagger's prompt without exactly one placeholder.

    Raises:
        SftdivError: With the prompt's beginning.
    """
    if prompt.count(PLACEHOLDER) != 1:
        raise SftdivError(
            f"strategy.units.tagger.prompt must contain {PLACEHOLDER} exactly once, in place of the text; "
            f"got {prompt[:200]!r}"
        )


class _Requests:
    """The requests of one tagging; once a server has rejected the schema, further requests are made without it."""

    def __init__(self, tagger: LlmTagger) -> None:
        self._tagger = tagger
        self._schema = tagger.structured != "none"

    def question(self, text: str) -> RequestTask:
        """The question about one text, repeated until its answer can be parsed."""

        async def ask(asker: ChatSession) -> dict[str, Any]:
            try:
                return await self._parsable(asker, text)
            except UnansweredError as refusal:
                self._drop_schema(refusal)
                return await self._parsable(asker, text)

        return RequestTask(text_key(text), ask)

    async def _parsable(self, asker: ChatSession, text: str) -> dict[str, Any]:
        """A journal line with tags.

        A truncated list is requested again, unless its own token limit truncated it; it is used if
        no retry is better.
        """
        truncated: dict[str, Any] = {}

        def parse(answer: str, finish_reason: str) -> dict[str, Any]:
            line = answer_line(answer)
            if line["state"] != "cut" or finish_reason == "length":
                return line
            truncated.update(line)
            return {"state": FAILED}

        def request(attempt: int) -> dict[str, Any]:
            return self._tagger.request(text, attempt=attempt, schema=self._schema)

        line = await asker.read_text(request, parse, tries=self._tagger.retries + 1)
        return truncated or line if line["state"] == FAILED else line

    def _drop_schema(self, refusal: UnansweredError) -> None:
        """Continue without a schema where the server rejects it and the tagger does not require it.

        Raises:
            UnansweredError: If the rejection has another reason.
        """
        about_format = any(word in refusal.reply.message for word in FORMAT_WORDS)
        if self._tagger.structured != "auto" or refusal.reply.status not in {400, 422} or not about_format:
            raise refusal
        if self._schema:
            log.info("the server does not support a JSON schema as response_format; requesting answers without it")
        self._schema = False


ENTRY = {
    "type": "object",
    "properties": {"tag": {"type": "string"}, "explanation": {"type": "string"}},
    "required": ["tag", "explanation"],
    "additionalProperties": False,
}
SCHEMA = {  # strict mode requires an object at the top
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
