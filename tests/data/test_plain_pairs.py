"""The short way of plain rows gives what the general way gives, and leaves every other row to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.formats import Converter

ALPACA = Converter(format="auto", id="id", source="source", columns=["topic"], remove=["<eos>"])
MAPPED = dataclasses.replace(
    ALPACA, columns=[], mapping={"instruction": "question", "response": "label", "input": "text"}
)
PROMPT = dataclasses.replace(ALPACA, format="prompt", columns=[], remove=[])
NAMES = ["instruction", "input", "output", "response", "prompt", "completion", "context", "system", "history", "label"]
VALUES = [
    "Add.",
    " x ",
    "",
    " \t",
    "<eos>",
    "[]",
    '[{"role": "user", "content": "Hi"}]',
    "[1] é",
    "\ud800",
    None,
    3,
    [],
    True,
]
ROWS = st.dictionaries(st.sampled_from([*NAMES, "question", "text", "id", "source", "note"]), st.sampled_from(VALUES))


class General(Converter):
    """Takes the general way for every row."""

    def _plain_pair(self, row: Any) -> None:
        return None


def outcome(converter: Converter, row: dict[str, Any]) -> Any:
    try:
        return converter.example(row)
    except BadRowError as error:
        return str(error)


@pytest.mark.parametrize("converter", [ALPACA, MAPPED, PROMPT])
@given(rows=st.lists(ROWS, max_size=5), likely=st.tuples(*[st.sampled_from(VALUES)] * 3))
def test_both_ways_agree_on_any_row(converter: Converter, rows: list[dict[str, Any]], likely: tuple[Any, ...]) -> None:
    general = General(**{field.name: getattr(converter, field.name) for field in dataclasses.fields(converter)})
    instruction, response, context = likely
    pairs = [
        {"topic": "sums", "instruction": instruction, "input": context, "output": response, "source": "web", "id": 7},
        {"question": instruction, "label": response, "text": context},
        {"prompt": instruction, "response": response, "context": context, "tools": []},
    ]
    for row in [*rows, *pairs]:
        row = row | {"topic": row.get("topic", 1)}
        assert outcome(converter, row) == outcome(general, row), row


def test_a_plain_row_takes_the_short_way() -> None:
    row = {"instruction": "Add.", "input": "2 2", "output": "4<eos>", "id": "a", "source": "web", "topic": None, "x": 1}
    assert ALPACA._plain_pair(row) == [
        {"role": "user", "content": "Add.\n\n2 2"},
        {"role": "assistant", "content": "4"},
    ]
    assert ALPACA._plain_pair(row | {"tools": None}) is None
