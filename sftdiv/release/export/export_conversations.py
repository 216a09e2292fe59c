"""Converts one conversation into a JSON object of each format.

``messages`` is what TRL calls conversational. ``sharegpt`` has the system prompt as a turn, which
LLaMA-Factory and axolotl both read. ``alpaca`` has earlier turns in ``history``, as LLaMA-Factory defines
it. A key that one row needs (``system``, ``history``) stands in every row, because JSON readers infer the
columns from the first 10 MB and fail on one that begins later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftdiv.records import SftdivError

Messages = Sequence[Mapping[str, str]]
SHAREGPT_ROLES = {"system": "system", "user": "human", "assistant": "gpt"}


def as_messages(messages: Messages) -> dict[str, Any]:
    """``{"messages": [{"role", "content"}, ...]}``."""
    return {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in messages]}


def as_sharegpt(messages: Messages) -> dict[str, Any]:
    """``{"conversations": [{"from", "value"}, ...]}``."""
    return {"conversations": [{"from": SHAREGPT_ROLES[turn["role"]], "value": turn["content"]} for turn in messages]}


def as_alpaca(messages: Messages, *, system: bool, history: bool) -> dict[str, Any]:
    """``{"instruction", "input", "output"}``; ``input`` is empty, since the corpus does not separate it.

    Args:
        messages: One conversation.
        system: Whether rows have the key ``system``: some conversation of the export has a system prompt.
        history: Whether rows have the key ``history``: some conversation has earlier turns.
    """
    texts = [turn["content"] for turn in messages if turn["role"] != "system"]
    row: dict[str, Any] = {"instruction": texts[-2], "input": "", "output": texts[-1]}
    if system:
        row["system"] = messages[0]["content"] if messages[0]["role"] == "system" else ""
    if history:
        row["history"] = [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)]
    return row


def check_turns(messages: Messages, name: str, *, format: str) -> None:
    """Reject a conversation that ``sharegpt`` or ``alpaca`` cannot hold.

    Both formats know only pairs of user and assistant after an optional system prompt. In ``sharegpt``,
    by LLaMA-Factory's README, human turns stand in odd positions and gpt turns in even ones; it skips
    others with a warning.

    Args:
        messages: One conversation.
        name: Id of the conversation, for the message.
        format: Export format.

    Raises:
        SftdivError: With the conversation's id and roles.
    """
    roles = [turn["role"] for turn in messages]
    pairs = roles[1:] if roles[:1] == ["system"] else roles
    if not pairs or pairs != ["user", "assistant"] * (len(pairs) // 2):
        raise SftdivError(
            f"export.format={format} cannot hold the conversation {name!r}: after an optional system turn, user and "
            f"assistant must alternate and end with assistant, got {roles}. "
            "Formats that hold any turns: messages, parquet."
        )
