"""Normalisation, step 2: tags that differ by case, punctuation or inflection are one tag.

In: tags. Out: the commonest spelling among those that share their lemmas. InsTag (arXiv 2308.07074,
section 3.2) lowers the case, replaces special characters by spaces and stems with NLTK. Here words
are lemmatised by simplemma: its dictionaries come in the wheel, where NLTK's WordNet is a download,
and lemmas keep "universe" and "university" apart, which Porter's stemmer merges. "+" and "#" after
a letter stay, or C, C++ and C# were one language. The trade: the lemma of a word does not know its
sentence ("left" is always "leave").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.units.tagging.merging import commonest, counts_of

SPECIAL = re.compile(r"((?<=\w)[+#]+)|[^\w]|_")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Merges spellings of one tag.

    Attributes:
        language: Of the lemmas, as simplemma names it (``en``); None leaves inflection alone.
    """

    language: str | None

    def identity(self) -> dict[str, Any]:
        """The language and the lemmatiser's version."""
        return {**asdict(self), "simplemma": version("simplemma")}

    def rename(self, names: Sequence[str], held: scipy.sparse.csr_array) -> list[str | None]:
        """The commonest spelling, in lower case and without punctuation, of each tag."""
        return list(one_spelling(names, counts_of(held), language=self.language))


def one_spelling(names: Sequence[str], counts: NDArray[np.int64], *, language: str | None) -> list[str]:
    """For each tag the commonest spelling of those with the same lemmas."""
    spellings = [spelling(name) for name in names]
    together: dict[str, int] = {}
    for text, count in zip(spellings, counts.tolist(), strict=True):
        together[text] = together.get(text, 0) + count
    distinct = sorted(together)
    lemmas = np.array([lemma(text, language=language) for text in distinct], dtype=object)
    group = np.unique(lemmas, return_inverse=True)[1]
    chosen = commonest(distinct, np.array([together[text] for text in distinct]), group)
    name_of = dict(zip(distinct, chosen, strict=True))
    return [name_of[text] for text in spellings]


def spelling(tag: str) -> str:
    """The tag in lower case, compatibility characters unified (NFKC), special characters as single spaces; a tag of these alone stays."""
    plain = unicodedata.normalize("NFKC", tag).lower()
    spaced = SPECIAL.sub(lambda found: found.group(1) or " ", plain)
    return " ".join(spaced.split()) or plain.strip()


def lemma(text: str, *, language: str | None) -> str:
    """The text with each word replaced by its lemma."""
    if language is None:
        return text
    from simplemma import lemmatize

    return " ".join(lemmatize(word, lang=language).lower() for word in text.split())
