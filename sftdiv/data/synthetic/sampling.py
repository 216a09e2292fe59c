"""Draws training samples one at a time, with a head and a tail in every choice.

A draw that would bring together both names of a held-out fact, in the prompt or the response, is
rejected. That is simpler than steering the draws, and cheap.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from sftdiv.data.synthetic.facts import Fact, Table
from sftdiv.data.synthetic.lexicon import Lexicon
from sftdiv.data.synthetic.wording import fields, write_prompt, write_response
from sftdiv.records import Example

Option = TypeVar("Option")
SOURCE = "embedded"


@cache
def zipf_cumulative(count: int, exponent: float) -> tuple[float, ...]:
    """Cumulative probabilities of ranks 1 to ``count``, where rank ``r`` has weight ``r ** -exponent``."""
    weights = np.arange(1, count + 1) ** -exponent
    return tuple(np.cumsum(weights) / weights.sum())


def pick(options: Sequence[Option], exponent: float, rng: np.random.Generator) -> Option:
    """One of the options, which are ordered from the commonest to the rarest; an exponent of 0 is even."""
    rank = bisect(zipf_cumulative(len(options), exponent), rng.random())
    return options[min(rank, len(options) - 1)]  # the last cumulative may fall short of 1 by rounding


def other_values(fact: Fact, lexicon: Lexicon) -> list[str]:
    """The values of the fact's attribute that are false of its entity."""
    return [value for value in lexicon.values[fact.attribute.name] if value != fact.value]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws samples of one world.

    Attributes:
        tables: Facts of every topic.
        lexicon: Words and templates.
        held_out: Entity and value of every held-out fact.
        skew: Zipf exponent of every kind of choice.
    """

    tables: Sequence[Table]
    lexicon: Lexicon
    held_out: frozenset[tuple[str, str]]
    skew: Mapping[str, float]

    @cached_property
    def rows(self) -> Mapping[str, Sequence[Fact]]:
        """Facts of each entity, by its name."""
        return {row[0].entity: row for table in self.tables for row in table}

    def draw(self, rng: np.random.Generator) -> Example | None:
        """One sample, or None if it would reveal a held-out fact."""
        row = pick(pick(self.tables, self.skew["topic"], rng), self.skew["entity"], rng)
        fact = pick(row, self.skew["attribute"], rng)
        false = fact.with_value(pick(other_values(fact, self.lexicon), 0.0, rng))
        aside = pick(self.rows.get(fact.value, row), self.skew["attribute"], rng)
        skill = pick(self.lexicon.skills, self.skew["skill"], rng)
        style = pick(self.lexicon.styles, self.skew["style"], rng)
        template, cue, wrapper = (
            pick(options, self.skew["phrase"], rng) for options in (skill.prompts, style.cues, style.wrappers)
        )
        if self._reveals_heldout([fact, false, aside] if "{aside}" in wrapper else [fact, false]):
            return None
        words = fields(fact, false, truth_first=bool(rng.random() < 0.5))
        turns = write_prompt(template, cue, words), write_response(skill.response, wrapper, words, aside=aside.claim)
        return Example(
            messages=[{"role": role, "content": text} for role, text in zip(("user", "assistant"), turns, strict=True)],
            source=SOURCE,
            extra={
                "topic": fact.topic.name,
                "tags": [fact.attribute.name, fact.value, skill.name, style.name],
                "skill": skill.name,
                "style": style.name,
            },
        )

    def _reveals_heldout(self, facts: Iterable[Fact]) -> bool:
        """Whether both names of a held-out fact occur in these claims, in one of them or in two."""
        names = {name for fact in facts for name in (fact.entity, fact.value)}
        return any((entity, value) in self.held_out for entity in names for value in names)
