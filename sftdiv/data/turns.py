"""Reads the turns of one conversation: roles in any case, texts or text parts, a list, JSON text or an object of lists.

A field of a turn that would change the conversation or its labels and has no counterpart here (``weight:
0``, ``tool_calls``, ``reasoning_content``, images) makes a bad row, because a conversation without it is
another one. Fields that change little (a participant's ``name``) are counted and named in one warning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sftdiv.data.bad_rows import BadRowError, json_reason

Message = dict[str, str]
ROLES = {
    "system": "system",
    "developer": "system",  # OpenAI's name of the system turn since o1
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
TEXT_PARTS = ("text", "input_text", "output_text")  # OpenAI: chat completions, and inputs and outputs of responses
# Whether a turn is learned: OpenAI and Mistral, axolotl, verl and ms-swift.
LEARNED = ("weight", "train", "training", "trainable", "loss", "loss_weight", "loss_scale")
MASKED = ("mask", "masked")
LOST = (
    *("tool_calls", "tool_call", "function_call", "functions", "tools", "refusal", "train_detail"),
    *("reasoning_content", "reasoning", "thinking", "reasoning_details", "thoughts"),
    *("images", "image", "image_url", "videos", "video", "audios", "audio", "input_audio"),
)
COUNTED = ("name", "prefix")  # OpenAI's participant, Mistral's prefix of an answer
_MEANINGFUL = frozenset((*LEARNED, *MASKED, *LOST, *COUNTED))


def read_turns(turns: Any, *, ignore: Sequence[str], unread: set[str]) -> list[Message]:
    """Turns of ShareGPT (``from, value``) or OpenAI (``role, content``); blank system turns are dropped.

    Args:
        turns: The conversation as the row holds it.
        ignore: Fields that are left out on purpose.
        unread: Receives the names of fields that are not part of the result.

    Raises:
        BadRowError: If it is no conversation, or a turn holds what would be lost.
    """
    messages = []
    for number, turn in enumerate(_as_list(turns), start=1):
        if ignore:
            turn = {name: value for name, value in turn.items() if name not in ignore}
        role = _role(turn)
        text = turn_text(_content(turn, number, ignore), f"a turn of {role}", ignore)
        _check_fields(turn, number, ROLES[role], unread)
        messages.append({"role": ROLES[role], "content": text})
    return [turn for turn in messages if turn["role"] != "system" or turn["content"].strip()]


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of turns, each an object with a role."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in value)
    )


def parsed(value: Any, name: str) -> Any:
    """A value that may be given as JSON text, as CSV and Parquet hold lists.

    Raises:
        BadRowError: If it is text that is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"wrong turns: {name} is text that is not JSON ({json_reason(error)})") from None


def turn_text(value: Any, name: str, ignore: Sequence[str] = ()) -> str:
    """A text, or the joined texts of OpenAI's content parts.

    Raises:
        BadRowError: If it is neither, or a part is an image, sound or thought.
    """
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return "".join(_part_text(part, name) for part in value if part.get("type") not in ignore)
    if not isinstance(value, str):
        raise BadRowError(f"not text: {name} is {kind_of(value)}")
    return value


def is_empty(value: Any) -> bool:
    """Whether a value holds nothing: null, blank text, an empty list or object, or only such (as Arrow fills them)."""
    if isinstance(value, str):
        return value.strip() in ("", "[]", "{}", "null")
    if isinstance(value, dict):
        return all(is_empty(item) for item in value.values())
    return value is None or (isinstance(value, list) and all(is_empty(item) for item in value))


def flag(value: Any) -> bool | None:
    """A mark as a boolean: true or 1, false or 0, also as text; None for any other value."""
    if isinstance(value, str):
        value = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(
            value.strip().lower()
        )
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def kind_of(value: Any) -> str:
    """The type of a value, as a message names it."""
    return "null" if value is None else type(value).__name__


def _as_list(turns: Any) -> list[Mapping[str, Any]]:
    turns = parsed(turns, "the conversation")
    if isinstance(turns, dict) and turns and all(isinstance(values, list) for values in turns.values()):
        if len({len(values) for values in turns.values()}) > 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in turns.items())
            raise BadRowError(f"wrong turns: the lists of the conversation differ in length ({lengths})")
        turns = [dict(zip(turns, values, strict=True)) for values in zip(*turns.values(), strict=True)]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise BadRowError("wrong turns: the conversation is not a list of objects")
    return turns


def _role(turn: Mapping[str, Any]) -> str:
    names = [turn[key] for key in ("role", "from") if turn.get(key)]
    role = str(names[0]).strip().lower() if names else None
    if role not in ROLES:
        raise BadRowError(f"wrong turns: role {names[0] if names else None!r} is unknown; known: {', '.join(ROLES)}")
    if len(names) == 2 and ROLES.get(str(names[1]).strip().lower()) != ROLES[role]:
        raise BadRowError(f"wrong turns: a turn has role {names[0]!r} and from {names[1]!r}")
    return role


def _content(turn: Mapping[str, Any], number: int, ignore: Sequence[str]) -> Any:
    content, value = turn.get("content"), turn.get("value")
    if content is not None and value is not None and content != value:
        raise BadRowError(f"wrong turns: turn {number} has both content and value, and they differ")
    return value if content is None else content


def _part_text(part: Mapping[str, Any], name: str) -> str:
    kind = part.get("type", "text")
    others = [key for key, value in part.items() if key in LOST and not is_empty(value)]
    if kind not in TEXT_PARTS or others:
        raise BadRowError(f"unsupported field: {name} has a content part of type {others[0] if others else kind}")
    text = part.get("text")
    if not isinstance(text, str):
        raise BadRowError(f"not text: a content part of {name} is {kind_of(text)}")
    return text


def _check_fields(turn: Mapping[str, Any], number: int, role: str, unread: set[str]) -> None:
    """Refuse fields that would be lost; count those that change little."""
    for name in turn.keys() & _MEANINGFUL:
        value = turn[name]
        if is_empty(value):
            continue
        if name in LOST:
            raise BadRowError(_refusal(number, name, name))
        if name in COUNTED:
            unread.update([] if value is False else [name])
            continue
        learned = flag(value) if name in LEARNED or flag(value) is None else not flag(value)
        if role == "assistant" and learned is not True:
            raise BadRowError(_refusal(number, f"{name} {json.dumps(value, default=str)}", name))
        if role != "assistant" and learned is not False and name != "weight":
            unread.add(name)


def _refusal(number: int, held: str, name: str) -> str:
    return (
        f"unsupported field: turn {number} has {held}, which is not supported; "
        f"corpus.ignore=[{name}] reads conversations as if it were not there"
    )
