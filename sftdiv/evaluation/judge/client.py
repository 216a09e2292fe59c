"""Asking a judge about pairs of answers, in both orders.

In: the cases and how the judge is asked. Out: a line a case in the verdict store
(``verdicts.jsonl``), written as soon as the judge has answered: the same question is never paid for
twice, and a killed run asks only what is missing. An answer that cannot be read is asked for again,
warmer; what stays unreadable is kept as such. The trade: with ``verdict=auto`` a server that gives
no log-probabilities is heard all the same, by the choice it writes, and the record says how many
verdicts were read in which way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.evaluation.judge.comparisons import READ, Case
from sftdiv.evaluation.judge.templates import Template, has_logprobs, weighed
from sftdiv.llm.batch_requests import ChatSession, RequestTask, UnansweredError, run_requests
from sftdiv.llm.endpoint import Endpoint, Reply, content
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import SftdivError

log = logging.getLogger(__name__)
VERDICTS = ("auto", "logprobs", "choice")
FILE = "verdicts.jsonl"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A judge and how it is asked.

    Attributes:
        endpoint: Where it answers.
        model: Its name there.
        template: What it is asked.
        verdict: ``logprobs`` weighs the two choices by their probabilities, ``choice`` takes what
            is written, ``auto`` weighs where it can.
        top_logprobs: How many of the likeliest tokens the server is asked for.
        temperature: Of the first answer; None leaves it, like seed and max_tokens, to the server.
        retry_temperature: Of further ones, after one that could not be read.
        seed: Sent along; further answers and repeats take other ones.
        max_tokens: Of an answer.
        retries: Further answers at most where one cannot be read.
        extra: Further fields of the request, such as ``chat_template_kwargs``.
    """

    endpoint: Endpoint
    model: str
    template: Template
    verdict: str
    top_logprobs: int
    temperature: float | None
    retry_temperature: float | None
    seed: int | None
    max_tokens: int | None
    retries: int
    extra: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise SftdivError(f"judge.verdict={self.verdict!r} is unknown. Known: {', '.join(VERDICTS)}")
        if self.retries < 0:
            raise SftdivError(f"judge.retries={self.retries} must be 0 or more")
        if self.verdict == "logprobs":
            self.template.pair()

    def identity(self) -> dict[str, Any]:
        """All that decides a verdict beside the case: the model's name, the template and the request's settings; not where it answers."""
        names = (
            "model",
            "verdict",
            "top_logprobs",
            "temperature",
            "retry_temperature",
            "seed",
            "max_tokens",
            "retries",
        )
        asked = {name: getattr(self, name) for name in names}
        template = {name: getattr(self.template, name) for name in ("system", "prompt", "pattern")}
        return {**asked, **template, "verdicts": dict(self.template.verdicts), "extra": dict(self.extra)}

    def request(
        self, instruction: str, answers: tuple[str, str], *, attempt: int, repeat: int, logprobs: bool
    ) -> dict[str, Any]:
        """The body of one request; settings that are None are left out."""
        asked = {
            "model": self.model,
            "messages": self.template.messages(instruction, *answers),
            "temperature": self.temperature if attempt == 0 else self.retry_temperature,
            "seed": None if self.seed is None else self.seed + repeat * (self.retries + 1) + attempt,
            "max_tokens": self.max_tokens,
        }
        weights = {"logprobs": True, "top_logprobs": self.top_logprobs} if logprobs else {}
        return {name: value for name, value in asked.items() if value is not None} | weights | dict(self.extra)


class Judging:
    """The questions of one run to a judge; remembers whether the server gives log-probabilities."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        sides = [list(asking.template.verdicts.values()).count(side) for side in (1.0, 0.0)]
        self._logprobs = asking.verdict == "logprobs" or (asking.verdict == "auto" and sides == [1, 1])

    def question(self, case: Case) -> RequestTask:
        """A case as the run_requests asks it."""

        async def ask(asker: ChatSession) -> dict[str, Any]:
            return await self.verdict(asker, case.pair.prompt.instruction, case.answers, repeat=case.repeat)

        return RequestTask(case.key(self._asking.identity()), ask)

    async def verdict(self, asker: ChatSession, instruction: str, answers: tuple[str, str], *, repeat: int) -> dict[str, Any]:
        """What the judge says of two answers, as fields of a line."""
        tries = self._asking.retries + 1
        while True:
            logprobs = self._logprobs

            def request(attempt: int, weigh: bool = logprobs) -> dict[str, Any]:
                return self._asking.request(instruction, answers, attempt=attempt, repeat=repeat, logprobs=weigh)

            try:
                return await asker.read_body(request, self._read, tries=tries)
            except UnansweredError as refused:
                if not (logprobs and self._refuses_logprobs(refused.reply)):
                    raise
                if self._logprobs:
                    log.warning(
                        "the judge is asked for its choice alone, for with log-probabilities it answers: %s",
                        refused.reply.message,
                    )
                self._logprobs = False

    def _read(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict in an answer, weighed or chosen."""
        text, _ = content(body)
        template = self._asking.template
        if self._logprobs and has_logprobs(body):
            first = weighed(body, template.pair())
            if first is not None:
                return {"state": READ, "first": first, "read_by": "logprobs", "answer": text}
        elif (
            self._logprobs and self._asking.verdict == "logprobs" and text
        ):  # an empty answer has none, whatever the server can
            raise SftdivError(NO_LOGPROBS.format(url=self._asking.endpoint.base_url))
        verdict = template.choice(text) if self._asking.verdict != "logprobs" else None
        if verdict is None:
            return {"state": FAILED, "answer": text}
        return {
            "state": READ,
            "first": float(template.verdicts[verdict]),
            "verdict": verdict,
            "read_by": "choice",
            "answer": text,
        }

    def _refuses_logprobs(self, reply: Reply) -> bool:
        """Whether a refusal is about log-probabilities and we can do without; an error where we cannot."""
        about = reply.status in {400, 422} and "logprob" in reply.message.lower()
        if about and self._asking.verdict == "logprobs":
            raise SftdivError(f"{NO_LOGPROBS.format(url=self._asking.endpoint.base_url)}. It says: {reply.message}")
        return about


SILENT = "perhaps judge.max_tokens is too small for one that reasons first (judge=arena_hard), or judge.extra can tell it not to"
NO_LOGPROBS = (
    "{url} gives no log-probabilities; judge.verdict=choice takes what the judge writes, judge.verdict=auto either"
)


def judge_cases(
    cases: Sequence[Case], asking: Asking, folder: Path, *, max_unreadable: float, max_calls: int | None
) -> list[dict[str, Any] | None]:
    """Ask about every case that the verdict store in ``folder`` holds no verdict of.

    Args:
        cases: What to judge; of equal answers nothing is asked.
        asking: The judge.
        folder: Of ``verdicts.jsonl``.
        max_unreadable: Share of the questions that may end without a verdict.
        max_calls: HTTP requests at most, over all runs of this store; None sets no bound.

    Returns:
        The store's line of each case, None where the answers are equal.

    Raises:
        SftdivError: As `run_requests` does, and where the server gives no log-probabilities and they
            are asked for.
    """
    judging, identity = Judging(asking), asking.identity()
    asked = [case for case in cases if case.pair.candidate != case.pair.baseline]
    with Journal(folder / FILE) as ledger:
        run_requests(
            asking.endpoint,
            (judging.question(case) for case in asked),
            ledger,
            total=len(asked),
            max_failed=max_unreadable,
            bound="judge.max_unreadable",
            label="judging",
            model=asking.model,
            max_calls=max_calls,
        )
        return [
            None if case.pair.candidate == case.pair.baseline else ledger.line(case.key(identity)) for case in cases
        ]


def check_judge(asking: Asking) -> None:
    """Ask the judge one small question, so that a wrong address, key, model or setting is an error before anything is trained.

    Raises:
        SftdivError: It cannot be reached, or refuses.
    """

    async def look() -> None:
        async with asking.endpoint.connect() as connection:
            models = await connection.models()
            try:
                line = await Judging(asking).verdict(ChatSession(connection), "Name a colour.", ("Red.", "A dog."), repeat=0)
            except UnansweredError as refused:
                listed = f". The server lists the models {', '.join(models)}" if models else ""
                raise SftdivError(
                    f"{asking.endpoint.base_url} does not judge with model={asking.model!r}: {refused}{listed}"
                ) from None
        if line["state"] == FAILED:
            log.warning(
                "%s was asked to try it out and gave no verdict that can be read: %.200r; %s",
                asking.model,
                line["answer"],
                SILENT,
            )

    asyncio.run(look())
