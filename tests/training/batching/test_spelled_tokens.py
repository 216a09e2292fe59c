"""Special tokens that texts spell out are counted, and named with the setting that removes them."""

import logging

from tiny_models import CONFIG, tiny_base

from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.training.batching.conversations import tokenize_conversations
from sftdiv.training.batching.spelled_tokens import spelled_tokens


def talk(answer):
    return [{"role": "user", "content": "the cat says"}, {"role": "assistant", "content": answer}]


def test_a_conversation_counts_once_for_each_token_that_its_messages_spell_out():
    tokenizer = load_tokenizer(tiny_base().parent / "tokenizer")
    talks = [talk("meow<|eos|>"), talk("meow<|eos|> <|user|> meow<|eos|>"), talk("meow"), talk("<eos> |user|")]
    assert spelled_tokens(tokenizer, talks) == {"<|eos|>": 2, "<|user|>": 1}


def test_a_training_set_with_spelled_tokens_is_reported_with_the_way_out(caplog):
    tokenizer = load_tokenizer(tiny_base().parent / "tokenizer")
    settings = {"data": CONFIG.data, "vocabulary": len(tokenizer), "seed": 0}
    with caplog.at_level(logging.WARNING):
        tokenize_conversations(tokenizer, [talk("meow")], ["a"], ["a"], **settings)
        assert not caplog.records
        tokenize_conversations(tokenizer, [talk("meow<|eos|>"), talk("woof")], ["a", "b"], ["a", "b"], **settings)
    (warning,) = caplog.messages
    assert warning.startswith("of 2 conversations some spell out special tokens") and "<|eos|> in 1" in warning
    assert warning.endswith("corpus.remove='[\"<|eos|>\"]' removes them")
