"""The benchmark of the synthetic world: held-out facts as questions, even over topics, skills, styles, head and tail.

In every topic each square (see `facts`) meets each skill once; its four facts take turns as the
question. The other three are the distractors: true sentences of the same form, two about the other
entity and one about the other attribute of the same entity. The words around an answer are drawn evenly
and cannot be predicted, so the probability of a reference is below 1 even for a perfect model. The
choices of an item share them, so accuracy is not affected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sftdiv.data.synthetic.facts import Square, Table, squares
from sftdiv.data.synthetic.lexicon import Lexicon, Skill, Style
from sftdiv.data.synthetic.sampling import other_values, pick
from sftdiv.data.synthetic.wording import fields, write_prompt, write_response

EVEN = 0.0  # Zipf exponent of an even choice
PLAIN = "{answer}"


@dataclass(frozen=True)
class Item:
    """A question; every choice is a true sentence.

    Attributes:
        topic: Topic of the fact.
        skill: Form of the question.
        style: Style of the answer.
        prompt: The question with the cue of its style.
        choices: Four responses.
        gold: Position in ``choices`` of the one that answers ``prompt``.
        plain_prompt: The question without a style, for generation.
        plain_answer: The one right answer to ``plain_prompt``.
        value: The value of the fact, as it occurs in ``plain_answer``.
    """

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
    """All items, topic by topic; styles that ask for an aside have no single right answer and are excluded."""
    styles = [style for style in lexicon.styles if not any("{aside}" in wrapper for wrapper in style.wrappers)]
    for table in tables:
        for row, square in enumerate(squares(table)):
            for column, skill in enumerate(lexicon.skills):
                corner, style = (row + column) % len(square), styles[(row + column) % len(styles)]
                yield _item(square, corner, skill, style, lexicon, rng)


def _item(square: Square, corner: int, skill: Skill, style: Style, lexicon: Lexicon, rng: np.random.Generator) -> Item:
    fact = square[corner]
    false = fact.with_value(pick(other_values(fact, lexicon), EVEN, rng))
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
