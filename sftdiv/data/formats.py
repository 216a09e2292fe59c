"""From a row, as a file or a hub data set holds it, to an `Example`: one conversation that begins with the user and ends with an answer.

In: a dictionary in one of four formats, named or recognised row by row (so that a folder may mix
them). Out: an `Example`, or `BadRowError` with its reason, which opens with a fixed phrase and a
colon, so that reasons can be counted. The trade: turns that do not strictly alternate are refused
and not mended, because chat templates refuse them too and a mended conversation is no longer the
user's data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftdiv.records import Example, SftdivError

Row = Mapping[str, Any]
Message = dict[str, str]

# What a row of each format must hold, alternatives side by side. Order is precedence: a row of `messages` often repeats its `prompt`.
FORMATS: Mapping[str, Sequence[Sequence[str]]] = {
    "messages": [["messages"]],
    "sharegpt": [["conversations"]],
    "alpaca": [["instruction"], ["output", "response"]],
    "prompt": [["prompt"], ["completion", "response"]],
}
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
RESERVED = ("id", "messages", "instruction", "response", "source", "group", "heldout")


class BadRowError(Exception):
    """A row that cannot be used; its text is the reason."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Turns rows into examples.

    Attributes:
        format: ``auto`` or one of `FORMATS`.
        id: column with the user's ids, used where a row has it.
        source: column with the name of the source, used where a row has it.
        columns: columns carried along; each row must have them, with a scalar, a list of strings or null.
        remove: literal strings cut from every text, for example a stray ``<|endoftext|>``.
    """

    format: str
    id: str
    source: str
    columns: Sequence[str]
    remove: Sequence[str]

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise SftdivError(f"corpus.format={self.format!r} is unknown. Known: auto, {', '.join(FORMATS)}.")
        for name in ("columns", "remove"):
            if isinstance(getattr(self, name), str):
                raise SftdivError(
                    f"corpus.{name}={getattr(self, name)!r} must be a list, as in corpus.{name}=[{getattr(self, name)}]."
                )
        if taken := sorted(set(self.columns) & set(RESERVED)):
            raise SftdivError(f"corpus.columns may not hold {', '.join(taken)}: the corpus has columns of that name.")

    def example(self, row: Any) -> Example:
        """The conversation that one row holds.

        Raises:
            BadRowError: when it holds none that can be used.
        """
        if not isinstance(row, Mapping):
            raise BadRowError(f"not an object: the row is {_kind(row)}")
        messages = [{**turn, "content": self._cut(turn["content"])} for turn in self._messages(row)]
        _check(messages)
        example = Example(
            messages=messages,
            source=_label(row, self.source),
            id=_label(row, self.id),
            extra={name: _carried(row, name) for name in self.columns},
        )
        _check_unicode(example)
        return example

    def _messages(self, row: Row) -> list[Message]:
        name = self._recognise(row)
        match name:
            case "messages" | "sharegpt":
                messages = _turns(_first(row, FORMATS[name][0]))
            case "alpaca":
                added = _text(row.get("input") or "", "input")
                instruction = _text(row["instruction"], "instruction")
                messages = _pair(
                    f"{instruction}\n\n{added}" if added.strip() else instruction, _first(row, FORMATS[name][1])
                )
            case _:
                messages = _pair(row["prompt"], _first(row, FORMATS[name][1]))
        system = _text(row.get("system") or "", "system")
        if system.strip() and messages and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system})
        return messages

    def _recognise(self, row: Row) -> str:
        """The first format whose columns the row holds; null counts as absent, since Parquet fills mixed schemas with it."""
        candidates = FORMATS if self.format == "auto" else {self.format: FORMATS[self.format]}
        for name, needed in candidates.items():
            if all(any(row.get(column) is not None for column in options) for options in needed):
                return name
        held = ", ".join(str(column) for column, value in row.items() if value is not None)
        known = "; ".join(
            f"{name} ({', '.join('|'.join(options) for options in needed)})" for name, needed in candidates.items()
        )
        raise BadRowError(f"wrong columns: the row holds {held or 'nothing'}; known: {known}")

    def _cut(self, text: str) -> str:
        for literal in self.remove:
            text = text.replace(literal, "")
        return text


def _first(row: Row, options: Sequence[str]) -> Any:
    return next(row[column] for column in options if row.get(column) is not None)


def _pair(instruction: Any, response: Any) -> list[Message]:
    return [
        {"role": "user", "content": _text(instruction, "instruction")},
        {"role": "assistant", "content": _text(response, "response")},
    ]


def _turns(turns: Any) -> list[Message]:
    """Turns of ShareGPT (``from, value``) or OpenAI (``role, content``); a blank system turn says nothing and is left out."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadRowError("wrong turns: the conversation is not a list of objects")
    messages = []
    for turn in turns:
        role = turn.get("role") or turn.get("from")
        if str(role) not in ROLES:
            raise BadRowError(f"wrong turns: role {role!r} is unknown; known: {', '.join(ROLES)}")
        content = turn.get("content")
        messages.append(
            {
                "role": ROLES[role],
                "content": _text(turn.get("value") if content is None else content, f"a turn of {role}"),
            }
        )
    return [turn for turn in messages if turn["role"] != "system" or turn["content"].strip()]


def _check(messages: Sequence[Message]) -> None:
    spoken = messages[1:] if messages and messages[0]["role"] == "system" else messages
    roles = [turn["role"] for turn in spoken]
    if not roles or len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise BadRowError(
            f"wrong turns: after an optional system, user and assistant must alternate and end with assistant, got {roles}"
        )
    for turn in spoken:
        if not turn["content"].strip():
            raise BadRowError(
                f"empty {'response' if turn['role'] == 'assistant' else 'instruction'}: a turn of {turn['role']} is blank"
            )


def _check_unicode(example: Example) -> None:
    """Undecodable bytes arrive as lone surrogates (Python's ``surrogateescape``); JSON escapes can make such surrogates too."""
    texts = [turn["content"] for turn in example.messages]
    try:
        "\n".join([*texts, example.source, example.id, json.dumps(example.extra, ensure_ascii=False)]).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 20) : error.start + 20]
        raise BadRowError(f"not UTF-8: a byte or surrogate that is no character, at {around!a}") from error


def _label(row: Row, column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value)


def _carried(row: Row, name: str) -> Any:
    if name not in row:
        raise BadRowError(f"missing column: corpus.columns asks for {name!r}; the row has {', '.join(map(str, row))}")
    value = row[name]
    if (
        value is None
        or isinstance(value, str | int | float)
        or (isinstance(value, list) and all(isinstance(item, str) for item in value))
    ):
        return value
    raise BadRowError(f"wrong column type: {name!r} is neither a scalar nor a list of strings but {_kind(value)}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRowError(f"not text: {name} is {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
