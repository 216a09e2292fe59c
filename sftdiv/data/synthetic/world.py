"""The synthetic world: what its base model reads, what it is fine-tuned on, and what the benchmark asks.

A seed, with the size and skew of the corpus, gives statements (every fact in plain sentences), samples
(instruction and response, never a held-out fact) and items (held-out facts, spread evenly). The base
model has thus read every fact that the benchmark asks for; fine-tuning can teach it how to answer, not
what is true. Facts are arbitrary, so that nothing else a model knows helps or hurts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sftdiv.data.synthetic.benchmark import Item, write_items
from sftdiv.data.synthetic.facts import Table, draw_table, squares
from sftdiv.data.synthetic.lexicon import Lexicon, load_lexicon
from sftdiv.data.synthetic.sampling import Sampler
from sftdiv.data.synthetic.tasks import write_tasks
from sftdiv.data.synthetic.wording import capitalised, fields
from sftdiv.records import Example, SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range

# Part of every identity of a world. Raise it whenever samples, statements, items or task files change for any seed,
# by code or by words (lexicon.yaml); cached corpora and finished cells are then made anew. A test pins the content.
GENERATOR_VERSION = 1
DRAWS_PER_SAMPLE = 50
PASSAGE = 3  # sentences about one entity: repeated names teach a small model to copy a name


@dataclass(frozen=True, kw_only=True)
class World:
    """One world.

    Attributes:
        seed: Seed of the facts and of every draw.
        size: Number of samples.
        skew: Factor of all Zipf exponents of the lexicon; 0 is even, 1 as written there.
    """

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)  # its random streams may differ between versions (NEP 19)

    seed: int
    size: int
    skew: float

    def __post_init__(self) -> None:
        check_range("corpus.seed", self.seed, least=0, whole=True)
        check_range("corpus.samples", self.size, least=1, whole=True)
        check_range("corpus.skew", self.skew, least=0)

    def identity(self) -> dict[str, Any]:
        """What decides the samples: all settings and the version of the generator."""
        return {"version": GENERATOR_VERSION, **settings_identity(self)}

    def facts_identity(self) -> dict[str, Any]:
        """What decides facts, statements and benchmark: the seed and the version of the generator."""
        return {"version": GENERATOR_VERSION, "seed": self.seed}

    @property
    def lexicon(self) -> Lexicon:
        """The words, shared by all worlds."""
        return load_lexicon()

    @cached_property
    def tables(self) -> Sequence[Table]:
        """One table of facts per topic, commonest topic first."""
        rng = self._generator("facts")
        topics = [self.lexicon.topics[index] for index in rng.permutation(len(self.lexicon.topics))]
        return [draw_table(topic, self.lexicon.values, rng) for topic in topics]

    @cached_property
    def held_out(self) -> frozenset[tuple[str, str]]:
        """Entity and value of every held-out fact: two names that never occur together in a training sample."""
        return frozenset(
            (fact.entity, fact.value) for table in self.tables for square in squares(table) for fact in square
        )

    @cached_property
    def statements(self) -> list[str]:
        """Text for the base model: every fact in every plain form, in shuffled short passages about one entity each."""
        rng, forms = self._generator("statements"), self.lexicon.statements
        passages: list[str] = []
        for row in (row for table in self.tables for row in table):
            words = [fields(fact, fact, truth_first=True) for fact in row]
            ordered = [capitalised(form.format(**fact_words)) for fact_words in words for form in forms]
            sentences = rng.permutation(ordered).tolist()
            passages += [" ".join(sentences[start : start + PASSAGE]) for start in range(0, len(sentences), PASSAGE)]
        return [passages[index] for index in rng.permutation(len(passages))]

    def samples(self) -> Iterator[Example]:
        """``size`` distinct samples; ``extra`` holds their ``topic``, ``tags``, ``skill`` and ``style``.

        Raises:
            SftdivError: If the world has fewer distinct samples.
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
        raise SftdivError(
            f"the synthetic world can write only {len(seen)} distinct samples, not corpus.samples={self.size}"
        )

    def items(self) -> list[Item]:
        """The benchmark."""
        return list(write_items(self.tables, self.lexicon, self._generator("items")))

    def write_tasks(self, folder: Path, *, final_folder: Path | None = None) -> list[str]:
        """Write the benchmark as lm-eval tasks; see `sftdiv.data.synthetic.tasks.write_tasks`.

        Args:
            folder: Existing folder to write into.
            final_folder: Folder that the files will be read from; None for ``folder``.

        Returns:
            Names of the tasks.
        """
        return write_tasks(self.items(), folder, final_folder=final_folder or folder)

    def _generator(self, purpose: str) -> np.random.Generator:
        """A separate random stream per purpose, so that a change in one does not affect the others."""
        return np.random.default_rng([self.seed, *purpose.encode()])
