"""Requests verdicts on pairs of answers from a judge model, in both orders.

Cases and the judge's settings come in; one line per case goes to a journal (``verdicts.jsonl``) as
soon as the judge has answered. No verdict is paid for twice, and a killed run requests only what is
missing. An unreadable answer is requested again at another temperature; what stays unreadable is
recorded as such. With ``verdict=auto`` a server without log-probabilities is used all the same, by the
choice that it writes, and the record counts how many verdicts were read in which way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.evaluation.judge.comparisons import READ, Case
from sftdiv.evaluation.judge.judge_config import JudgeConfig
from sftdiv.evaluation.judge.templates import begins_with, has_logprobs, logprob_preference
from sftdiv.llm.answer_text import without_thoughts
from sftdiv.llm.batch_requests import ChatSession, RequestTask, UnansweredError, run_requests
from sftdiv.llm.endpoint import Reply, content
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import SftdivError

log = logging.getLogger(__name__)
FILE = "verdicts.jsonl"
UNREADABLE_ADVICE = (
    "perhaps judge.max_tokens is too small for a model that reasons first (judge=arena_hard), or judge.extra can turn "
    "its reasoning off; or the model does not follow the format that judge.template asks for"
)
NO_LOGPROBS = (
    "{url} gives no log-probabilities; judge.verdict=choice takes what the judge writes, and so does judge.verdict=auto"
)


class JudgeClient:
    """Requests verdicts in one run; remembers whether the server returns log-probabilities."""

    def __init__(self, config: JudgeConfig) -> None:
        self._config = config
        auto = config.verdict == "auto" and config.template.has_token_choices
        self._logprobs = config.verdict == "logprobs" or auto
        self._read_logprobs = False  # whether a verdict was read from log-probabilities

    def task(self, case: Case) -> RequestTask:
        """The request task of a case."""

        async def run(session: ChatSession) -> dict[str, Any]:
            return await self.verdict(session, case.pair.prompt.instruction, case.answers, repeat=case.repeat)

        return RequestTask(case.key(self._config.identity()), run)

    async def verdict(
        self, session: ChatSession, instruction: str, answers: tuple[str, str], *, repeat: int
    ) -> dict[str, Any]:
        """The verdict on two answers, as fields of a journal line."""
        tries = self._config.retries + 1
        while True:
            logprobs = self._logprobs

            def request(attempt: int, logprobs: bool = logprobs) -> dict[str, Any]:
                return self._config.request(instruction, answers, attempt=attempt, repeat=repeat, logprobs=logprobs)

            try:
                return await session.read_body(request, self._read, tries=tries)
            except UnansweredError as error:
                if not (logprobs and self._refuses_logprobs(error.reply)):
                    raise
                if self._logprobs:
                    log.warning(
                        "verdicts are requested without log-probabilities, because with them the judge answers: %s",
                        error.reply.message,
                    )
                self._logprobs = False

    def _read(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict in an answer, by log-probabilities or by choice."""
        text, _ = content(body)
        template, requires_logprobs = self._config.template, self._config.verdict == "logprobs"
        verdict = template.choice(text)
        if self._logprobs and has_logprobs(body):
            preference = None
            if verdict is not None and without_thoughts(text) == text and begins_with(body, verdict):
                preference = logprob_preference(body, template.token_choices())
            if preference is not None:
                self._read_logprobs = True
                return {"state": READ, "first": preference, "read_by": "logprobs", "answer": text}
        elif requires_logprobs and text and not self._read_logprobs:  # an empty answer has none
            raise SftdivError(NO_LOGPROBS.format(url=self._config.endpoint.base_url))
        if verdict is None or requires_logprobs:
            return {"state": FAILED, "answer": text}
        return {
            "state": READ,
            "first": float(template.verdicts[verdict]),
            "verdict": verdict,
            "read_by": "choice",
            "answer": text,
        }

    def _refuses_logprobs(self, reply: Reply) -> bool:
        """Whether a refusal concerns log-probabilities; an error where they are required."""
        concerns_logprobs = reply.status in {400, 422} and "logprob" in reply.message.lower()
        if concerns_logprobs and self._config.verdict == "logprobs":
            url = self._config.endpoint.base_url
            raise SftdivError(f"{NO_LOGPROBS.format(url=url)}. Its message: {reply.message}")
        return concerns_logprobs


def judge_cases(
    cases: Sequence[Case], config: JudgeConfig, folder: Path, *, max_unreadable: float, max_calls: int | None
) -> list[dict[str, Any] | None]:
    """Request a verdict on every case without one in the journal of ``folder``.

    Args:
        cases: The cases; those with equal answers need no request.
        config: The judge model and its requests.
        folder: Folder of ``verdicts.jsonl``.
        max_unreadable: Maximum share of requested cases without a verdict.
        max_calls: Maximum number of HTTP requests over all runs with this journal; None for no limit.

    Returns:
        The journal line of each case, None where the answers are equal.

    Raises:
        SftdivError: As `run_requests`, and where log-probabilities are required and the server
            returns none.
    """
    client, identity = JudgeClient(config), config.identity()
    requested = sorted((case for case in cases if not case.pair.is_identical), key=_prompt_order)
    with Journal(folder / FILE) as journal:
        run_requests(
            config.endpoint,
            (client.task(case) for case in requested),
            journal,
            total=len(requested),
            max_failed=max_unreadable,
            bound="judge.max_unreadable",
            label="judging",
            model=config.model,
            max_calls=max_calls,
        )
        return [None if case.pair.is_identical else journal.line(case.key(identity)) for case in cases]


def _prompt_order(case: Case) -> tuple[Any, ...]:
    """Sort key under which requests with equal beginnings are sent together, for servers that cache prefixes (vLLM)."""
    return (case.pair.prompt.instruction, *case.answers, case.repeat)


def check_judge(config: JudgeConfig) -> None:
    """Request one small verdict, so that a wrong address, key, model or setting is an error before training.

    With ``batch=files`` there is no server to request it from.

    Raises:
        SftdivError: If the server cannot be reached, refuses, or gives no readable verdict.
    """
    if config.endpoint.batch == "files":
        return

    async def probe() -> dict[str, Any]:
        async with config.endpoint.connect() as connection:
            models = await connection.models()
            session = ChatSession(connection)
            try:
                return await JudgeClient(config).verdict(session, "Name a colour.", ("Red.", "A dog."), repeat=0)
            except UnansweredError as error:
                listed = f". The server lists the models {', '.join(models)}" if models else ""
                raise SftdivError(
                    f"{config.endpoint.base_url} does not judge with model={config.model!r}: {error}{listed}"
                ) from None

    line = asyncio.run(probe())
    if line["state"] == FAILED:
        raise SftdivError(
            f"in a trial request, asked {config.retries + 1} times, {config.model} gave no verdict that can be read: "
            f"{line['answer'][:200]!r}; {UNREADABLE_ADVICE}"
        )
