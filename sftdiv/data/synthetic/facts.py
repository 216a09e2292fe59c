"""What is true in the world: one fact for every entity and attribute, and which facts are held out.

In: a topic of the lexicon and a generator. Out: the topic's facts as a table (entities x
attributes, commonest first) and its squares. A square is two entities x two attributes, four facts
that are held out together. Each of the four is the answer to one question and a distractor of the
other three, so that a model that does not read the question scores exactly one in four, one that
reads only the entity or only the attribute one in two, and knowing which sentences are true (the
base model's knowledge) does not help at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sftdiv.data.synthetic.lexicon import Attribute, Topic

Table = Sequence[Sequence["Fact"]]
Square = tuple["Fact", "Fact", "Fact", "Fact"]


@dataclass(frozen=True)
class Fact:
    """A value of one attribute of one entity, and the phrases that sentences are built from."""

    topic: Topic
    entity: str
    attribute: Attribute
    value: str

    @property
    def subject(self) -> str:
        """The entity with its article, such as ``the heron``."""
        return f"{self.topic.article} {self.entity}".lstrip()

    @property
    def clause(self) -> str:
        """What is said of it, such as ``nests in the willow``."""
        return self.attribute.clause.format(value=self.value)

    @property
    def claim(self) -> str:
        """The whole fact, such as ``the heron nests in the willow``."""
        return f"{self.subject} {self.clause}"

    @property
    def question(self) -> str:
        """The indirect question that it answers, such as ``which tree the heron nests in``."""
        return self.attribute.question.format(subject=self.subject)

    def but(self, value: str) -> Fact:
        """The same claim of another value."""
        return replace(self, value=value)


def draw_table(topic: Topic, values: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Table:
    """Facts of one topic, entities x attributes, each in the order of how common the corpus makes them.

    An attribute gives every entity another value, so that a clause names one entity and no value is
    likelier than the next.
    """
    entities = rng.permutation(topic.entities).tolist()
    attributes = [topic.attributes[index] for index in rng.permutation(len(topic.attributes))]
    columns = [rng.permutation(values[attribute.name]).tolist() for attribute in attributes]
    return [
        [Fact(topic, entity, attribute, column[row]) for attribute, column in zip(attributes, columns, strict=True)]
        for row, entity in enumerate(entities)
    ]


def squares(table: Table) -> list[Square]:
    """The held-out facts: neighbours in rank, so that head and tail are held out alike, and each attribute about as often."""
    width = len(table[0])
    found: list[Square] = []
    for index in range(len(table) // 2):
        first, second = index % width, (index + 1 + index // width) % width
        upper, lower = table[2 * index], table[2 * index + 1]
        found.append((upper[first], upper[second], lower[first], lower[second]))
    return found
