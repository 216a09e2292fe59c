"""The embedded world: what its base model reads, what it is fine-tuned on, and what it is asked.

In: a seed, and the size and skew of the corpus. Out: statements (every fact, plainly told), samples
(instruction and response, never a held-out fact) and items (the held-out facts, spread evenly). The
base model has thus read what the benchmark asks; fine-tuning can teach it how to answer, not what
is true. The trade: facts are arbitrary, so that nothing else a model knows helps or hurts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sftdiv.data.synthetic.benchmark import Item, write_items
from sftdiv.data.synthetic.facts import Table, draw_table, squares
from sftdiv.data.synthetic.lexicon import Lexicon, load_lexicon
from sftdiv.data.synthetic.sampling import Sampler
from sftdiv.data.synthetic.tasks import write_tasks
from sftdiv.data.synthetic.wording import capitalised, fields
from sftdiv.records import Example, SftdivError

DRAWS_PER_SAMPLE = 50
PASSAGE = 3  # sentences about one entity: a name that returns is what teaches a small model to copy one


@dataclass(frozen=True, kw_only=True)
class World:
    """One world. ``size`` is the number of samples; ``skew`` scales all Zipf exponents of the lexicon (0: even, 1: as written there)."""

    seed: int
    size: int
    skew: float

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SftdivError(f"the seed of the embedded world must be 0 or more, got seed={self.seed}")
        if self.size < 1:
            raise SftdivError(f"the embedded world needs at least one sample, got size={self.size}")
        if self.skew < 0:
            raise SftdivError(f"the skew of the embedded world must be 0 (even) or more, got skew={self.skew}")

    @property
    def lexicon(self) -> Lexicon:
        """The words, which all worlds share."""
        return load_lexicon()

    @cached_property
    def tables(self) -> Sequence[Table]:
        """What is true: a table of facts a topic, commonest topic first."""
        rng = self._generator("facts")
        topics = [self.lexicon.topics[index] for index in rng.permutation(len(self.lexicon.topics))]
        return [draw_table(topic, self.lexicon.values, rng) for topic in topics]

    @cached_property
    def held_out(self) -> frozenset[tuple[str, str]]:
        """Entity and value of every held-out fact: two names that no training sample may bring together."""
        return frozenset(
            (fact.entity, fact.value) for table in self.tables for square in squares(table) for fact in square
        )

    @cached_property
    def statements(self) -> list[str]:
        """What the base model reads: every fact in every plain form, in short passages about one entity each, shuffled."""
        rng, forms = self._generator("statements"), self.lexicon.statements
        passages: list[str] = []
        for row in (row for table in self.tables for row in table):
            words = [fields(fact, fact, truth_first=True) for fact in row]
            sentences = rng.permutation([capitalised(form.format(**each)) for each in words for form in forms]).tolist()
            passages += [" ".join(sentences[start : start + PASSAGE]) for start in range(0, len(sentences), PASSAGE)]
        return [passages[index] for index in rng.permutation(len(passages))]

    def samples(self) -> Iterator[Example]:
        """``size`` distinct samples for fine-tuning; ``extra`` holds the known ``topic``, ``tags``, ``skill`` and ``style``.

        Raises:
            SftdivError: The world cannot write so many distinct samples.
        """
        skew = {choice: exponent * self.skew for choice, exponent in self.lexicon.skew.items()}
        sampler = Sampler(tables=self.tables, lexicon=self.lexicon, held_out=self.held_out, skew=skew)
        rng, seen = self._generator("samples"), set[tuple[str, ...]]()
        for _ in range(self.size * DRAWS_PER_SAMPLE):
            example = sampler.draw(rng)
            turns = tuple(message["content"] for message in example.messages) if example else ()
            if example and turns not in seen:
                seen.add(turns)
                yield example
            if len(seen) == self.size:
                return
        raise SftdivError(f"the embedded world can write only {len(seen)} distinct samples, not size={self.size}")

    def items(self) -> list[Item]:
        """The benchmark."""
        return list(write_items(self.tables, self.lexicon, self._generator("items")))

    def write_tasks(self, folder: Path, *, place: Path | None = None) -> list[str]:
        """Write the benchmark as lm-eval tasks into ``folder``, to be read at ``place`` (else there), and return their names."""
        return write_tasks(self.items(), folder, place=place or folder)

    def _generator(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose, so that a change in one leaves the others as they are."""
        return np.random.default_rng([self.seed, *purpose.encode()])
