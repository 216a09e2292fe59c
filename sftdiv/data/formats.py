"""Converts a row of a file or hub data set into an `Example`: one conversation from a user turn to an assistant turn.

A row is a dictionary in one of four formats, which is given or recognised row by row (so that a folder
may mix formats), or in columns that ``mapping`` names. A row that cannot be used raises `BadRowError`; its
reason opens with a fixed phrase and a colon, so that reasons can be counted. Turns that do not strictly
alternate are rejected and not repaired: chat templates reject them too, and a repaired conversation is no
longer the user's data. A column that changes the conversation is read, or makes a bad row, or is named in
`Example.unread`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.conversation_checks import check_turns, check_unicode
from sftdiv.data.plain_pairs import PairColumns, pair_columns, plain_pair
from sftdiv.data.row_columns import (
    as_turns,
    carried_value,
    first_value,
    has_columns,
    label,
    layout_hint,
    of_another_format,
    only_value,
    read_history,
)
from sftdiv.data.turns import Message, is_empty, kind_of, read_turns, turn_text
from sftdiv.data.unread_columns import NAMES, check_columns
from sftdiv.records import Example, SftdivError
from sftdiv.storage.escaping import listed
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, shown_value

Row = Mapping[str, Any]

# Columns of each format, alternatives together; the order is the precedence: rows of `messages` often have a `prompt`.
FORMATS: Mapping[str, Sequence[Sequence[str]]] = {
    "messages": [["messages"]],
    "sharegpt": [["conversations"]],
    "alpaca": [["instruction"], ["output", "response"]],
    "prompt": [["prompt"], ["completion", "response"]],
}
SYSTEM = ("system", "system_prompt", "system_message")
INPUT = ("input", "context")  # Alpaca's and Dolly's
HISTORY = ("history",)  # earlier turns of LLaMA-Factory's alpaca format
MAPPED = ("instruction", "input", "response", "system", "history", "messages")
RESERVED = ("id", "messages", "instruction", "response", "source", "group", "heldout")
MOST_LAYOUTS = 1_000  # sets of columns that are remembered
RULES = 2  # of the conversion: raise it when another conversation is read from the same row


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Converts rows into examples.

    Attributes:
        format: ``auto`` or one of `FORMATS`.
        id: Column of the user's ids, used where a row has it.
        source: Column of the source's name, used where a row has it.
        columns: Columns carried along; every row must have them, with a scalar, a list of strings or null.
        remove: Literal strings removed from every text, for example a stray ``<|endoftext|>``.
        mapping: Column that holds each role of `MAPPED`; null or absent for the known names.
        ignore: Columns, fields of turns and types of content parts that are left out on purpose.
    """

    format: str
    id: str
    source: str
    columns: Sequence[str]
    remove: Sequence[str]
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_one_of("corpus.format", self.format, ("auto", *FORMATS))
        for name in ("columns", "remove", "ignore"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise SftdivError(f"corpus.{name}={shown_value(value)} must be a list, as in corpus.{name}=[{value}].")
            if isinstance(value, Mapping):
                raise SftdivError(
                    f"corpus.{name} must be a list; corpus.mapping names the columns that hold a conversation, "
                    "as in corpus.mapping.instruction=question"
                )
        if reserved := sorted(set(self.columns) & set(RESERVED)):
            raise SftdivError(
                f"corpus.columns may not hold {', '.join(reserved)}: the corpus has columns of that name."
            )
        self._check_mapping()

    def identity(self) -> dict[str, Any]:
        """All settings, and the version of the rules of conversion."""
        return {**settings_identity(self), "mapping": self._named, "ignore": list(self.ignore), "rules": RULES}

    @cached_property
    def formats(self) -> Mapping[str, Sequence[Sequence[str]]]:
        """The formats that rows may have, with the columns of each."""
        named = self._named
        if "messages" in named:
            return {"corpus.mapping": [[named["messages"]]]}
        if named.keys() & {"instruction", "response"}:
            instruction = [named["instruction"]] if "instruction" in named else ["instruction", "prompt"]
            response = [named["response"]] if "response" in named else ["output", "response", "completion"]
            return {"corpus.mapping": [instruction, response]}
        return FORMATS if self.format == "auto" else {self.format: FORMATS[self.format]}

    @cached_property
    def needed(self) -> frozenset[str]:
        """Every column that may decide an example; a reader need not decode others."""
        of_formats = [
            name for required in (*FORMATS.values(), *self.formats.values()) for names in required for name in names
        ]
        roles = (*SYSTEM, *INPUT, *HISTORY, *self._named.values())
        return frozenset((self.id, self.source, *self.columns, *of_formats, *roles, *NAMES)) - set(self.ignore)

    @property
    def settings_of_columns(self) -> Sequence[tuple[str, str]]:
        """Settings that name a column which some row must have, each with the column."""
        named = [(f"corpus.mapping.{role}", column) for role, column in self._named.items()]
        defaults = (("corpus.id_column", "id", self.id), ("corpus.source_column", "source", self.source))
        changed = [(name, column) for name, default, column in defaults if column != default]
        return [*named, *changed, *(("corpus.columns", column) for column in self.columns)]

    def example(self, row: Any) -> Example:
        """The conversation of one row.

        Raises:
            BadRowError: If the row holds none that can be used.
        """
        if not isinstance(row, Mapping):
            raise BadRowError(f"not an object: the row is {kind_of(row)}")
        carried = {name: carried_value(row, name) for name in self.columns}
        source, name = label(row, self.source), label(row, self.id)
        if self.ignore:
            row = {column: value for column, value in row.items() if column not in self.ignore}
        unread: set[str] = set()
        messages = self._plain_pair(row)
        if messages is None:
            turns = self._messages(row, unread)
            messages = [{**turn, "content": self._without_removed(turn["content"])} for turn in turns]
            check_turns(messages)
        kept = {*self.columns, self.id, self.source}
        example = Example(messages, source, name, carried, unread=tuple(sorted(unread - kept)))
        check_unicode(example)
        return example

    def _plain_pair(self, row: Row) -> list[Message] | None:
        """The conversation of a row of two or three plain texts; None for any other row."""
        names = tuple(row)
        if names not in self._pairs:
            if len(self._pairs) == MOST_LAYOUTS:
                self._pairs.clear()
            of_formats = (name for required in FORMATS.values() for options in required for name in options)
            known = {*SYSTEM, *INPUT, *HISTORY, *NAMES, *self._named.values(), *of_formats}.intersection(names)
            inputs = self._columns("input", INPUT)
            others = (*self._columns("history", HISTORY), *self._columns("system", SYSTEM))
            self._pairs[names] = pair_columns(known, self.formats.values(), inputs=inputs, others=others)
        columns = self._pairs[names]
        return None if columns is None else plain_pair(row, columns, self.remove)

    @cached_property
    def _pairs(self) -> dict[tuple[str, ...], PairColumns | None]:
        """Columns of the pair in rows of each layout (names of columns); filled by `_plain_pair`."""
        return {}

    @cached_property
    def _named(self) -> dict[str, str]:
        return {role: column for role, column in self.mapping.items() if column is not None}

    def _check_mapping(self) -> None:
        for role in self.mapping:
            check_one_of("corpus.mapping", role, MAPPED)
        turns = self._named.keys() & {"instruction", "response"}
        if turns and "messages" in self._named:
            raise SftdivError(
                f"corpus.mapping.messages holds whole conversations: leave out {', '.join(sorted(turns))}"
            )
        if self.format != "auto" and (turns or "messages" in self._named):
            raise SftdivError(f"corpus.format={self.format} names its columns: leave it out beside corpus.mapping")

    def _messages(self, row: Row, unread: set[str]) -> list[Message]:
        columns = self._recognise(row)
        values = [first_value(row, options, unread) for options in columns]
        used = {option for options in columns for option in options}
        if len(columns) == 1:
            messages = read_turns(values[0], ignore=self.ignore, unread=unread)
            unread.update(column for column in (*INPUT, *HISTORY) if not is_empty(row.get(column)))
        else:
            used |= {*self._columns("input", INPUT), *self._columns("history", HISTORY)}
            messages = self._single_turn(row, values[0], values[1], unread)
        unread.update(of_another_format(row, FORMATS, used, messages))
        unread.update(check_columns({column: value for column, value in row.items() if column not in used}))
        return self._with_system(row, messages)

    def _single_turn(self, row: Row, instruction: Any, response: Any, unread: set[str]) -> list[Message]:
        """The conversation of an instruction (or TRL's list of turns), its input, its history and a response."""
        context = self._only_text(row, "input", INPUT)
        history = read_history(only_value(row, self._columns("history", HISTORY)), ignore=self.ignore, unread=unread)
        first, last = as_turns(instruction), as_turns(response)
        if first is None:
            prompt = turn_text(instruction, "instruction", self.ignore)
            first = [{"role": "user", "content": f"{prompt}\n\n{context}" if context.strip() else prompt}]
        elif context.strip():
            raise BadRowError("wrong turns: the prompt is a list of turns, and the row has an input besides")
        last = last or [{"role": "assistant", "content": turn_text(response, "response", self.ignore)}]
        return [*history, *read_turns([*first, *last], ignore=self.ignore, unread=unread)]

    def _with_system(self, row: Row, messages: list[Message]) -> list[Message]:
        system = self._only_text(row, "system", SYSTEM)
        if not system.strip() or not messages:
            return messages
        if messages[0]["role"] != "system":
            return [{"role": "system", "content": system}, *messages]
        if messages[0]["content"] != system:
            raise BadRowError("wrong turns: the row has a system prompt and a system turn, and they differ")
        return messages

    def _columns(self, role: str, names: Sequence[str]) -> Sequence[str]:
        return [self._named[role]] if role in self._named else names

    def _only_text(self, row: Row, role: str, names: Sequence[str]) -> str:
        value = only_value(row, self._columns(role, names))
        return "" if value is None else turn_text(value, role)

    def _recognise(self, row: Row) -> Sequence[Sequence[str]]:
        """Columns of the first format that the row has; null counts as absent, since Parquet fills mixed schemas."""
        for blank in (False, True):
            for required in self.formats.values():
                if has_columns(row, required, blank=blank):
                    return required
        present = listed([f"{column} (null)" if value is None else str(column) for column, value in row.items()])
        known = [
            f"{name} ({', '.join('|'.join(options) for options in required)})"
            for name, required in self.formats.items()
        ]
        raise BadRowError(
            f"wrong columns: the row holds {present or 'nothing'}; known: {'; '.join(known)}{layout_hint(row)}"
        )

    def _without_removed(self, text: str) -> str:
        for literal in self.remove:
            text = text.replace(literal, "")
        return text
