"""What of a model's text is its answer, and how text that UTF-8 cannot encode is stored: one rule for every answer."""

from __future__ import annotations

import re

THOUGHT, END_OF_THOUGHT = "<think>", "</think>"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def without_thoughts(text: str, *, begun: bool = False) -> str:
    """The answer in a model's text: what follows the last ``</think>``, without the blanks before it.

    Thoughts that never end leave no answer. A text without thoughts is returned unchanged.

    Args:
        text: Text of a model.
        begun: Whether the prompt ended with ``<think>``, so that the text begins within a thought.
    """
    _, end, answer = text.rpartition(END_OF_THOUGHT)
    if end:
        answer = answer.lstrip()
    unfinished = answer.lstrip().startswith(THOUGHT) or (begun and not end)
    return "" if unfinished else answer


def escape_surrogates(text: str) -> str:
    """The text with halves of characters written as escapes (backslash, u, d83d); whole pairs become their character.

    JSON escapes can hold half a character, which neither files nor Parquet nor a terminal take.
    """
    if not LONE_SURROGATE.search(text):
        return text
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return paired.encode("utf-8", "backslashreplace").decode("utf-8")
