"""One conversation as each format writes it.

In: OpenAI-style messages. Out: a JSON object. ``messages`` is what TRL calls conversational;
``sharegpt`` has the system prompt as a turn, which LLaMA-Factory and axolotl both read; ``alpaca``
has earlier turns in ``history``, as LLaMA-Factory defines it. The trade: a key that one row needs
(``system``, ``history``) stands in every row, because readers of JSON infer the columns from the
first 10 MB and fail on one that begins later.
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
    """``{"instruction", "input", "output"}``; ``input`` is empty, since the corpus does not know where an instruction ends.

    Args:
        messages: One conversation.
        system: Whether some conversation of the export has a system prompt, so that all have the key.
        history: Whether some conversation has earlier turns, so that all have the key.
    """
    spoken = [turn["content"] for turn in messages if turn["role"] != "system"]
    row: dict[str, Any] = {"instruction": spoken[-2], "input": "", "output": spoken[-1]}
    if system:
        row["system"] = messages[0]["content"] if messages[0]["role"] == "system" else ""
    if history:
        row["history"] = [list(pair) for pair in zip(spoken[:-2:2], spoken[1:-2:2], strict=True)]
    return row


def check_turns(messages: Messages, name: str, *, format: str) -> None:
    """Refuse a conversation whose turns a format has no place for.

    ``sharegpt`` and ``alpaca`` know pairs of user and assistant after an optional system prompt,
    and nothing else: of ``sharegpt`` LLaMA-Factory's README says that human turns stand in odd
    positions and gpt turns in even ones; it skips others with a warning.

    Raises:
        SftdivError: With the conversation's id and the roles found.
    """
    roles = [turn["role"] for turn in messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or spoken != ["user", "assistant"] * (len(spoken) // 2):
        raise SftdivError(
            f"export.format={format} cannot hold the conversation {name!r}: after an optional system turn, user and assistant must "
            f"alternate and end with assistant, got {roles}. Formats that hold any turns: messages, parquet."
        )
