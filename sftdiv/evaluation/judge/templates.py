"""What a judge is asked and how its answer is read.

In: an instruction, two answers, and the texts of ``conf/judge``. Out: the messages; and of the
judge's answer the probability that what was shown first is the better one, either as it chose (1, 0
or a tie) or from the log-probabilities of the two choices, which AlpacaEval 2 calls weighted
(Dubois et al. 2024, arXiv 2404.04475). The trade: an answer is read by one pattern and must hold
one verdict; what does not is unreadable, and is never taken for a tie.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sftdiv.records import SftdivError

PLACES = ("instruction", "first", "second")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A way of asking.

    Attributes:
        name: What it is called.
        system: The system's turn; None for none.
        prompt: The user's turn, with ``{instruction}``, ``{first}`` and ``{second}``.
        verdicts: What the judge may write, and the probability that each gives the answer shown first.
        pattern: A regular expression that finds a verdict in an answer; its group is one of ``verdicts``.
    """

    name: str
    system: str | None
    prompt: str
    verdicts: Mapping[str, float]
    pattern: str

    def __post_init__(self) -> None:
        if missing := [place for place in PLACES if self.prompt.count(f"{{{place}}}") != 1]:
            raise SftdivError(f"judge.prompt of {self.name} must hold {{{missing[0]}}} once; got {self.prompt[:200]!r}")
        if outside := {name: share for name, share in self.verdicts.items() if not 0 <= share <= 1}:
            raise SftdivError(
                f"judge.verdicts of {self.name} are probabilities that the first answer is better, in [0, 1]; got {outside}"
            )
        if re.compile(self.pattern).groups != 1:
            raise SftdivError(f"judge.pattern of {self.name} must have one group, the verdict; got {self.pattern!r}")

    def messages(self, instruction: str, first: str, second: str) -> list[dict[str, str]]:
        """The turns of a request; whatever the texts hold, they are put in once."""
        texts = dict(zip(PLACES, (instruction, first, second), strict=True))
        content = re.sub(r"\{(instruction|first|second)\}", lambda place: texts[place[1]], self.prompt)
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": content}]

    def choice(self, text: str) -> str | None:
        """The verdict that an answer holds; None where it holds none, or two that differ."""
        found = {verdict for verdict in re.findall(self.pattern, text) if verdict in self.verdicts}
        return found.pop() if len(found) == 1 else None

    def pair(self) -> tuple[str, str]:
        """The two choices whose log-probabilities are compared: for the answer shown first, and for the second.

        Raises:
            SftdivError: There are more ways than one to say either.
        """
        sides = [[name for name, share in self.verdicts.items() if share == side] for side in (1.0, 0.0)]
        if any(len(names) != 1 for names in sides):
            raise SftdivError(
                f"the template {self.name} has the verdicts {', '.join(self.verdicts)}, of which no two single tokens can be weighed: "
                "judge.verdict=choice, or judge=alpaca_eval"
            )
        return sides[0][0], sides[1][0]


def weighed(body: Mapping[str, Any], pair: tuple[str, str]) -> float | None:
    """The probability of the first of two choices against the second, at the first token of an answer that is not blank.

    With both log-probabilities known it is the logistic function of their difference; a choice that
    is not among the likeliest tokens counts as impossible, as in AlpacaEval
    (``completion_parsers.logprob_parser``). Other than there the token itself must be one of the
    choices: where a judge begins with "Answer", the rest says which, and that A was the likelier
    start says nothing.

    Args:
        body: A parse_completion chat completion with log-probabilities.
        pair: The two choices; a token is one of them whatever blanks surround it.

    Returns:
        None where the answer begins with neither.
    """
    first = next((token for token in _tokens(body) if str(token["token"]).strip()), None)
    if first is None or str(first["token"]).strip() not in pair:
        return None
    likeliest = first.get("top_logprobs") or [first]
    found = [[float(one["logprob"]) for one in likeliest if str(one["token"]).strip() == choice] for choice in pair]
    most = max((value for values in found for value in values), default=-math.inf)
    if most == -math.inf:
        return None
    masses = [sum(math.exp(value - most) for value in values) for values in found]
    return masses[0] / sum(masses)


def has_logprobs(body: Mapping[str, Any]) -> bool:
    """Whether an answer came with the log-probabilities of its tokens."""
    return bool(_tokens(body))


def _tokens(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tokens of an answer with their log-probabilities; none where they have another form than OpenAI's."""
    logprobs = body["choices"][0].get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    return (
        tokens
        if isinstance(tokens, list)
        and all(isinstance(token, dict) and {"token", "logprob"} <= token.keys() for token in tokens)
        else []
    )
