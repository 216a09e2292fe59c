r"""Words of texts in any script, by one rule for tags, vectors, lengths, counts and near duplicates.

In scripts that are written with spaces a word is what stands between them or between punctuation; combining marks
(vowel signs, points) belong to their letter, which Python's ``\w`` forgets. In scripts that are written without spaces
(Chinese, Japanese, Thai, Lao, Burmese, Khmer and others) a character with its marks counts as a word, and two
neighbours stand for a term, as in search engines, since finding true words needs a dictionary of the language.

Texts without such characters, all Latin ones among them, are cut exactly as by ``str.split`` and by scikit-learn's
``\b\w\w+\b``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise

# Thai and Lao, Burmese, Khmer, Tai, Balinese, the marks of iteration, kana, Han, Javanese, small kana, rare Han
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u9fff\ua980-\ua9df\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_NOT_LATIN = r"[^\W\x00-\u02af]"
_JOINER_OF_LETTERS = rf"(?<={_NOT_LATIN})[\u200c\u200d](?={_NOT_LATIN})"
_SELECTORS = range(0xFE00, 0xFE10)  # of emoji and other signs; they belong to no word
_LAST_MARK = 0x1F000  # what follows are signs, and selectors
ENGLISH_WORD = re.compile(r"(?u)\b\w\w+\b")  # scikit-learn's


@cache
def marks() -> str:
    """Combining marks (categories Mn and Mc), without variation selectors, as ranges of a character class."""
    numbers = [number for number in range(0x300, _LAST_MARK) if _is_mark(number)]
    starts = [number for number in numbers if not _is_mark(number - 1)]
    ends = [number for number in numbers if not _is_mark(number + 1)]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


def _is_mark(number: int) -> bool:
    return number not in _SELECTORS and number < _LAST_MARK and unicodedata.category(chr(number)) in {"Mn", "Mc"}


@cache
def joiner() -> str:
    """Pattern of a zero-width joiner or non-joiner within a word, as of Persian and Indic scripts; not Latin ones."""
    return rf"(?:{_JOINER_OF_LETTERS}|(?<=[{marks()}])[\u200c\u200d](?={_NOT_LATIN}))"


@cache
def _beyond() -> re.Pattern[str]:
    """Any character for which the simple rules do not hold."""
    return re.compile(rf"[{UNSPACED}{marks()}]|{_JOINER_OF_LETTERS}")


@cache
def unspaced_run() -> str:
    """Pattern of a run of characters of scripts without spaces."""
    return rf"[{UNSPACED}][{UNSPACED}{marks()}]*"


@cache
def _unit() -> re.Pattern[str]:
    """One character of a run with its marks."""
    return re.compile(rf"[^{marks()}][{marks()}]*")


@cache
def _pieces() -> re.Pattern[str]:
    """Runs, and what stands between them, within a piece of text without white space."""
    return re.compile(rf"({unspaced_run()})|[^{UNSPACED}]+")


@cache
def _terms() -> re.Pattern[str]:
    """Runs, and words of two or more characters in which marks count as letters."""
    letter = rf"[^\W{UNSPACED}]"
    return re.compile(rf"({unspaced_run()})|{letter}(?:{letter}|[{marks()}]|{joiner()})*(?:{letter}|[{marks()}])")


def is_simple(text: str) -> bool:
    """Whether a text holds neither marks nor characters of scripts without spaces."""
    return text.isascii() or _beyond().search(text) is None


def split_words(text: str) -> list[str]:
    """Words between white space; in scripts without spaces, characters with their marks, without punctuation."""
    words = text.split()
    return words if is_simple(text) else [each for word in words for each in _split(word)]


def _split(piece: str) -> Iterator[str]:
    matches = list(_pieces().finditer(piece))
    if not any(match[1] for match in matches):
        yield piece
        return
    for match in matches:
        if match[1]:
            yield from characters(match[1])
        elif any(map(str.isalnum, match[0])):
            yield match[0]


def count_words(texts: Iterable[str]) -> list[int]:
    """Number of words of each text; see `split_words`."""
    return [len(split_words(text)) for text in texts]


def terms(text: str) -> list[str]:
    """Words of two or more characters, without punctuation; in scripts without spaces, pairs of characters."""
    if is_simple(text):
        return ENGLISH_WORD.findall(text)
    found: list[str] = []
    for match in _terms().finditer(text):
        found += pairs(match[1]) if match[1] else [match[0]]
    return found


def characters(run: str) -> list[str]:
    """Letters and digits of a run of a script without spaces, each with its marks."""
    return [unit for unit in _unit().findall(run) if unit[0].isalnum()]


def pairs(run: str) -> list[str]:
    """Neighbouring characters of a run of a script without spaces; the character itself where there is one only."""
    single = characters(run)
    return [first + second for first, second in pairwise(single)] if len(single) > 1 else single
