"""The tokenizer ``lexical``: words and signs by a rule, so that two datasets measured on two days count the same things.

In: texts, one at a time. Out: ``TokenIds``. A token is a run of letters and digits (with inner
apostrophes), a single sign, or, in scripts that write no spaces, a single character. Nothing is
learnt and nothing is downloaded. The trade: a model sees other tokens; where the model's view is
wanted, its tokenizer can be named instead. ``words`` (``str.split``) glues the full stop to its
word and takes a Chinese sentence for one word, which makes every text look diverse.
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
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Lao, Burmese, Khmer, kana, Han


def lexical_ids(texts: Iterable[str]) -> TokenIds:
    """Token ids of texts, numbered in the order in which the tokens first occur; case is kept.

    Args:
        texts: Read once, in order; only one of them need be in memory.
    """
    plain, any_script = (pattern.findall for pattern in _patterns())
    ids: defaultdict[str, int] = defaultdict(count().__next__)
    flat, ends = array("i"), array("q", [0])
    for text in texts:
        flat.extend(map(ids.__getitem__, plain(text) if text.isascii() else any_script(text)))
        ends.append(len(flat))
    return TokenIds(np.frombuffer(flat, dtype=np.int32), np.frombuffer(ends, dtype=np.int64), list(ids))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""The rule as two patterns, of which the first is for ASCII alone and twice as fast.

    Python's ``\w`` leaves out combining marks, without which words of Indic scripts would fall apart.
    """
    marks, letter = _marks(), rf"[^\W{UNSPACED}]"
    full = rf"{letter}+(?:[{marks}'\u2019]+{letter}+)*[{marks}]*|[{UNSPACED}]|[^\s\w][{marks}]*"
    return re.compile(r"\w+(?:'+\w+)*|[^\s\w]"), re.compile(full)


def _marks() -> str:
    """The combining marks up to U+FFFF outside the unspaced scripts, as the inside of a character class (rarer ones would slow it)."""
    unspaced = re.compile(f"[{UNSPACED}]")
    return "".join(
        mark
        for mark in map(chr, range(0x300, 0x10000))
        if unicodedata.category(mark) in {"Mn", "Mc"} and not unspaced.match(mark)
    )
