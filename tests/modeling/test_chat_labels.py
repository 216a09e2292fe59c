"""What is learned of a conversation, token by token: the responses and the token that ends each, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from sftdiv.config.app import conf_dir
from sftdiv.modeling.chat_labels import IGNORED, end_token, label_conversations, render, shorten
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.modeling.generate import prompt_tokens
from sftdiv.records import SftdivError
from sftdiv.training.tokenizer import train_tokenizer

TEMPLATES = [
    path for path in sorted((conf_dir() / "model" / "template").glob("*.yaml")) if path.stem != "auto"
]  # plain, or own
END, SYSTEM, USER, ASSISTANT = 0, 2, 3, 4
A, B, C, D, E, THOUGHT = (
    69,
    70,
    71,
    72,
    73,
    88,
)  # with no merges every byte is a token, and the printable ones come in order after five special ones
TWO_TURNS = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "bc"},
    {"role": "user", "content": "d"},
    {"role": "assistant", "content": "e"},
]


@pytest.fixture(scope="module")
def letters(tmp_path_factory) -> Path:
    """A tokenizer in which every letter is a token."""
    folder = tmp_path_factory.mktemp("letters")
    train_tokenizer([], folder, vocab_size=261)
    return folder


def test_labels_of_two_turns_are_both_responses_and_their_end_tokens(letters):
    (example,) = label_conversations(load_tokenizer(letters), [TWO_TURNS], max_length=99)
    assert example.input_ids.tolist() == [USER, A, ASSISTANT, B, C, END, USER, D, ASSISTANT, E, END]
    assert example.labels.tolist() == [-100, -100, -100, B, C, END, -100, -100, -100, E, END]
    assert example.label_tokens == 5


def test_a_system_message_is_read_and_not_learned(letters):
    messages = [{"role": "system", "content": "c"}, *TWO_TURNS[:2]]
    (example,) = label_conversations(load_tokenizer(letters), [messages], max_length=99)
    assert example.input_ids.tolist() == [SYSTEM, C, USER, A, ASSISTANT, B, C, END]
    assert example.labels.tolist() == [-100] * 5 + [B, C, END]


def test_an_assistant_turn_that_opens_a_conversation_answers_nothing(letters):
    (example,) = label_conversations(load_tokenizer(letters), [TWO_TURNS[1:]], max_length=99)
    assert example.labels.tolist() == [-100] * 7 + [E, END]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_template_learns_the_responses_and_the_end_token(letters, path):
    tokenizer = load_tokenizer(letters, template=yaml.safe_load(path.read_text())["jinja"])
    (example,) = label_conversations(tokenizer, [TWO_TURNS], max_length=999)
    assert example.labels[example.labels != IGNORED].tolist() == [B, C, END, E, END]
    text, spans = render(tokenizer, TWO_TURNS)
    assert [text[start:end] for start, end in spans] == ["bc<|eos|>", "e<|eos|>"]


def test_the_token_that_ends_a_response_may_not_be_the_end_of_sequence(letters):
    tokenizer = load_tokenizer(letters)
    assert end_token(tokenizer) == END
    tokenizer.chat_template = tokenizer.chat_template.replace("eos_token", "'<|system|>'")
    assert end_token(tokenizer) == SYSTEM


def test_a_template_without_end_token_is_refused(letters):
    tokenizer = load_tokenizer(letters, template="{% for message in messages %}{{ message['content'] }}.{% endfor %}")
    with pytest.raises(SftdivError, match="ends a response with no special token"):
        label_conversations(tokenizer, [TWO_TURNS[:2]], max_length=99)


def reasoning(tokenizer):
    """A tokenizer whose template, as reasoning models' do, writes a thought (`t`) into the last turn alone."""
    thought = "{% if message['role'] == 'assistant' and loop.last %}t{% endif %}{{ message['content'] }}"
    tokenizer.chat_template = tokenizer.chat_template.replace(" + message['content'] }}", " }}" + thought)
    return tokenizer


def test_a_template_that_rewrites_earlier_turns_is_refused(letters):
    with pytest.raises(SftdivError, match=r"turn 2 of 4 differently.*loss.turns=last.*model/template=chatml"):
        label_conversations(reasoning(load_tokenizer(letters)), [TWO_TURNS], max_length=99)


def test_the_last_response_is_learned_alone_and_only_it_needs_to_stay_as_it_is(letters):
    (example,) = label_conversations(reasoning(load_tokenizer(letters)), [TWO_TURNS], max_length=99, loss_turns="last")
    assert example.input_ids.tolist() == [USER, A, ASSISTANT, B, C, END, USER, D, ASSISTANT, THOUGHT, E, END]
    assert example.labels.tolist() == [-100, -100, -100, -100, -100, -100, -100, -100, -100, THOUGHT, E, END]


def test_with_the_last_response_the_text_ends(letters):
    (example,) = label_conversations(load_tokenizer(letters), [TWO_TURNS[:3]], max_length=99, loss_turns="last")
    assert example.input_ids.tolist() == [USER, A, ASSISTANT, B, C, END]
    assert example.labels.tolist() == [-100, -100, -100, B, C, END]


def test_a_prompt_that_its_turn_does_not_begin_with_is_refused(letters):
    own = load_tokenizer(letters).chat_template
    tokenizer = load_tokenizer(letters, template=own.replace("'<|assistant|>'", "'<|assistant|>think'"))
    with pytest.raises(SftdivError, match=r"prompt for turn 2 of 2 is not how the turn begins: it ends with '.*think'"):
        label_conversations(tokenizer, [TWO_TURNS[:2]], max_length=99, loss_turns="last")


def test_a_template_that_refuses_a_conversation_says_which(letters):
    tokenizer = load_tokenizer(letters, template="{{ raise_exception('roles must alternate') }}")
    with pytest.raises(
        SftdivError, match=r"rejects the turns user, assistant: roles must alternate.*model/template=chatml"
    ):
        label_conversations(tokenizer, [TWO_TURNS[:2]], max_length=99)


def test_loss_on_all_learns_every_token_but_a_begin_of_sequence(letters):
    tokenizer = load_tokenizer(letters)
    (example,) = label_conversations(tokenizer, [TWO_TURNS[:2]], max_length=99, loss_on="all")
    assert example.labels.tolist() == example.input_ids.tolist() == [USER, A, ASSISTANT, B, C, END]
    assert example.label_tokens == 5  # before the first token stands nothing that it could be learned from
    tokenizer.bos_token = "<|system|>"
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    (example,) = label_conversations(tokenizer, [TWO_TURNS[:2]], max_length=99, loss_on="all")
    assert example.input_ids.tolist() == [SYSTEM, USER, A, ASSISTANT, B, C, END]
    assert example.labels.tolist() == [-100, USER, A, ASSISTANT, B, C, END]


def test_what_is_too_long_is_cut_or_marked_and_left_whole(letters):
    tokenizer, talks = load_tokenizer(letters), [TWO_TURNS, TWO_TURNS[:2]]
    cut = label_conversations(tokenizer, talks, max_length=6)
    marked = label_conversations(tokenizer, talks, max_length=6, too_long="drop")
    assert [(len(example), example.truncated, example.dropped) for example in cut] == [
        (6, True, False),
        (6, False, False),
    ]
    assert [(len(example), example.truncated, example.dropped) for example in marked] == [
        (11, False, True),
        (6, False, False),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_on": "answer"}, "loss.on='answer' is unknown. Known: response, all"),
        ({"loss_turns": "first"}, "loss.turns='first' is unknown. Known: all, last"),
        ({"too_long": "cut"}, "data.too_long='cut' is unknown. Known: truncate, drop"),
        ({"loss_on": "all", "loss_turns": "last"}, "loss.turns=last needs loss.on=response"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_known_ones(letters, settings, message):
    with pytest.raises(SftdivError, match=message):
        label_conversations(load_tokenizer(letters), [TWO_TURNS], max_length=99, **settings)


@pytest.mark.parametrize(
    ("max_length", "kept"),
    [
        (11, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (8, [3, 4, 5, 6, 7, 8, 9, 10]),  # only the prompt's start goes
        (6, [5, 6, 7, 8, 9, 10]),
        (4, [6, 7, 8, 9]),  # the prompt keeps half of the length, and the response loses its end
    ],
)
def test_shortening_takes_the_start_of_the_prompt_then_the_end_of_the_response(max_length, kept):
    ids = np.arange(11)
    labels = np.where(ids >= 8, ids, IGNORED)
    example = shorten(ids, labels, max_length=max_length)
    assert example.input_ids.tolist() == kept
    assert example.truncated == (max_length < 11)
    assert example.label_tokens > 0


def test_a_tokenizer_without_template_says_how_to_give_one(letters, tmp_path):
    tokenizer = load_tokenizer(letters)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(SftdivError, match="no chat template; give one: model/template=plain, alpaca or chatml"):
        load_tokenizer(tmp_path)


def test_a_template_may_stand_in_where_there_is_none(letters, tmp_path):
    own = load_tokenizer(letters)
    assert load_tokenizer(letters, template="{{ 1 }}").chat_template == "{{ 1 }}"
    assert load_tokenizer(letters, template="{{ 1 }}", prefer_own=True).chat_template == own.chat_template
    own.chat_template = None
    own.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path, template="{{ 1 }}", prefer_own=True).chat_template == "{{ 1 }}"


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(SftdivError, match=r"cannot load '.*nowhere'.*model.path is a local folder"):
        load_tokenizer(tmp_path / "nowhere")


def test_equal_texts_give_an_equal_tokenizer_that_keeps_every_byte(tmp_path):
    texts = ["the cat sat on the mat", "the dog sat on the log", "naïve café"] * 9
    for name, order in (("one", texts), ("two", texts[::-1])):
        train_tokenizer(order, tmp_path / name, vocab_size=280)
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (tmp_path / "two" / "tokenizer.json").read_bytes()
    tokenizer = load_tokenizer(tmp_path / "one")
    assert len(tokenizer) == 280
    assert "Ġthe" in tokenizer.get_vocab()
    odd = " Žluťoučký\tkůň 🦄\n\n  x"
    assert tokenizer.decode(tokenizer(odd)["input_ids"]) == odd


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0]['content'] + (messages[0]['role'] | length) }}", "can only concatenate str"),
        ("{{ messages[0]['content'] + messages[0]['name'] }}", "has no attribute 'name'"),
        ("{{ raise_exception('no system') }}", "no system"),
        ("{{ messages[0]['content'] {% endfor %}", "unexpected|expected token"),
        ("{{ 1 // 0 }}", "division"),
        ({"tool_use": "{{ eos_token }}", "rag": "{{ eos_token }}"}, "no default is specified|multiple chat templates"),
    ],
    ids=["TypeError", "undefined", "refusal", "syntax", "ZeroDivisionError", "no default"],
)
def test_a_template_that_raises_anything_is_one_error(letters, template, reason):
    tokenizer = load_tokenizer(letters)
    tokenizer.chat_template = template
    message = rf"the chat template rejects the turns user, assistant: .*({reason}).*model/template=chatml"
    with pytest.raises(SftdivError, match=message):
        end_token(tokenizer)
    with pytest.raises(SftdivError, match="the chat template rejects the turns user: "):
        prompt_tokens(tokenizer, [TWO_TURNS[:1]])
