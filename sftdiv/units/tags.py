"""Mesoscopic units: a few tags an example, each a key phrase of its text or a value that the data already has.

In: one side of a corpus. Out: examples x tags, each tag that an example holds counted once. Key phrases stand in for the paper's
LLM-written tags (InsTag, Lu et al. 2023, arXiv 2308.07074) where no LLM can be asked. The trade: a phrase must be in the text, so that a
tag names what is spoken of, not what is asked for; nothing is downloaded, and 67,000 distinct instructions take a quarter of a minute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.records import SftdivError, SideText, Units

if TYPE_CHECKING:
    import scipy.sparse

WORD_OR_BREAK = re.compile(r"[^\W\d_][\w'-]*\w|\d\w*|\S")


@dataclass(frozen=True, kw_only=True)
class KeyphraseTags:
    """The words and word pairs of a text with the highest TF-IDF, none of which shares a word with another of them.

    Attributes:
        per_example: Tags of a text at most.
        longest: Words of a phrase at most.
        min_documents: Distinct texts that a phrase must stand in: it makes tags that examples can share.
        max_share: Share of the distinct texts above which a phrase is too common to tell texts apart.
    """

    per_example: int
    longest: int
    min_documents: int
    max_share: float

    def find(self, side: SideText) -> Units:
        """The key phrases of every text; equal texts hold equal tags, and a text without a shared phrase holds none."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        distinct, row = np.unique(np.array(side.texts, dtype=object), return_inverse=True)
        vectorizer = TfidfVectorizer(
            analyzer=self.phrases,
            sublinear_tf=True,
            min_df=self.min_documents,
            max_df=max(self.min_documents, int(self.max_share * len(distinct))),
            dtype=np.float32,
        )
        try:
            weights = vectorizer.fit_transform(distinct)
        except ValueError as error:
            raise SftdivError(
                f"no phrase of {len(distinct)} distinct texts stands in at least {self.min_documents} of them and in at most "
                f"{self.max_share:.0%}; lower strategy.units.min_documents or raise strategy.units.max_share"
            ) from error
        names = vectorizer.get_feature_names_out()
        tags = [self.best(names, weights, text) for text in range(len(distinct))]
        return units_of([tags[text] for text in row], {"finder": "keyphrases", **asdict(self)})

    def phrases(self, text: str) -> Iterator[str]:
        """Runs of 1 to ``longest`` words in lower case; stop words, numbers, letters and punctuation break them (RAKE, Rose 2010)."""
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        run: list[str] = []
        for word in WORD_OR_BREAK.findall(text.lower()):
            tells = len(word) > 1 and word[0].isalpha() and word not in ENGLISH_STOP_WORDS
            run = [*run, word][-self.longest :] if tells else []
            yield from (" ".join(run[start:]) for start in range(len(run)))

    def best(self, names: Sequence[str], weights: scipy.sparse.csr_matrix, text: int) -> list[str]:
        """Phrases of one text by falling weight (ties by alphabet), passing over those that share a word with a chosen one."""
        span = slice(weights.indptr[text], weights.indptr[text + 1])
        columns, values = weights.indices[span], weights.data[span]
        chosen: list[str] = []
        taken: set[str] = set()
        for column in columns[np.lexsort((columns, -values))]:
            words = set(names[column].split())
            if taken.isdisjoint(words):
                chosen.append(names[column])
                taken |= words
            if len(chosen) == self.per_example:
                break
        return chosen


@dataclass(frozen=True, kw_only=True)
class ColumnTags:
    """The tags that a column of the corpus holds: a list of strings a row, or one string; an empty one is no tag.

    Attributes:
        column: Name of the column (it must be carried along: ``corpus.columns``).
    """

    column: str

    def find(self, side: SideText) -> Units:
        """The column's tags, as they stand.

        Raises:
            SftdivError: If a value is neither text nor a list of texts.
        """
        return units_of([self.tags(row, value) for row, value in enumerate(side.column(self.column))], {"finder": "column", **asdict(self)})

    def tags(self, row: int, value: Any) -> list[str]:
        """The tags in one value."""
        values = value if isinstance(value, list) else [value]
        if not all(tag is None or isinstance(tag, str) for tag in values):
            raise SftdivError(f"row {row} of column {self.column!r} holds {value!r}; tags are a string or a list of strings")
        return [tag for tag in values if tag]


def units_of(tags: Sequence[Sequence[str]], made_by: dict[str, Any]) -> Units:
    """The matrix of examples x tags from a list of tags an example; types in alphabetical order, a repeated tag counted once."""
    import scipy.sparse

    names = sorted({tag for held in tags for tag in held})
    number = {name: i for i, name in enumerate(names)}
    held_types = [sorted({number[tag] for tag in held}) for held in tags]
    indptr = np.cumsum([0, *map(len, held_types)], dtype=np.int64)
    indices = np.fromiter((i for held in held_types for i in held), dtype=np.int64, count=indptr[-1])
    shape = (len(tags), len(names))
    return Units(scipy.sparse.csr_array((np.ones(len(indices), dtype=np.int64), indices, indptr), shape=shape), names, made_by)
