"""The tokenizer ``lexical``: words and signs by a fixed rule, comparable between datasets.

A token is a run of letters and digits (with inner apostrophes), a single sign, or, in scripts
written without spaces, a single character. Nothing is learned or downloaded, so datasets measured
at different times are counted alike. A model sees other tokens; where the model's view is wanted,
use its tokenizer. The alternative ``words`` (``str.split``) attaches the full stop to its word and
treats a Chinese sentence as one word, which makes every text look diverse.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import count

import numpy as np

from sftdiv.records import TokenIds
from sftdiv.text.words import UNSPACED, marks

LEXICAL = "lexical"
VARIATION_SELECTORS = "\ufe00-\ufe0f"  # belong to the sign before them


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
    mark, letter = marks() + VARIATION_SELECTORS, rf"[^\W{UNSPACED}]"
    full = rf"{letter}+(?:[{mark}'\u2019]+{letter}+)*[{mark}]*|[{UNSPACED}]|[^\s\w][{mark}]*"
    return re.compile(r"\w+(?:'+\w+)*|[^\s\w]"), re.compile(full)
