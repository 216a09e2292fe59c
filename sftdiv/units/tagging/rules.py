"""Normalisation, step 2: tags that differ only by case, punctuation or inflection are merged.

Tags with the same lemmas get the most common of their spellings. InsTag (arXiv 2308.07074, section
3.2) lowers the case, replaces special characters by spaces and stems with NLTK. Here words are
lemmatised by simplemma: its dictionaries are part of the wheel, whereas NLTK's WordNet is a
download, and lemmas keep "universe" and "university" apart, which Porter's stemmer merges. "+" and
"#" after a letter are kept, or C, C++ and C# would be merged. A word's lemma ignores its context
("left" is always "leave").
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.storage.hashing import settings_identity
from sftdiv.text.words import joiner, marks
from sftdiv.units.tagging.merging import commonest, counts_of

_WORD = rf"\w{marks()}"  # marks belong to their letter
SPECIAL = re.compile(rf"((?<=\w)[+#]+|{joiner()})|[^{_WORD}]|_")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Merges spellings of one tag.

    Attributes:
        language: Language of the lemmas, as simplemma names it (``en``); None keeps inflections
            apart.
    """

    libraries: ClassVar[tuple[str, ...]] = ("simplemma",)

    language: str | None

    def identity(self) -> dict[str, Any]:
        """The language."""
        return {"kind": "rules", **settings_identity(self)}

    def rename(self, names: Sequence[str], matrix: scipy.sparse.csr_array) -> list[str | None]:
        """The most common spelling of each tag, in lower case and without punctuation."""
        return list(one_spelling(names, counts_of(matrix), language=self.language))


def one_spelling(names: Sequence[str], counts: NDArray[np.int64], *, language: str | None) -> list[str]:
    """The most common spelling among the tags with the same lemmas, for each tag.

    Args:
        names: Name of each tag.
        counts: Number of texts with each tag, shape (tags,).
        language: Language of the lemmas; None for none.
    """
    spellings = [spelling(name) for name in names]
    totals: Counter[str] = Counter()
    for text, count in zip(spellings, counts.tolist(), strict=True):
        totals[text] += count
    distinct = sorted(totals)
    lemmas = np.array([lemma(text, language=language) for text in distinct], dtype=object)
    group = np.unique(lemmas, return_inverse=True)[1]
    most_common = commonest(distinct, np.array([totals[text] for text in distinct]), group)
    name_of = dict(zip(distinct, most_common, strict=True))
    return [name_of[text] for text in spellings]


def spelling(tag: str) -> str:
    """The tag in lower case and NFKC form, with special characters replaced by single spaces.

    A tag that consists of special characters alone is kept.
    """
    plain = unicodedata.normalize("NFKC", tag).lower()
    spaced = SPECIAL.sub(lambda match: match.group(1) or " ", plain)
    return " ".join(spaced.split()) or plain.strip()


def lemma(text: str, *, language: str | None) -> str:
    """The text with each word replaced by its lemma."""
    if language is None:
        return text
    from simplemma import lemmatize

    return " ".join(lemmatize(word, lang=language).lower() for word in text.split())
