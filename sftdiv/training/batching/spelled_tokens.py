"""Finds special tokens that the texts of a training set spell out, such as a literal ``<|endoftext|>``.

A tokenizer reads them as the tokens themselves, so that a mark left over from another model's format is trained on, and
scored, as a token that the model never writes: the short answers of T0, which end with such a mark in pool-117k, had a
held-out loss of 9.9 nats a token under SmolLM2-135M-Instruct (``benchmarks/real_study/plan.md``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sftdiv.modeling.chat_labels import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def spelled_tokens(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages]) -> Counter[str]:
    """Number of conversations that spell out each special token of a tokenizer in a message; only those that occur.

    Args:
        tokenizer: Tokenizer whose special tokens are searched for.
        conversations: Messages of each conversation.
    """
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    counts: Counter[str] = Counter()
    for messages in conversations:
        text = "\n".join(message["content"] for message in messages)
        counts.update(token for token in special if token in text)
    return counts


def describe_spelled(counts: Counter[str], conversations: int) -> str:
    """A warning with the tokens, most frequent first, and the setting that removes them."""
    listed = ", ".join(f"{token} in {count:,}" for token, count in counts.most_common(5))
    removed = ", ".join(f'"{token}"' for token, _ in counts.most_common(5))
    return (
        f"of {conversations:,} conversations some spell out special tokens, which are read as these tokens: {listed}; "
        f"corpus.remove='[{removed}]' removes them"
    )
