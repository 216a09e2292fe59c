"""Texts to token ids, with any tokenizer: a folder in the hub's format, a hub id, or ``words``.

In: texts and the tokenizer's name. Out: ``TokenIds``; special tokens are left out, whatever the texts hold.
The trade: a folder with a ``tokenizer.json`` is read with the Rust library alone (no 6 s import of transformers, all cores); everything
else goes through ``AutoTokenizer``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from sftdiv.records import SftdivError, TokenIds
from sftdiv.store import MANIFEST, content_hash, file_digest

WORDS = "words"
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}
BLOCK = 2_000


class Encoder(NamedTuple):
    """A tokenizer as three facts: many texts to ids, the name of each id, and which ids are special."""

    encode: Callable[[list[str]], Sequence[Sequence[int]]]
    names: list[str]
    special: frozenset[int]


def tokenizer_identity(name: str, revision: str | None = None) -> dict[str, str | None]:
    """What a cached result of this tokenizer is keyed by: the files' content where there is a folder, else the hub id and revision."""
    folder = Path(name)
    if name != WORDS and folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in WEIGHTS and path.name != MANIFEST)
        return {"files": content_hash({path.name: file_digest(path) for path in files})}
    return {"name": name, "revision": revision}


def encode(texts: Sequence[str], name: str, revision: str | None = None) -> TokenIds:
    """Tokenize texts.

    Args:
        texts: Any number of texts.
        name: ``words`` for ``str.split()``, a tokenizer folder, or a hub id.
        revision: Of a hub id.
    """
    if name == WORDS:
        return _words(texts)
    encoder = _from_file(Path(name) / "tokenizer.json") if (Path(name) / "tokenizer.json").is_file() else _from_transformers(name, revision)
    blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
    shown: Iterable[Sequence[str]] = track(blocks, description="tokenizing", transient=True, disable=len(blocks) < 10)
    special = np.array(sorted(encoder.special), dtype=np.int32)
    flat, lengths = [], []
    for block in shown:
        for ids in encoder.encode(list(block)):
            array = np.asarray(ids, dtype=np.int32)
            array = array[~np.isin(array, special)] if len(special) else array
            flat.append(array)
            lengths.append(len(array))
    return TokenIds(_joined(flat), _offsets(lengths), encoder.names)


def _from_file(path: Path) -> Encoder:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    entries = tokenizer.get_vocab(with_added_tokens=True)
    names = [tokenizer.id_to_token(i) or "" for i in range(max(entries.values()) + 1)]  # ids may leave gaps
    special = frozenset(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    return Encoder(lambda block: [e.ids for e in tokenizer.encode_batch_fast(block, add_special_tokens=False)], names, special)


def _from_transformers(name: str, revision: str | None) -> Encoder:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except OSError as error:  # a missing folder, an unknown id, no network
        reason = str(error).strip().splitlines()[0]
        raise SftdivError(
            f"no tokenizer {name!r}: {reason} (it is model.path's, or strategy.tokenizer: model, words, a folder or a hub id)"
        ) from error
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return Encoder(lambda block: tokenizer(block, add_special_tokens=False)["input_ids"], names, frozenset(tokenizer.all_special_ids))


def _words(texts: Sequence[str]) -> TokenIds:
    """Whitespace words; ids follow the alphabet, so that they do not depend on the order of the texts."""
    split = [text.split() for text in texts]
    names = sorted({word for words in split for word in words})
    ids = {word: i for i, word in enumerate(names)}
    flat = [np.fromiter((ids[word] for word in words), dtype=np.int32, count=len(words)) for words in split]
    return TokenIds(_joined(flat), _offsets([len(words) for words in split]), names)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=np.int32), *arrays])


def _offsets(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
