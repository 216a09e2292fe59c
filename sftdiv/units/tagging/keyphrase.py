"""Tags without a model: the key phrases of a text.

Key phrases are the words and word pairs of highest TF-IDF that have no word in common. They replace
the paper's LLM-written tags where no LLM is available. A phrase must occur in the text, so a tag
names the subject and not the task. Nothing is downloaded, and phrases must be shared by enough
texts: on 68,000 distinct instructions of the pool, 97 % have a tag that 20 texts share; with RAKE
(rake-nltk) 78 %. YAKE is about 28 times slower (``benchmarks/pool_tags.py``). With
``prefer_long=1``, tags describe tasks almost as well as RAKE's, without losing those texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sftdiv.records import RawTags, SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.progress_bar import tracked
from sftdiv.text.words import UNSPACED, is_simple, joiner, marks, pairs, unspaced_run

if TYPE_CHECKING:
    import scipy.sparse

WORD_OR_BREAK = re.compile(r"[^\W\d_][\w'-]*\w|\d\w*|\S")  # of texts that `is_simple` holds for


@cache
def _word_run_or_break() -> re.Pattern[str]:
    """The same for all scripts: marks and joiners belong to their word; a run without spaces is the first group."""
    letter, mark = rf"[^\W{UNSPACED}]", rf"[{marks()}]"
    within = rf"(?:{letter}|[{marks()}'-]|{joiner()})"
    return re.compile(rf"({unspaced_run()})|[^\W\d_{UNSPACED}]{within}*(?:{letter}|{mark})|\d{letter}*|\S")


@dataclass(frozen=True, kw_only=True)
class KeyphraseTagger:
    """Words and word pairs by TF-IDF.

    Attributes:
        per_example: Maximum number of tags per text.
        longest: Maximum number of words in a phrase.
        min_documents: Minimum number of distinct texts with a phrase, so that examples can share
            tags.
        max_share: Share of the distinct texts above which a phrase is too common to distinguish
            texts.
        prefer_long: Exponent of the number of words by which a phrase's weight is multiplied; 0 is
            plain TF-IDF, at 1 a pair of words counts twice.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)  # its stop words and weights
    kind_column: ClassVar[str] = "name"

    per_example: int
    longest: int
    min_documents: int
    max_share: float
    prefer_long: float

    def identity(self) -> dict[str, Any]:
        """All settings; ``prefer_long`` has no effect on phrases of one word."""
        settings = settings_identity(self)
        if self.longest == 1:
            del settings["prefer_long"]
        return {"kind": "keyphrases", **settings}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """The key phrases of every text; a text without a shared phrase has none.

        Args:
            texts: Distinct texts.
            partial: Not used; a killed call starts again.

        Raises:
            SftdivError: If no phrase is common enough.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            analyzer=self.phrases,
            sublinear_tf=True,
            min_df=self.min_documents,
            max_df=max(self.min_documents, int(self.max_share * len(texts))),
            dtype=np.float32,
        )
        try:
            weights = vectorizer.fit_transform(tracked(texts, "key phrases", unit="texts"))
        except ValueError as error:
            raise SftdivError(
                f"no phrase of {len(texts)} distinct texts occurs in at least {self.min_documents} of them and in at "
                f"most {self.max_share:.0%}; lower strategy.units.tagger.min_documents or raise "
                "strategy.units.tagger.max_share"
            ) from error
        names = vectorizer.get_feature_names_out()
        words = np.array([name.count(" ") + 1 for name in names], dtype=np.float32)
        weights.data *= (words**self.prefer_long)[weights.indices]
        rows = tracked(range(len(texts)), "the best key phrases", unit="texts")
        return RawTags([self.best(names, weights, text) for text in rows], {"phrases": len(names)})

    def phrases(self, text: str) -> Iterator[str]:
        """Runs of 1 to ``longest`` words in lower case.

        Runs end at stop words, numbers, single letters and punctuation, as in RAKE (Rose et al.
        2010). In scripts without spaces every two neighbouring characters are a phrase.
        """
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        run: list[str] = []
        lowered = text.lower()
        pattern = WORD_OR_BREAK if is_simple(lowered) else _word_run_or_break()
        for match in pattern.finditer(lowered):
            if match.re.groups and match[1]:
                yield from pairs(match[1])  # phrases of their own
                run = []
                continue
            word = match[0]
            is_content = len(word) > 1 and word[0].isalpha() and word not in ENGLISH_STOP_WORDS
            run = [*run, word][-self.longest :] if is_content else []
            for start in range(len(run)):
                yield " ".join(run[start:])

    def best(self, names: Sequence[str], weights: scipy.sparse.csr_matrix, text: int) -> list[str]:
        """The ``per_example`` phrases of one text of highest weight (ties: alphabetical) that have no word in common.

        Args:
            names: Phrase of each column, alphabetical.
            weights: TF-IDF weights, shape (texts, phrases).
            text: Row of the text.
        """
        row = slice(weights.indptr[text], weights.indptr[text + 1])
        columns, values = weights.indices[row], weights.data[row]
        chosen: list[str] = []
        used_words: set[str] = set()
        for column in columns[np.lexsort((columns, -values))]:
            words = set(names[column].split())
            if used_words.isdisjoint(words):
                chosen.append(str(names[column]))
                used_words |= words
            if len(chosen) == self.per_example:
                break
        return chosen
