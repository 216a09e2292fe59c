"""Tags without a model: the key phrases of a text.

In: distinct texts. Out: for each the words and word pairs of highest TF-IDF, none of which shares a
word with another. Key phrases stand in for the paper's LLM-written tags where no LLM can be asked.
The trade: a phrase must be in the text, so that a tag names what is spoken of, not what is asked
for. Nothing is downloaded, and a phrase is chosen among those that enough texts share: on 68,000
distinct instructions of the pool 97 % hold a tag that 20 share, with RAKE (rake-nltk) 78 %; YAKE
takes 25 minutes of processor time to our half (``benchmarks/pool_tags.py``). Weighting pairs twice
(``prefer_long``) names tasks almost as well as RAKE does, without losing those texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.records import SftdivError
from sftdiv.units.tagging.raw import RawTags

if TYPE_CHECKING:
    import scipy.sparse

WORD_OR_BREAK = re.compile(r"[^\W\d_][\w'-]*\w|\d\w*|\S")


@dataclass(frozen=True, kw_only=True)
class KeyphraseTagger:
    """Words and word pairs by TF-IDF.

    Attributes:
        per_example: Tags of a text at most.
        longest: Words of a phrase at most.
        min_documents: Distinct texts that a phrase must stand in: it makes tags that examples can share.
        max_share: Share of the distinct texts above which a phrase is too common to tell texts apart.
        prefer_long: A phrase's weight is multiplied by its words to this power; 0 is plain TF-IDF,
            at 1 two words beat one.
    """

    per_example: int
    longest: int
    min_documents: int
    max_share: float
    prefer_long: float

    def identity(self) -> dict[str, Any]:
        """The settings and scikit-learn's version, whose stop words and weights they are."""
        return {"name": "keyphrases", **asdict(self), "scikit-learn": version("scikit-learn")}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """The key phrases of every text; a text without a shared phrase has none. ``partial`` is not used."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            analyzer=self.phrases,
            sublinear_tf=True,
            min_df=self.min_documents,
            max_df=max(self.min_documents, int(self.max_share * len(texts))),
            dtype=np.float32,
        )
        try:
            weights = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise SftdivError(
                f"no phrase of {len(texts)} distinct texts stands in at least {self.min_documents} of them and in at most "
                f"{self.max_share:.0%}; lower strategy.units.tagger.min_documents or raise strategy.units.tagger.max_share"
            ) from error
        names = vectorizer.get_feature_names_out()
        words = np.array([name.count(" ") + 1 for name in names], dtype=np.float32)
        weights.data *= (words**self.prefer_long)[weights.indices]
        return RawTags([self.best(names, weights, text) for text in range(len(texts))], {"phrases": len(names)})

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
                chosen.append(str(names[column]))
                taken |= words
            if len(chosen) == self.per_example:
                break
        return chosen
