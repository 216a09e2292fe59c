"""A column, field or mark that changes the conversation is read, refused with its name, or counted; never ignored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sftdiv.data.formats import BadRowError, Converter
from sftdiv.records import SftdivError

ASKED = {"role": "user", "content": "Name a colour."}
ANSWERED = {"role": "assistant", "content": "Red."}
BRIEF = {"role": "system", "content": "Be brief."}
PAIR = {"instruction": "Name a colour.", "output": "Red."}


def converter(**settings: Any) -> Converter:
    return Converter(**{"format": "auto", "id": "id", "source": "source", "columns": [], "remove": [], **settings})


def messages(row: Any, **settings: Any) -> Any:
    return converter(**settings).example(row).messages


def answered(**fields: Any) -> dict[str, Any]:
    return {"messages": [ASKED, {**ANSWERED, **fields}]}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "User", "content": "Name a colour."}, {"role": "ASSISTANT ", "content": "Red."}]},
        {
            "messages": [
                ASKED,
                {"role": "assistant", "content": [{"type": "text", "text": "Re"}, {"type": "text", "text": "d."}]},
            ]
        },
        {"messages": json.dumps([ASKED, ANSWERED])},
        {"messages": {"role": ["user", "assistant"], "content": ["Name a colour.", "Red."]}},
        {"conversations": json.dumps({"from": ["human", "gpt"], "value": ["Name a colour.", "Red."]})},
        {"prompt": [ASKED], "completion": [ANSWERED]},
        {"prompt": [ASKED], "completion": "Red."},
        {"prompt": json.dumps([ASKED]), "completion": json.dumps([ANSWERED])},
        {**PAIR, "history": [], "system": "", "input": None, "tools": "[]", "images": [None]},
        {**PAIR, "weight": 1, "label": True, "kto_tag": "true", "train": "true"},
        {**PAIR, "output": "", "response": "Red."},
        answered(weight=1, train=True, mask=False, tool_calls=None, reasoning_content="", images=[]),
        {"messages": [{**ASKED, "train": False, "weight": 0}, ANSWERED]},
        {"messages": [ASKED, ANSWERED], "instruction": "Name a colour.", "response": "Red."},
    ],
)
def test_other_spellings_of_the_same_conversation(row: Any) -> None:
    example = converter().example(row)
    assert example.messages == [ASKED, ANSWERED]
    assert example.unread == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**PAIR, "context": "The sky."}, [{"role": "user", "content": "Name a colour.\n\nThe sky."}, ANSWERED]),
        ({**PAIR, "input": "[]"}, [{"role": "user", "content": "Name a colour.\n\n[]"}, ANSWERED]),
        ({**PAIR, "system_prompt": "Be brief."}, [BRIEF, ASKED, ANSWERED]),
        ({"messages": [ASKED, ANSWERED], "system_prompt": "Be brief."}, [BRIEF, ASKED, ANSWERED]),
        ({"messages": [BRIEF, ASKED, ANSWERED], "system": "Be brief."}, [BRIEF, ASKED, ANSWERED]),
        ({"messages": [{**BRIEF, "role": "developer"}, ASKED, ANSWERED]}, [BRIEF, ASKED, ANSWERED]),
        ({**PAIR, "history": [["Name a colour.", "Red."]], "system": "Be brief."}, [BRIEF, *[ASKED, ANSWERED] * 2]),
        ({**PAIR, "history": json.dumps([["Name a colour.", "Red."]])}, [ASKED, ANSWERED] * 2),
        ({**PAIR, "history": [ASKED, ANSWERED]}, [ASKED, ANSWERED] * 2),
        ({"prompt": [BRIEF, ASKED, ANSWERED, ASKED], "completion": [ANSWERED]}, [BRIEF, *[ASKED, ANSWERED] * 2]),
    ],
)
def test_columns_that_are_read(row: Any, expected: Any) -> None:
    assert messages(row) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (answered(weight=0), "unsupported field: turn 2 has weight 0, which is not supported; corpus.ignore=.weight."),
        (answered(weight=0.5), "unsupported field: turn 2 has weight 0.5"),
        (answered(train=False), "unsupported field: turn 2 has train false"),
        (answered(trainable="False"), "unsupported field: turn 2 has trainable"),
        (answered(loss=False), "unsupported field: turn 2 has loss false"),
        (answered(mask=True), "unsupported field: turn 2 has mask true"),
        (answered(tool_calls=[{"id": 1}]), "unsupported field: turn 2 has tool_calls"),
        (answered(function_call={"name": "f"}), "unsupported field: turn 2 has function_call"),
        (answered(reasoning_content="Hm."), "unsupported field: turn 2 has reasoning_content"),
        (answered(thinking="Hm."), "unsupported field: turn 2 has thinking"),
        (answered(images=["a.png"]), "unsupported field: turn 2 has images"),
        (
            answered(content=[{"type": "image_url", "image_url": "a"}]),
            "unsupported field: .* content part of type image",
        ),
        (answered(content=[{"type": "text"}]), "not text: a content part of a turn of assistant is null"),
        ({**PAIR, "tools": [{"name": "f"}]}, "unsupported column: the row has tools"),
        ({**PAIR, "images": ["a.png"]}, "unsupported column: the row has images"),
        ({**PAIR, "audios": ["a.wav"]}, "unsupported column: the row has audios"),
        ({**PAIR, "label": False}, "unsupported column: the row has label false"),
        ({**PAIR, "kto_tag": "false"}, "unsupported column: the row has kto_tag"),
        ({**PAIR, "weight": 0}, "unsupported column: the row has weight 0"),
        ({**PAIR, "input": 0}, "not text: input is int"),
        ({**PAIR, "system": []}, "not text: system is list"),
        ({**PAIR, "input": "a", "context": "b"}, "unsupported column: input and context mean the same and differ"),
        ({**PAIR, "history": ["a", "b"]}, "wrong turns: history is not a list of pairs"),
        (
            {"messages": [BRIEF, ASKED, ANSWERED], "system": "Be long."},
            "wrong turns: the row has a system prompt and a",
        ),
        (
            {"messages": {"role": ["user"], "content": []}},
            "wrong turns: the lists .* differ in length .role 1, content 0",
        ),
        ({"messages": [{**ASKED, "from": "gpt"}, ANSWERED]}, "wrong turns: a turn has role 'user' and from 'gpt'"),
        ({"messages": [{**ASKED, "value": "other"}, ANSWERED]}, "wrong turns: turn 1 has both content and value"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "wrong columns: the row holds prompt, chosen, rejected"),
    ],
)
def test_what_would_be_lost_is_refused(row: Any, reason: str) -> None:
    with pytest.raises(BadRowError, match=f"^{reason}"):
        messages(row)


@pytest.mark.parametrize(
    ("row", "unread"),
    [
        ({**PAIR, "chosen": "a", "rejected": "b"}, ("chosen", "rejected")),
        ({**PAIR, "response": "Blue."}, ("response",)),
        ({**PAIR, "loss_mask": [0, 1], "reasoning": "Hm."}, ("loss_mask", "reasoning")),
        ({**PAIR, "weight": 0.5, "label": 2}, ("label", "weight")),
        ({**PAIR, "prompt": "Say it.", "completion": "It."}, ("completion", "prompt")),
        ({"messages": [ASKED, ANSWERED], "context": "The sky.", "history": [["a", "b"]]}, ("context", "history")),
        ({"messages": [{**ASKED, "name": "Eva", "train": True}, ANSWERED]}, ("name", "train")),
        ({"messages": [ASKED, ANSWERED], "conversations": [{"from": "human", "value": "x"}]}, ("conversations",)),
        ({**PAIR, "label": "colours", "score": 3}, ()),
    ],
)
def test_what_changes_little_is_counted(row: Any, unread: tuple[str, ...]) -> None:
    assert converter().example(row).unread == unread


def test_what_is_ignored_on_purpose_is_not_told() -> None:
    ignore = ["weight", "tools", "reasoning_content", "image_url", "chosen"]
    row = answered(weight=0, reasoning_content="Hm.", content=[{"type": "image_url"}, {"type": "text", "text": "Red."}])
    example = converter(ignore=ignore).example({**row, "tools": [1], "chosen": "x"})
    assert (example.messages, example.unread) == ([ASKED, ANSWERED], ())


def test_a_mapping_names_the_columns_of_a_conversation() -> None:
    mapping = {
        "instruction": "question",
        "response": "answer",
        "input": "passage",
        "system": "persona",
        "messages": None,
    }
    row = {"question": "Name a colour.", "answer": "Red.", "passage": "The sky.", "persona": "Be brief.", "prompt": "x"}
    expected = [BRIEF, {"role": "user", "content": "Name a colour.\n\nThe sky."}, ANSWERED]
    assert messages(row, mapping=mapping) == expected
    assert messages({"prompt": "Name a colour.", "chosen": "Red."}, mapping={"response": "chosen"}) == [ASKED, ANSWERED]
    assert messages({"dialog": [ASKED, ANSWERED], "messages": []}, mapping={"messages": "dialog"}) == [ASKED, ANSWERED]
    with pytest.raises(BadRowError, match=r"holds instruction, output; known: corpus.mapping \(question, answer\)"):
        messages(PAIR, mapping=mapping)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mapping": {"question": "a"}}, "corpus.mapping='question' is unknown.* Known: instruction, input, response"),
        ({"mapping": {"messages": "a", "response": "b"}}, "corpus.mapping.messages holds whole conversations"),
        ({"mapping": {"response": "b"}, "format": "alpaca"}, "corpus.format=alpaca names its columns"),
        (
            {"columns": {"instruction": "question"}},
            "corpus.mapping names the columns .* corpus.mapping.instruction=quest",
        ),
        ({"ignore": "tools"}, r"corpus.ignore='tools' must be a list, as in corpus.ignore=\[tools\]"),
    ],
)
def test_wrong_mappings(settings: Any, message: str) -> None:
    with pytest.raises(SftdivError, match=message):
        converter(**settings)
