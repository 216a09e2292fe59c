r"""Words of texts as hashes, by the normalisation under which two texts count as equal for decontamination.

Compared are words and numbers, regardless of letter case, spacing, Unicode form and punctuation; ``1,000`` is
``1000``, ``don't`` is ``dont`` and ``snake_case`` two words. Signs that carry meaning stay: ``+ = < >`` and the
like everywhere, ``- * /`` between numbers, so that ``3 + 5`` and ``3 - 5`` differ. In scripts without spaces
every character is a word (`text.words`).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from sftdiv.text.words import UNSPACED, marks

_LETTER = rf"[^\W_{UNSPACED}]"
_NUMBER = r"\d+(?:,\d{3}(?!\d))*(?:\.\d+)?"
_APOSTROPHE, _MINUS, _TIMES = "\u2019", "\u2212", "\u00d7"  # typographic
_WORD = rf"{_LETTER}(?:{_LETTER}|[{marks()}]|['{_APOSTROPHE}](?={_LETTER}))*"
_BETWEEN_NUMBERS = rf"(?:(?<=[\d)])|(?<=[\d)] ))[-{_MINUS}*/](?= ?[\d(])"
_WORDS = re.compile(rf"{_NUMBER}|{_WORD}|[{UNSPACED}]|[+=<>^{_TIMES}÷±≤≥≠]+|{_BETWEEN_NUMBERS}")
_IGNORED = str.maketrans({",": None, "'": None, _APOSTROPHE: None, _MINUS: "-"})  # within a word
_CACHED_WORDS = 1_000_000  # hashes of words, about 150 MB


def normalised_words(text: str) -> list[str]:
    """The compared words of a text, in order."""
    return [word.translate(_IGNORED) for word in _WORDS.findall(_normal(text))]


class OverlapWords(dict[str, int]):
    """Hashes of the compared words of a text, equal in every process, unlike Python's ``hash``."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        digest = hashlib.blake2b(word.translate(_IGNORED).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return self.setdefault(word, int.from_bytes(digest, "little"))

    def __call__(self, text: str) -> NDArray[np.uint64]:
        """One hash per word, shape (words,)."""
        words = _WORDS.findall(_normal(text))
        return np.fromiter(map(self.__getitem__, words), dtype=np.uint64, count=len(words))


def _normal(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
