"""Picks values from a row's columns: of names that mean the same, in shapes that mean the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.turns import Message, is_conversation, is_empty, kind_of, parsed, read_turns
from sftdiv.storage.escaping import listed

Row = Mapping[str, Any]
READ_NAMES = (("instruction", "prompt"), ("response", "output", "completion"))  # read without corpus.mapping
# What the columns are called in other data sets, the likeliest name first.
INSTRUCTION_NAMES = (
    *READ_NAMES[0],
    "question",
    "query",
    "problem",
    "user",
    "human",
    "task",
    "request",
    "text",
    "input",
)
RESPONSE_NAMES = (*READ_NAMES[1], "answer", "reply", "solution", "assistant", "bot", "target", "label", "chosen")
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**63 - 1


def has_columns(row: Row, required: Sequence[Sequence[str]], *, blank: bool = True) -> bool:
    """Whether the row holds one column of each group of alternatives; null counts as absent.

    Args:
        row: The row.
        required: Groups of alternative columns.
        blank: Whether blank texts and empty lists count as present; in a CSV of several formats they do not.
    """
    if blank:
        return all(any(row.get(column) is not None for column in options) for options in required)
    return all(any(not _is_blank(row.get(column)) for column in options) for options in required)


def first_value(row: Row, options: Sequence[str], unread: set[str]) -> Any:
    """The first column that holds something; other ones that hold something else are added to ``unread``."""
    present = [column for column in options if row.get(column) is not None]
    full = [column for column in present if not _is_blank(row[column])] or present
    unread.update(column for column in full[1:] if row[column] != row[full[0]])
    return row[full[0]]


def only_value(row: Row, names: Sequence[str]) -> Any:
    """The value of columns that mean the same; None if none holds anything.

    Raises:
        BadRowError: If two of them hold different values.
    """
    full = [name for name in names if row.get(name) == [] or not _is_blank(row.get(name))]
    if any(row[name] != row[full[0]] for name in full[1:]):
        raise BadRowError(f"unsupported column: {' and '.join(full)} mean the same and differ")
    return row[full[0]] if full else None


def as_turns(value: Any) -> list[Any] | None:
    """The turns of a prompt or completion in TRL's conversational form, also as JSON text; None for a plain text."""
    if isinstance(value, str) and value.lstrip().startswith("[") and '"role"' in value:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if is_conversation(value) and all("role" in turn for turn in value) else None


def read_history(value: Any, *, ignore: Sequence[str], unread: set[str]) -> list[Message]:
    """Earlier turns: LLaMA-Factory's pairs of instruction and response, or a list of turns.

    Raises:
        BadRowError: If it is neither.
    """
    pairs = parsed(value, "history")
    if pairs is None or is_empty(pairs):
        return []
    if is_conversation(pairs):
        return read_turns(pairs, ignore=ignore, unread=unread)
    messages = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise BadRowError("wrong turns: history is not a list of pairs of instruction and response")
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return messages


def of_another_format(
    row: Row, formats: Mapping[str, Sequence[Sequence[str]]], used: set[str], messages: Sequence[Message]
) -> Iterator[str]:
    """Columns of further formats that the row has in full and whose texts are no part of its conversation."""
    further = row.keys() - used
    if not any(name in further for required in formats.values() for options in required for name in options):
        return
    conversation = {
        role: "\n\n".join(turn["content"] for turn in messages if turn["role"] == role)
        for role in ("user", "assistant")
    }
    for required in formats.values():
        if not has_columns(row, required):
            continue
        for options, role in zip(required, ("user", "assistant"), strict=False):
            for name in options:
                if name not in used and not _is_within(row.get(name), conversation[role], messages):
                    yield name


def label(row: Row, column: str) -> str:
    """A label (an id or a source) as text; empty where there is none."""
    value = row.get(column)
    return "" if value is None else str(value)


def carried_value(row: Row, name: str) -> Any:
    """A value to carry along: a scalar, a list of strings or null.

    Raises:
        BadRowError: If the row has no such column, or its value is another one.
    """
    if name not in row:
        raise BadRowError(
            f"missing column: corpus.columns asks for {name!r}; the row has {listed(list(map(str, row)))}"
        )
    value = row[name]
    if isinstance(value, int) and not LEAST_INTEGER <= value <= MOST_INTEGER:
        raise BadRowError(f"wrong column type: {name!r} is an integer of more than 64 bits; write it as text")
    is_list_of_strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if value is None or isinstance(value, str | int | float) or is_list_of_strings:
        return value
    raise BadRowError(f"wrong column type: {name!r} is neither a scalar nor a list of strings but {kind_of(value)}")


def layout_hint(row: Row) -> str:
    """What to do about a row without known columns: one that seems to be a whole data set, and others."""
    lists = [name for name, value in row.items() if isinstance(value, list) and value and _are_objects(value)]
    if _are_objects(list(row.values())) and len(row) > 1:
        return ". It is one JSON object of rows by key: give an array of rows, or one row a line"
    if lists:
        return f". It is one JSON object with rows in {listed(lists)}: give an array of rows, or one row a line"
    guessed = [_known_column(row, names) for names in (INSTRUCTION_NAMES, RESPONSE_NAMES)]
    needed = [
        f"corpus.mapping.{role}={name or 'NAME'}"
        for role, name, columns in zip(("instruction", "response"), guessed, READ_NAMES, strict=True)
        if name not in columns
    ]
    if not needed:  # a format was named that has other columns
        return ". corpus.format=auto reads these columns"
    sentence = "To read these columns type" if all(guessed) else "Other columns are named by"
    return f". {sentence} {' '.join(needed)}"


def _known_column(row: Row, names: Sequence[str]) -> str | None:
    """The first of some names, in any case, that a row has a value for, as the row writes it."""
    columns = {str(name).lower(): str(name) for name, value in row.items() if not _is_blank(value)}
    return next((columns[name] for name in names if name in columns), None)


def _is_blank(value: Any) -> bool:
    """Whether a value is null, blank text or an empty list; the text ``[]`` may be an instruction's input."""
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _are_objects(values: list[Any]) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _is_within(value: Any, text: str, messages: Sequence[Message]) -> bool:
    if is_empty(value):
        return True
    if isinstance(value, str):
        return value.strip() in text
    try:
        return read_turns(value, ignore=(), unread=set()) == list(messages)
    except BadRowError:
        return False
