"""Settings of pairwise judging: the judge model and its requests, and the comparison as a whole."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sftdiv.evaluation.judge.answers import Generation
from sftdiv.evaluation.judge.baseline import baseline_identity
from sftdiv.evaluation.judge.templates import Template
from sftdiv.llm.endpoint import Endpoint
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, check_range

log = logging.getLogger(__name__)
VERDICTS = ("auto", "logprobs", "choice")


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """A judge model and the settings of its requests.

    Attributes:
        endpoint: Server of the judge.
        model: Name of the model at the endpoint.
        template: Template of the requests.
        verdict: ``logprobs`` compares the log-probabilities of the two choices, ``choice`` takes the
            written verdict, ``auto`` uses log-probabilities where the server returns them.
        top_logprobs: Number of likeliest tokens requested per position.
        temperature: Temperature of the first try; None, like ``seed`` and ``max_tokens``, for the
            server's default.
        retry_temperature: Temperature of further tries, after an unreadable answer.
        seed: Seed of the first try; further tries and repeats use the following ones.
        max_tokens: Maximum length of an answer.
        retries: Maximum number of further tries after an unreadable answer.
        extra: Further fields of the request, such as ``chat_template_kwargs``.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"endpoint"})

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
        check_one_of("judge.verdict", self.verdict, VERDICTS)
        check_range("judge.retries", self.retries, least=0, whole=True)
        if self.verdict == "logprobs":
            self.template.token_choices()

    def identity(self) -> dict[str, Any]:
        """Everything that decides a verdict, given the answers; cached verdicts are keyed by it."""
        settings = settings_identity(self)
        template = settings.pop("template")
        return {**settings, **template}

    def request(
        self, instruction: str, answers: tuple[str, str], *, attempt: int, repeat: int, logprobs: bool
    ) -> dict[str, Any]:
        """Body of one request; settings that are None are left out.

        Args:
            instruction: Text of the prompt.
            answers: The two answers in the order shown.
            attempt: Number of the try, from 0.
            repeat: Number of the repeat, from 0.
            logprobs: Whether log-probabilities are requested.
        """
        settings = {
            "model": self.model,
            "messages": self.template.messages(instruction, *answers),
            "temperature": self.temperature if attempt == 0 else self.retry_temperature,
            "seed": None if self.seed is None else self.seed + repeat * (self.retries + 1) + attempt,
            "max_tokens": self.max_tokens,
        }
        weights = {"logprobs": True, "top_logprobs": self.top_logprobs} if logprobs else {}
        return {name: value for name, value in settings.items() if value is not None} | weights | dict(self.extra)


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """A comparison of a model with a baseline by a judge.

    Attributes:
        asking: The judge model and its requests.
        baseline: The baseline; see `baseline.find_baseline`.
        generation: Generation settings of the answers.
        repeats: Number of times that a sample of the prompts is judged; 1 measures no noise.
        repeat_share: Share of the prompts in that sample.
        max_unreadable: Maximum share of missing verdicts.
        max_calls: Maximum number of HTTP requests to the judge over all runs of a cell (without the
            one before training); None for no limit.
        prices: Dollars per million tokens of the ``prompt`` and the ``completion``; None where unknown.
        draws: Number of bootstrap resamples.
        seed: Seed of the repeated sample and the bootstrap.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"max_unreadable", "max_calls", "prices"})

    asking: JudgeConfig
    baseline: str
    generation: Generation
    repeats: int
    repeat_share: float
    max_unreadable: float
    max_calls: int | None
    prices: Mapping[str, float | None]
    draws: int
    seed: int

    def __post_init__(self) -> None:
        if not self.baseline:
            raise SftdivError("judge.baseline must name a baseline: base, reference, level:0.5, a cell or a file")
        check_range("judge.repeats", self.repeats, least=1, whole=True)
        if not 0 < self.repeat_share <= 1:
            raise SftdivError(f"judge.repeat_share={self.repeat_share} must be in (0, 1]")
        check_range("judge.max_unreadable", self.max_unreadable, least=0, most=1)

    def identity(self) -> dict[str, Any]:
        """Settings that decide the scores, given the prompts and the model; a baseline's files by content."""
        return {**settings_identity(self), "baseline": baseline_identity(self.baseline)}

    def warn_of_calls(self, prompts: int) -> None:
        """Warn if ``max_calls`` is probably too low for this many prompts; equal answers need no request."""
        verdicts = 2 * (prompts + (self.repeats - 1) * math.ceil(self.repeat_share * prompts))
        if self.max_calls is not None and self.max_calls < verdicts:
            log.warning(
                "judge.max_calls=%d is less than the %d verdicts that %d prompts need",
                self.max_calls,
                verdicts,
                prompts,
            )
