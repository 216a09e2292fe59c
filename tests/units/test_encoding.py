"""Tokenizing in blocks: the same ids whatever the blocks, special tokens gone from the middle of them,
nothing from nothing."""

from pathlib import Path

import numpy as np
import pytest

from sftdiv.training.tokenizer import train_tokenizer
from sftdiv.units import encoding
from sftdiv.units.encoding import WORDS, encode

TEXTS = ["a cat", "<|user|>a dog<|eos|>", "", "a<|eos|>cat<|eos|>", "<|eos|>", "dog and cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place: Path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, place, vocab_size=280)
    return str(place)


def test_blocks_leave_no_trace(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [encode(TEXTS, name) for name in (folder, WORDS)]
    for block, shard in ((1, 2), (2, 4), (4, 4)):
        monkeypatch.setattr(encoding, "BLOCK", block)
        monkeypatch.setattr(encoding, "SHARD", shard)
        for name, tokens in zip((folder, WORDS), whole, strict=True):
            again = encode(TEXTS, name)
            assert (again.flat.tolist(), again.offsets.tolist(), again.names) == (
                tokens.flat.tolist(),
                tokens.offsets.tolist(),
                tokens.names,
            )


def test_texts_without_their_special_tokens_have_the_same_ids(folder: str) -> None:
    tokens = encode(TEXTS, folder)
    apart = [[part for part in text.replace("<|user|>", "<|eos|>").split("<|eos|>") if part] for text in TEXTS]
    alone = encode([part for parts in apart for part in parts], folder)
    assert tokens.flat.tolist() == alone.flat.tolist()
    assert tokens.lengths().tolist() == [int(encode(parts, folder).lengths().sum()) for parts in apart]


def test_no_texts_and_blank_ones_have_no_tokens(folder: str) -> None:
    for name in (folder, WORDS):
        for texts in ([], ["", ""]):
            tokens = encode(texts, name)
            assert (tokens.flat.dtype, tokens.offsets.dtype) == (np.int32, np.int64)
            assert (tokens.flat.tolist(), tokens.offsets.tolist()) == ([], [0] * (len(texts) + 1))
