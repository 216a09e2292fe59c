"""A shortcut for the commonest rows: one instruction, perhaps an input, and one response, each a plain text.

The general way of `formats` looks at every shape that a conversation may have. For these rows the names of the
columns settle most of it, once for all rows that have the same names, and the rest are a few tests of the values.
Any doubt gives None, and the row takes the general way: the shortcut changes the time and never the result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sftdiv.data.turns import Message


class PairColumns(NamedTuple):
    """Columns of an instruction, a response and, if there is one, an input."""

    instruction: str
    response: str
    input: str | None


def pair_columns(
    known: Collection[str],
    formats: Collection[Sequence[Sequence[str]]],
    *,
    inputs: Collection[str],
    others: Collection[str],
) -> PairColumns | None:
    """The columns of a pair, if no other column of the row can matter.

    Args:
        known: Columns of the row that have a meaning.
        formats: Groups of alternative columns of each format that the row may have.
        inputs: Columns that are read as an input.
        others: Columns that are read as further parts of a conversation, such as a system prompt.
    """
    present_inputs = [name for name in inputs if name in known]
    if len(present_inputs) > 1 or any(name in known for name in others):
        return None
    for required in formats:
        present = [[name for name in options if name in known] for options in required]
        pair = [names[0] for names in present if len(names) == 1]
        if len(pair) == len(required) == 2 and sorted([*pair, *present_inputs]) == sorted(known):
            return PairColumns(pair[0], pair[1], present_inputs[0] if present_inputs else None)
    return None


def plain_pair(row: Mapping[str, Any], columns: PairColumns, remove: Sequence[str]) -> list[Message] | None:
    """The conversation of a row of plain texts; None for a row that needs the general way.

    Args:
        row: The row.
        columns: Its columns.
        remove: Literal strings removed from every text.
    """
    instruction, response = row[columns.instruction], row[columns.response]
    context = None if columns.input is None else row[columns.input]
    if not (_is_plain(instruction) and _is_plain(response) and (context is None or type(context) is str)):
        return None
    if context and not context.isspace():
        instruction = f"{instruction}\n\n{context}"
    for literal in remove:
        instruction, response = instruction.replace(literal, ""), response.replace(literal, "")
    if remove and not (instruction.strip() and response.strip()):
        return None
    return [{"role": "user", "content": instruction}, {"role": "assistant", "content": response}]


def _is_plain(value: Any) -> bool:
    """Whether a value is a text that is neither blank nor JSON of turns; a text after white space may be either."""
    return type(value) is str and value != "" and value[0] != "[" and not value[0].isspace()
