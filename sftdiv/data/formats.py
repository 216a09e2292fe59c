"""Converts a row of a file or hub data set into an `Example`: one conversation from a user turn to an assistant turn.

A row is a dictionary in one of four formats, which is given or recognised row by row (so that a folder
may mix formats). A row that cannot be used raises `BadRowError`; its reason opens with a fixed phrase
and a colon, so that reasons can be counted. Turns that do not strictly alternate are rejected and not
repaired: chat templates reject them too, and a repaired conversation is no longer the user's data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftdiv.records import Example, SftdivError
from sftdiv.storage.validate import check_one_of

Row = Mapping[str, Any]
Message = dict[str, str]

# Columns of each format, alternatives together; the order is the precedence: rows of `messages` often have a `prompt`.
FORMATS: Mapping[str, Sequence[Sequence[str]]] = {
    "messages": [["messages"]],
    "sharegpt": [["conversations"]],
    "alpaca": [["instruction"], ["output", "response"]],
    "prompt": [["prompt"], ["completion", "response"]],
}
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
RESERVED = ("id", "messages", "instruction", "response", "source", "group", "heldout")


class BadRowError(Exception):
    """A row that cannot be used; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Converts rows into examples.

    Attributes:
        format: ``auto`` or one of `FORMATS`.
        id: Column of the user's ids, used where a row has it.
        source: Column of the source's name, used where a row has it.
        columns: Columns carried along; every row must have them, with a scalar, a list of strings or null.
        remove: Literal strings removed from every text, for example a stray ``<|endoftext|>``.
    """

    format: str
    id: str
    source: str
    columns: Sequence[str]
    remove: Sequence[str]

    def __post_init__(self) -> None:
        check_one_of("corpus.format", self.format, ("auto", *FORMATS))
        for name in ("columns", "remove"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise SftdivError(f"corpus.{name}={value!r} must be a list, as in corpus.{name}=[{value}].")
        if reserved := sorted(set(self.columns) & set(RESERVED)):
            raise SftdivError(
                f"corpus.columns may not hold {', '.join(reserved)}: the corpus has columns of that name."
            )

    def example(self, row: Any) -> Example:
        """The conversation of one row.

        Raises:
            BadRowError: If the row holds none that can be used.
        """
        if not isinstance(row, Mapping):
            raise BadRowError(f"not an object: the row is {_kind(row)}")
        messages = [{**turn, "content": self._without_removed(turn["content"])} for turn in self._messages(row)]
        _check_turns(messages)
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
        columns = FORMATS[name]
        if name in ("messages", "sharegpt"):
            messages = _turns(_first(row, columns[0]))
        elif name == "alpaca":
            instruction, context = _text(row["instruction"], "instruction"), _text(row.get("input") or "", "input")
            prompt = f"{instruction}\n\n{context}" if context.strip() else instruction
            messages = _pair(prompt, _first(row, columns[1]))
        else:
            messages = _pair(row["prompt"], _first(row, columns[1]))
        system = _text(row.get("system") or "", "system")
        if system.strip() and messages and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system})
        return messages

    def _recognise(self, row: Row) -> str:
        """The first format whose columns the row has; null counts as absent, since Parquet fills mixed schemas."""
        candidates = FORMATS if self.format == "auto" else {self.format: FORMATS[self.format]}
        for name, required in candidates.items():
            if all(any(row.get(column) is not None for column in options) for options in required):
                return name
        present = ", ".join(str(column) for column, value in row.items() if value is not None)
        described = [
            f"{name} ({', '.join('|'.join(options) for options in required)})" for name, required in candidates.items()
        ]
        raise BadRowError(f"wrong columns: the row holds {present or 'nothing'}; known: {'; '.join(described)}")

    def _without_removed(self, text: str) -> str:
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
    """Turns of ShareGPT (``from, value``) or OpenAI (``role, content``); blank system turns are dropped."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadRowError("wrong turns: the conversation is not a list of objects")
    messages = []
    for turn in turns:
        role = turn.get("role") or turn.get("from")
        if str(role) not in ROLES:
            raise BadRowError(f"wrong turns: role {role!r} is unknown; known: {', '.join(ROLES)}")
        content = turn.get("content")
        text = _text(turn.get("value") if content is None else content, f"a turn of {role}")
        messages.append({"role": ROLES[role], "content": text})
    return [turn for turn in messages if turn["role"] != "system" or turn["content"].strip()]


def _check_turns(messages: Sequence[Message]) -> None:
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


def _check_unicode(example: Example) -> None:
    """Reject lone surrogates, which stand for undecodable bytes (``surrogateescape``) or come from JSON escapes."""
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
    is_list_of_strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if value is None or isinstance(value, str | int | float) or is_list_of_strings:
        return value
    raise BadRowError(f"wrong column type: {name!r} is neither a scalar nor a list of strings but {_kind(value)}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRowError(f"not text: {name} is {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
