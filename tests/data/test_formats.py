"""Each format on a row that a reader can hold in mind, and each reason for which a row is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.data.formats import BadRowError, Converter
from sftdiv.records import SftdivError

ASKED = {"role": "user", "content": "Name a colour."}
ANSWERED = {"role": "assistant", "content": "Red."}


def converter(**settings: Any) -> Converter:
    return Converter(**{"format": "auto", "id": "id", "source": "source", "columns": [], "remove": [], **settings})


def messages(row: Any, **settings: Any) -> Any:
    return converter(**settings).example(row).messages


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Name a colour.", "input": "", "output": "Red."},
        {"instruction": "Name a colour.", "response": "Red."},
        {"instruction": "Name a colour.", "output": None, "response": "Red.", "conversations": None},
        {"prompt": "Name a colour.", "completion": "Red."},
        {"conversations": [{"from": "human", "value": "Name a colour."}, {"from": "gpt", "value": "Red."}]},
        {"messages": [ASKED, ANSWERED], "prompt": "Name a colour.", "completion": "Blue."},
        {"messages": [{"role": "system", "content": " "}, ASKED, ANSWERED]},
    ],
)
def test_every_format_gives_the_same_conversation(row: Any) -> None:
    assert messages(row) == [ASKED, ANSWERED]


def test_alpaca_input_follows_the_instruction() -> None:
    assert messages({"instruction": "Add.", "input": "1 and 2", "output": "3"})[0]["content"] == "Add.\n\n1 and 2"


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be brief.", "messages": [ASKED, ANSWERED]},
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "Name a colour."},
                {"from": "gpt", "value": "Red."},
            ]
        },
        {"system": "Be brief.", "instruction": "Name a colour.", "output": "Red."},
    ],
)
def test_a_system_prompt_comes_first(row: Any) -> None:
    assert messages(row) == [{"role": "system", "content": "Be brief."}, ASKED, ANSWERED]


def test_several_turns_are_kept() -> None:
    assert messages({"messages": [ASKED, ANSWERED, ASKED, ANSWERED]}) == [ASKED, ANSWERED, ASKED, ANSWERED]


def test_labels_and_carried_columns() -> None:
    row = {"key": 7, "from": "web", "prompt": "a", "completion": "b", "task": "t", "tags": ["x", "y"], "other": 1}
    example = converter(id="key", source="from", columns=["task", "tags"]).example(row)
    assert (example.id, example.source, example.extra) == ("7", "web", {"task": "t", "tags": ["x", "y"]})


def test_removed_literals_may_leave_nothing() -> None:
    row = {"prompt": "a<|end|>", "completion": "b<|end|>"}
    assert [turn["content"] for turn in messages(row, remove=["<|end|>"])] == ["a", "b"]
    with pytest.raises(BadRowError, match=r"^empty response: "):
        messages({"prompt": "a", "completion": "<|end|>"}, remove=["<|end|>"])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["a", "b"], "not an object: the row is list"),
        ({"question": "a", "answer": "b"}, "wrong columns: the row holds question, answer; known: messages"),
        ({"instruction": "a", "output": None}, r"wrong columns: the row holds instruction, output \(null\)"),
        ({"prompt": "a", "completion": 42}, "not text: response is int"),
        ({"prompt": "a", "completion": " \n"}, "empty response: "),
        ({"prompt": "", "completion": "b"}, "empty instruction: "),
        ({"messages": "hello"}, r"wrong turns: the conversation is text that is not JSON \(Expecting value\)"),
        ({"messages": 7}, "wrong turns: the conversation is not a list of objects"),
        ({"messages": []}, "wrong turns: .* got \\[\\]"),
        ({"messages": [ASKED]}, "wrong turns: .* end with assistant, got \\['user'\\]"),
        ({"messages": [ASKED, ASKED, ANSWERED, ANSWERED]}, "wrong turns: after an optional system"),
        (
            {"messages": [ASKED, {"role": "tool", "content": "x"}]},
            "wrong turns: role 'tool' is unknown; known: system, developer, user",
        ),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "not text: a turn of assistant is null"),
        ({"prompt": "a", "completion": "\ud800"}, "not UTF-8: "),
    ],
)
def test_refused_rows_say_why(row: Any, reason: str) -> None:
    with pytest.raises(BadRowError, match=f"^{reason}"):
        messages(row)


def test_a_named_format_accepts_no_other() -> None:
    known = r"holds prompt, completion; known: alpaca \(instruction, output\|response\)"
    with pytest.raises(BadRowError, match=known + r"\. corpus\.format=auto reads these columns$"):
        messages({"prompt": "a", "completion": "b"}, format="alpaca")


def test_carried_columns_must_be_there_and_simple() -> None:
    row = {"prompt": "a", "completion": "b", "tags": {"x": 1}}
    with pytest.raises(
        BadRowError, match=r"^missing column: corpus.columns asks for 'tag'; the row has prompt, completion, tags"
    ):
        converter(columns=["tag"]).example(row)
    with pytest.raises(
        BadRowError, match=r"^wrong column type: 'tags' is neither a scalar nor a list of strings but dict"
    ):
        converter(columns=["tags"]).example(row)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"format": "alpacca"},
            "corpus.format='alpacca' is unknown. Did you mean 'alpaca'\\? Known: auto, messages, sharegpt, alpaca",
        ),
        ({"columns": "task"}, r"corpus.columns='task' must be a list, as in corpus.columns=\[task\]"),
        ({"columns": ["source"]}, "corpus.columns may not hold source"),
    ],
)
def test_wrong_settings_name_the_alternatives(settings: Any, message: str) -> None:
    with pytest.raises(SftdivError, match=message):
        converter(**settings)


TEXT = st.text(st.characters(exclude_categories=[]), max_size=5)  # surrogates too
VALUE = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner, max_size=3)
    ),
    max_leaves=6,
)
COLUMN = st.sampled_from(
    ["messages", "conversations", "instruction", "input", "output", "prompt", "completion", "system", "id", "source"]
)


@given(st.dictionaries(COLUMN, VALUE, max_size=6))
def test_any_row_gives_a_sound_example_or_a_reason(row: Any) -> None:
    try:
        example = converter().example(row)
    except BadRowError as error:
        assert ":" in str(error)
    else:
        assert example.messages[-1]["role"] == "assistant"
        assert all(turn["content"].strip() and turn["content"].encode() for turn in example.messages)
