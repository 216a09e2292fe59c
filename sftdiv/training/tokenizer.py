"""A byte-level BPE tokenizer for models that start from scratch.

Output is a tokenizer folder in the hub's format, with a chat template. Every byte is in the
vocabulary, so that nothing is unknown. Roles are special tokens, so that a turn takes one token to
mark. The trade-off: a literal ``<|user|>`` in a text is read as the role.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

END, PAD = "<|eos|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], folder: Path, *, vocab_size: int) -> None:
    """Train a tokenizer and save it.

    Args:
        texts: Training texts; equal texts give an equal tokenizer.
        folder: Output folder; created if missing.
        vocab_size: Maximum number of entries, including the 256 bytes and the five special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=PAD, additional_special_tokens=list(ROLES)
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
