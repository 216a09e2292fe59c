"""Tokenizers with a vocabulary: read by the Rust library where there is a ``tokenizer.json``, else by transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from sftdiv.records import SftdivError
from sftdiv.storage.files import local_path
from sftdiv.text.lines import first_line


class Encoder:
    """A tokenizer with a vocabulary.

    Attributes:
        encode: Function from texts to ids.
        names: Name of each id.
        is_special: Mask of the special ids, shape (ids,).
    """

    def __init__(
        self, encode: Callable[[list[str]], Sequence[Sequence[int]]], names: list[str], special: frozenset[int]
    ) -> None:
        self.encode = encode
        self.names = names
        self.is_special = np.zeros(max([len(names) - 1, *special]) + 1, dtype=bool)
        self.is_special[list(special)] = True


@lru_cache(maxsize=2)  # by each process: a shard takes seconds, loading a tokenizer may take as long
def encoder_of(name: str, revision: str | None) -> Encoder:
    """The tokenizer of a folder in the hub's format, a GGUF file, or a hub id.

    Raises:
        SftdivError: If it cannot be loaded.
    """
    file = Path(name) / "tokenizer.json"
    return _from_file(file) if local_path(file) else _from_transformers(name, revision)


def _from_file(path: Path) -> Encoder:
    """The encoder of a ``tokenizer.json``."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more special
        raise SftdivError(
            f"tokenizer {str(path.parent)!r} cannot be loaded: {path.name} is damaged: {error}"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    names = [tokenizer.id_to_token(i) or "" for i in range(max(vocabulary.values()) + 1)]  # ids may have gaps
    special = frozenset(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)

    def ids(block: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(block, add_special_tokens=False)]

    return Encoder(ids, names, special)


def _from_transformers(name: str, revision: str | None) -> Encoder:
    """The encoder of any tokenizer that transformers can load."""
    from transformers import AutoTokenizer

    file = local_path(name)
    gguf = {"gguf_file": file.name} if file is not None and file.is_file() else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent if file is not None and gguf else name, revision=revision, trust_remote_code=False, **gguf
        )
    except Exception as error:  # a missing folder, an unknown id, no network; a damaged file may raise anything
        reason = first_line(error) or type(error).__name__
        raise SftdivError(
            f"tokenizer {name!r} cannot be loaded: {reason} "
            "(set by model.path, or by strategy.tokenizer: model, words, lexical, a folder, a GGUF file or a hub id)"
        ) from error
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = frozenset(tokenizer.all_special_ids)
    return Encoder(lambda block: tokenizer(block, add_special_tokens=False)["input_ids"], names, special)
