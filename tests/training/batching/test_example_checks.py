"""What is left out or refused before the first step, and the look at what is trained on."""

import numpy as np
import pytest

from sftdiv.modeling.chat_labels import IGNORED, Labelled, label_conversations
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.records import SftdivError
from sftdiv.training.batching.example_checks import CheckedExamples, check_examples, preview
from sftdiv.training.tokenizer import train_tokenizer

END = 2
ALLOWED = {"vocabulary": 10, "entries": 10, "end_ids": {END}, "pad_id": 0, "max_masked_share": 0.5}


def example(ids, learned, **made):
    """`learned` of the last ids have labels."""
    input_ids = np.array(ids, dtype=np.int64)
    labels = np.where(np.arange(len(ids)) >= len(ids) - learned, input_ids, IGNORED)
    return Labelled(input_ids, labels, **({"truncated": False} | made))


GOOD, CUT, MASKED = example([5, 6, 7, END], 2), example([5, 6, 7, 8], 2, truncated=True), example([5, 6, 7, END], 0)
ENDLESS, LONG = example([5, 6, 7, 8], 2), example([5, 6, 7, 8, 9, END], 2, dropped=True)


def check(*examples, **settings):
    return check_examples(examples, [f"talk-{i}" for i in range(len(examples))], **(ALLOWED | settings))


def test_what_has_nothing_to_learn_and_what_is_too_long_are_left_out_and_counted_apart():
    assert check(GOOD, MASKED, CUT, LONG, GOOD) == CheckedExamples(
        valid=[0, 2, 4], too_long=1, masked=1, truncated=1, ended=1.0
    )


def test_only_the_first_token_labelled_is_nothing_to_learn():
    assert check(GOOD, example([END], 1)).valid == [0]


def test_more_masked_examples_than_allowed_are_refused_and_named():
    assert check(GOOD, MASKED, max_masked_share=0.5).masked == 1
    with pytest.raises(
        SftdivError,
        match=r"2 of 3 conversations \(66.7%\) have no label token, such as talk-0, talk-3; "
        r"the limit is data.max_masked_share",
    ):
        check(MASKED, LONG, GOOD, MASKED)


def test_what_is_dropped_for_its_length_by_choice_is_no_error():
    assert check(GOOD, LONG, LONG, LONG, max_masked_share=0.0) == CheckedExamples(
        valid=[0], too_long=3, masked=0, truncated=0, ended=1.0
    )


def test_nothing_left_is_refused_whatever_the_share():
    with pytest.raises(
        SftdivError,
        match=r"none of 1 conversations has a label token: is there an assistant turn.*max_length.*template",
    ):
        check(MASKED, max_masked_share=1.0)
    with pytest.raises(
        SftdivError, match=r"none of 2 conversations has a label token \(1 are longer than .*data.too_long=truncate"
    ):
        check(MASKED, LONG, max_masked_share=1.0)
    with pytest.raises(SftdivError, match="none of 0 conversations"):
        check()


def test_an_id_without_embedding_is_refused_with_the_example_and_both_sizes():
    assert check(GOOD, vocabulary=8).valid == [0]
    message = r"token 7 of example talk-1 has no embedding: the tokenizer has 10 entries, the model 7 rows"
    with pytest.raises(SftdivError, match=message):
        check(example([5, 6, END], 2), GOOD, vocabulary=7)
    with pytest.raises(SftdivError, match="token 32000 for padding has no embedding"):
        check(GOOD, pad_id=32000)


def test_the_share_that_learns_to_end_is_of_those_that_are_whole():
    assert check(GOOD, ENDLESS, CUT, GOOD, ENDLESS).ended == 0.5
    assert check(CUT).ended is None
    assert check(example([5, 6, 9], 2), end_ids={END, 9}).ended == 1.0


def test_when_no_example_learns_to_end_the_training_is_refused():
    in_the_prompt = example([5, END, 6, 7], 2)
    with pytest.raises(
        SftdivError,
        match=r"none of 2 untruncated examples has a label on a token that ends a response \(2\).*eos_token",
    ):
        check(ENDLESS, in_the_prompt, CUT)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A tokenizer in which every letter is a token."""
    folder = tmp_path_factory.mktemp("letters")
    train_tokenizer([], folder, vocab_size=261)
    return load_tokenizer(folder)


def talk(*turns):
    return [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]


def test_a_preview_marks_what_is_learned_and_shows_special_tokens(letters):
    examples = label_conversations(letters, [talk("Hi?", "Hello."), talk("a", "b", "c", "d")], max_length=14)
    assert preview(letters, examples, ["one", "two"]) == (
        "--- one: 12 tokens, 7 of them trained ---\n"
        "<|user|>Hi?<|assistant|>⟦Hello.<|eos|>⟧\n\n"
        "--- two: 10 tokens, 4 of them trained ---\n"
        "<|user|>a<|assistant|>⟦b<|eos|>⟧<|user|>c<|assistant|>⟦d<|eos|>⟧\n"
    )


def test_a_preview_does_not_mark_the_first_token_which_nothing_precedes(letters):
    (whole,) = label_conversations(letters, [talk("a", "b")], max_length=99, loss_on="all")
    assert preview(letters, [whole], ["all"]).endswith("\n<|user|>⟦a<|assistant|>b<|eos|>⟧\n")


def test_a_preview_leaves_out_the_middle_of_a_long_stretch_and_says_what_was_cut(letters):
    (cut,) = label_conversations(letters, [talk("a", "bbbb" + "c" * 20 + "dddd")], max_length=30)
    assert preview(letters, [cut], ["long"], width=8) == (
        "--- long: 30 tokens, 27 of them trained, truncated ---\n"
        "<|us […14 characters…] nt|>⟦bbbb […19 characters…] cddd⟧\n"
    )


def test_a_preview_takes_examples_from_all_over(letters):
    examples = label_conversations(letters, [talk("a", "b")] * 9, max_length=99)
    names = [f"talk-{i}" for i in range(9)]
    shown = [line.split(":")[0] for line in preview(letters, examples, names).splitlines() if line.startswith("---")]
    assert shown == ["--- talk-0", "--- talk-4", "--- talk-8"]
    assert preview(letters, examples[:2], names[:2]).count("---\n") == 2
    assert preview(letters, [], []) == ""
