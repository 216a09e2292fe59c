"""Checks of a converted conversation: its turns alternate, none is blank, and all of its text can be written."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.turns import Message
from sftdiv.records import Example


def check_turns(messages: Sequence[Message]) -> None:
    """Check that user and assistant alternate after an optional system turn, and that no turn is blank.

    Raises:
        BadRowError: They do not, or one is.
    """
    has_system = bool(messages) and messages[0]["role"] == "system"
    turns = messages[1:] if has_system else messages
    roles = [turn["role"] for turn in turns]
    if not roles or len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise BadRowError(
            "wrong turns: after an optional system turn, user and assistant must alternate and end with assistant, "
            f"got {roles}"
        )
    for turn in turns:
        if not turn["content"].strip():
            side = "response" if turn["role"] == "assistant" else "instruction"
            raise BadRowError(f"empty {side}: a turn of {turn['role']} is blank")


def check_unicode(example: Example) -> None:
    """Reject lone surrogates, which stand for undecodable bytes (``surrogateescape``) or come from JSON escapes.

    Raises:
        BadRowError: A text, label or carried value holds one.
    """
    texts = [*(turn["content"] for turn in example.messages), example.source, example.id]
    if not example.extra and all(map(str.isascii, texts)):
        return
    try:
        "\n".join([*texts, json.dumps(example.extra, ensure_ascii=False)]).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 20) : error.start + 20]
        raise BadRowError(f"not UTF-8: a byte or surrogate that is no character, at {around!a}") from error
