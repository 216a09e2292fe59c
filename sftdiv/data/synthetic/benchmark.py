"""The benchmark: the held-out facts as questions, spread evenly over topics, skills and styles, over head and tail.

In: the tables of facts and the lexicon. Out: items. In every topic each square meets each skill
once; which of its four facts is asked for goes round. The other three are the distractors: true
sentences in the same form, of which two are about another entity and one about another attribute of
the same. The trade: the words around an answer are drawn evenly and cannot be foreseen, so that the
probability of a reference stays below 1 for a perfect model too; the choices share them, so that
accuracy does not suffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sftdiv.data.synthetic.facts import Square, Table, squares
from sftdiv.data.synthetic.lexicon import Lexicon, Skill, Style
from sftdiv.data.synthetic.sampling import pick
from sftdiv.data.synthetic.wording import fields, write_prompt, write_response

EVEN = 0.0  # the Zipf exponent of a fair choice
PLAIN = "{answer}"


@dataclass(frozen=True)
class Item:
    """A question: every choice is true, ``choices[gold]`` answers ``prompt``; ``plain_prompt`` asks the same for a bare answer."""

    topic: str
    skill: str
    style: str
    prompt: str
    choices: Sequence[str]
    gold: int
    plain_prompt: str
    plain_answer: str
    value: str


def write_items(tables: Sequence[Table], lexicon: Lexicon, rng: np.random.Generator) -> Iterator[Item]:
    """All items, topic by topic; a style that asks for an aside has no one right answer and is left out."""
    styles = [style for style in lexicon.styles if not any("{aside}" in wrapper for wrapper in style.wrappers)]
    for table in tables:
        for row, square in enumerate(squares(table)):
            for column, skill in enumerate(lexicon.skills):
                corner, style = (row + column) % len(square), styles[(row + column) % len(styles)]
                yield _item(square, corner, skill, style, lexicon, rng)


def _item(square: Square, corner: int, skill: Skill, style: Style, lexicon: Lexicon, rng: np.random.Generator) -> Item:
    fact = square[corner]
    false = fact.but(pick([value for value in lexicon.values[fact.attribute.name] if value != fact.value], EVEN, rng))
    template, cue, wrapper = (pick(options, EVEN, rng) for options in (skill.prompts, style.cues, style.wrappers))
    truth_first = bool(rng.random() < 0.5)
    words = [fields(choice, false, truth_first=truth_first) for choice in square]
    order = rng.permutation(len(square)).tolist()
    return Item(
        topic=fact.topic.name,
        skill=skill.name,
        style=style.name,
        prompt=write_prompt(template, cue, words[corner]),
        choices=[write_response(skill.response, wrapper, words[index], aside="") for index in order],
        gold=order.index(corner),
        plain_prompt=write_prompt(template, "", words[corner]),
        plain_answer=write_response(skill.response, PLAIN, words[corner], aside=""),
        value=fact.value,
    )
