"""Templates of a judge's requests, and the parsing of its answers.

An instruction, two answers and the texts of ``conf/judge`` become chat messages. The judge's answer
becomes the probability that the answer shown first is better: either from its choice (1, 0 or a tie),
or from the log-probabilities of the two choices, which AlpacaEval 2 calls weighted (Dubois et al.
2024, arXiv 2404.04475). A choice is found by patterns, in any case and with blanks, after the judge's
thoughts, and must be the only one; any other answer is unreadable and never counts as a tie.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sftdiv.llm.answer_text import without_thoughts
from sftdiv.records import SftdivError

FIELDS = ("instruction", "first", "second")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A judge's request and the verdicts that it may return.

    Attributes:
        name: Label in tables; no verdict depends on it.
        system: System turn; None for none.
        prompt: User turn, with ``{instruction}``, ``{first}`` and ``{second}``.
        verdicts: Possible verdicts, each with its probability that the answer shown first is better.
        pattern: Regular expression that finds verdicts in an answer, whatever their case; its group is
            one of ``verdicts``, but for case and blanks.
        sentence: Regular expression for answers in which ``pattern`` finds none; None for none.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str
    system: str | None
    prompt: str
    verdicts: Mapping[str, float]
    pattern: str
    sentence: str | None = None

    def __post_init__(self) -> None:
        if missing := [field for field in FIELDS if self.prompt.count(f"{{{field}}}") != 1]:
            raise SftdivError(f"judge.prompt of {self.name} must hold {{{missing[0]}}} once; got {self.prompt[:200]!r}")
        if outside := {name: share for name, share in self.verdicts.items() if not 0 <= share <= 1}:
            raise SftdivError(
                f"judge.verdicts of {self.name} are probabilities that the first answer is better, in [0, 1]; "
                f"got {outside}"
            )
        for pattern in self._patterns:
            if re.compile(pattern).groups != 1:
                raise SftdivError(f"judge.pattern of {self.name} must have one group, the verdict; got {pattern!r}")
        if len(self._by_form) < len(self.verdicts):
            raise SftdivError(
                f"judge.verdicts of {self.name} differ by case or blanks only: {', '.join(self.verdicts)}"
            )

    def messages(self, instruction: str, first: str, second: str) -> list[dict[str, str]]:
        """The turns of a request; fields inside the inserted texts are left as they are."""
        texts = dict(zip(FIELDS, (instruction, first, second), strict=True))
        content = re.sub(r"\{(instruction|first|second)\}", lambda match: texts[match[1]], self.prompt)
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": content}]

    def choice(self, text: str) -> str | None:
        """The verdict in an answer, thoughts aside; None where it holds none, or several that differ."""
        answer = without_thoughts(text)
        for pattern in self._patterns:
            forms = {_form(match) for match in re.findall(pattern, answer, re.IGNORECASE)} & self._by_form.keys()
            if forms:
                return self._by_form[forms.pop()] if len(forms) == 1 else None
        return None

    @property
    def _patterns(self) -> list[str]:
        return [self.pattern] if self.sentence is None else [self.pattern, self.sentence]

    @property
    def _by_form(self) -> dict[str, str]:
        """The verdicts by their form without case and blanks."""
        return {_form(verdict): verdict for verdict in self.verdicts}

    @property
    def has_token_choices(self) -> bool:
        """Whether exactly one verdict is for the answer shown first, and exactly one for the second."""
        return all(list(self.verdicts.values()).count(share) == 1 for share in (1.0, 0.0))

    def token_choices(self) -> tuple[str, str]:
        """The verdicts whose log-probabilities are compared: for the answer shown first, and for the second.

        Raises:
            SftdivError: If several verdicts are for one of them.
        """
        if not self.has_token_choices:
            raise SftdivError(
                f"the template {self.name} has the verdicts {', '.join(self.verdicts)}, of which no two single tokens "
                "can be weighed: judge.verdict=choice, or judge=alpaca_eval"
            )
        by_share = {share: name for name, share in self.verdicts.items()}
        return by_share[1.0], by_share[0.0]


def _form(verdict: str) -> str:
    return "".join(verdict.split()).casefold()


def logprob_preference(body: Mapping[str, Any], choices: tuple[str, str]) -> float | None:
    """Probability of the first of two choices against the second, at the first non-blank token of an answer.

    With both log-probabilities known it is the logistic function of their difference. A choice that is
    not among the likeliest tokens counts as impossible, as in AlpacaEval
    (``completion_parsers.logprob_parser``). Unlike there, the token itself must be one of the choices:
    where a judge begins with "Answer", the verdict follows later, and the probability of A as the first
    token says nothing about it.

    Args:
        body: Decoded chat completion with log-probabilities.
        choices: The two choices; blanks around a token are ignored, and its case where the answer
            begins with a choice in another case.

    Returns:
        A number in [0, 1]; None where the answer begins with neither choice, or its log-probabilities
        have another form than OpenAI's.
    """
    first = next((token for token in _tokens(body) if token["token"].strip()), None)
    if first is None or _form(first["token"]) not in map(_form, choices):
        return None
    candidates = first.get("top_logprobs") or [first]
    if not (isinstance(candidates, list) and all(map(_is_token, candidates))):
        return None
    form = str.strip if first["token"].strip() in choices else _form
    logprobs = [
        [float(token["logprob"]) for token in candidates if form(token["token"]) == form(choice)] for choice in choices
    ]
    largest = max((value for values in logprobs for value in values), default=-math.inf)
    if largest == -math.inf:
        return None
    masses = [sum(math.exp(value - largest) for value in values) for values in logprobs]
    return masses[0] / sum(masses)


def begins_with(body: Mapping[str, Any], verdict: str) -> bool:
    """Whether the first non-blank token of an answer with log-probabilities is its verdict."""
    first = next((token["token"] for token in _tokens(body) if token["token"].strip()), "")
    return _form(first) == _form(verdict)


def has_logprobs(body: Mapping[str, Any]) -> bool:
    """Whether an answer has the log-probabilities of its tokens."""
    return bool(_tokens(body))


def _tokens(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tokens of an answer with their log-probabilities; empty where their form is not OpenAI's."""
    logprobs = body["choices"][0].get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    return tokens if isinstance(tokens, list) and all(map(_is_token, tokens)) else []


def _is_token(value: Any) -> bool:
    """Whether a value is a token with its log-probability; minus infinity is one."""
    if not isinstance(value, dict) or not isinstance(value.get("token"), str):
        return False
    logprob = value.get("logprob")
    if not isinstance(logprob, (int, float)) or isinstance(logprob, bool):
        return False
    return logprob < math.inf  # not NaN either
