"""The tokenizer ``lexical``: words and signs by a fixed rule, comparable between datasets.

A token is a run of letters and digits (with inner apostrophes), a single sign, or, in scripts
written without spaces, a single character. Nothing is learned or downloaded, so datasets measured
at different times are counted alike. A model sees other tokens; where the model's view is wanted,
use its tokenizer. The alternative ``words`` (``str.split``) attaches the full stop to its word and
treats a Chinese sentence as one word, which makes every text look diverse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from sftdiv.text.ascii_tokens import number_ascii_tokens
from sftdiv.text.words import UNSPACED, marks
from sftdiv.units.numbering import NumberedBlock

LEXICAL = "lexical"
VARIATION_SELECTORS = "\ufe00-\ufe0f"  # belong to the sign before them


def lexical_tokens(text: str) -> list[str]:
    """Tokens of a text, case-sensitive."""
    ascii_tokens, all_tokens = _patterns()
    return ascii_tokens.findall(text) if text.isascii() else all_tokens.findall(text)


def number_lexical(texts: Sequence[str]) -> NumberedBlock:
    """Tokens of texts, numbered by their first occurrence; those of ASCII texts are cut by a compiled loop."""
    return NumberedBlock(*number_ascii_tokens(texts, lexical_tokens, inner_apostrophes=True))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""The rule as two patterns: one for ASCII alone, which is twice as fast, and one for all scripts.

    Python's ``\w`` excludes combining marks, without which words of Indic scripts would be split.
    """
    mark, letter = marks() + VARIATION_SELECTORS, rf"[^\W{UNSPACED}]"
    full = rf"{letter}+(?:[{mark}'\u2019]+{letter}+)*[{mark}]*|[{UNSPACED}]|[^\s\w][{mark}]*"
    return re.compile(r"\w+(?:'+\w+)*|[^\s\w]"), re.compile(full)
