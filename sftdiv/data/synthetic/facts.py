"""The facts of the synthetic world: one per entity and attribute, and which of them are held out.

A topic's facts form a table (entities x attributes, the commonest first). A square is two entities x two
attributes: four facts that are held out together. Each of the four is the answer to one question and a
distractor of the other three. A model that does not read the question therefore scores exactly one in
four; one that reads only the entity or only the attribute scores one in two. Knowing which sentences are
true, as the base model does, does not help at all.
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
        """The predicate, such as ``nests in the willow``."""
        return self.attribute.clause.format(value=self.value)

    @property
    def claim(self) -> str:
        """The whole fact, such as ``the heron nests in the willow``."""
        return f"{self.subject} {self.clause}"

    @property
    def question(self) -> str:
        """The indirect question that the fact answers, such as ``which tree the heron nests in``."""
        return self.attribute.question.format(subject=self.subject)

    def with_value(self, value: str) -> Fact:
        """The same claim with another value."""
        return replace(self, value=value)


def draw_table(topic: Topic, values: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Table:
    """Facts of one topic, entities x attributes, both ordered from the commonest in the corpus to the rarest.

    An attribute takes a different value for every entity, so that a clause identifies its entity and no
    value is more likely than another.
    """
    entities = rng.permutation(topic.entities).tolist()
    attributes = [topic.attributes[index] for index in rng.permutation(len(topic.attributes))]
    columns = [rng.permutation(values[attribute.name]).tolist() for attribute in attributes]
    return [
        [Fact(topic, entity, attribute, column[row]) for attribute, column in zip(attributes, columns, strict=True)]
        for row, entity in enumerate(entities)
    ]


def squares(table: Table) -> list[Square]:
    """The held-out facts: neighbours in rank, so that head and tail are held out alike, attributes equally often."""
    width = len(table[0])
    result: list[Square] = []
    for index in range(len(table) // 2):
        first, second = index % width, (index + 1 + index // width) % width
        upper, lower = table[2 * index], table[2 * index + 1]
        result.append((upper[first], upper[second], lower[first], lower[second]))
    return result
