"""The tokenizer ``lexical``: words and signs by a fixed rule, comparable between datasets.

A token is a run of letters and digits (with inner apostrophes), a single sign, or, in scripts
written without spaces, a single character. Nothing is learned or downloaded, so datasets measured
at different times are counted alike. A model sees other tokens; where the model's view is wanted,
use its tokenizer. The alternative ``words`` (``str.split``) attaches the full stop to its word and
treats a Chinese sentence as one word, which makes every text look diverse.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import count

import numpy as np

from sftdiv.records import TokenIds

LEXICAL = "lexical"
# Thai and Lao, Burmese, Khmer, kana, Han (three ranges)
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"


def lexical_ids(texts: Iterable[str]) -> TokenIds:
    """Token ids of texts, numbered in the order in which the tokens first occur; case-sensitive.

    Args:
        texts: Read once, in order; only one of them need be in memory.
    """
    ascii_tokens, all_tokens = (pattern.findall for pattern in _patterns())
    ids: defaultdict[str, int] = defaultdict(count().__next__)
    flat, ends = array("i"), array("q", [0])
    for text in texts:
        flat.extend(map(ids.__getitem__, ascii_tokens(text) if text.isascii() else all_tokens(text)))
        ends.append(len(flat))
    return TokenIds(np.frombuffer(flat, dtype=np.int32), np.frombuffer(ends, dtype=np.int64), list(ids))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""The rule as two patterns: one for ASCII alone, which is twice as fast, and one for all scripts.

    Python's ``\w`` excludes combining marks, without which words of Indic scripts would be split.
    """
    marks, letter = _marks(), rf"[^\W{UNSPACED}]"
    full = rf"{letter}+(?:[{marks}'\u2019]+{letter}+)*[{marks}]*|[{UNSPACED}]|[^\s\w][{marks}]*"
    return re.compile(r"\w+(?:'+\w+)*|[^\s\w]"), re.compile(full)


def _marks() -> str:
    """Combining marks up to U+FFFF outside the unspaced scripts, for a character class (more would be slower)."""
    unspaced = re.compile(f"[{UNSPACED}]")
    marks = (mark for mark in map(chr, range(0x300, 0x10000)) if unicodedata.category(mark) in {"Mn", "Mc"})
    return "".join(mark for mark in marks if not unspaced.match(mark))
