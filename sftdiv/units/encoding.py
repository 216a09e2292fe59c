"""Token ids of texts, by any tokenizer: a folder in the hub's format, a GGUF file, a hub id, ``words`` or ``lexical``.

`encode` leaves special tokens out, even where the texts spell them out. A folder with a
``tokenizer.json`` is read by the Rust library alone (all cores, no 6 s import of transformers), ``words`` and
``lexical`` are cut by as many processes; everything else goes through ``AutoTokenizer``. Ids are appended to one
growing array of four bytes per id, so that 180 million tokens take 0.7 GiB during and after tokenization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sftdiv.records import ModelRef, SftdivError, TokenIds
from sftdiv.storage.cache import MANIFEST
from sftdiv.storage.files import local_path
from sftdiv.storage.hashing import content_hash, file_digest
from sftdiv.storage.progress_bar import progress_bar
from sftdiv.text.lines import first_line
from sftdiv.text.words import split_words
from sftdiv.units.lexical import LEXICAL, number_lexical
from sftdiv.units.numbering import GrowingTokenIds, number_by, number_tokens

WORDS = "words"
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}
BLOCK = 2_000


class Encoder(NamedTuple):
    """A tokenizer: the function from texts to ids, the name of each id, and the special ids."""

    encode: Callable[[list[str]], Sequence[Sequence[int]]]
    names: list[str]
    special: frozenset[int]


def tokenizer_identity(name: str, revision: str | None = None) -> dict[str, str | None]:
    """Identity of a tokenizer: the content of a local folder's files or of a GGUF file, else the hub id and revision.

    Args:
        name: ``words``, ``lexical``, a tokenizer folder, a GGUF file, or a hub id.
        revision: Hub revision (branch, tag or commit).
    """
    if name in (WORDS, LEXICAL) or not ModelRef(name).is_local:
        return {"name": name, "revision": revision}
    folder = Path(name).expanduser()
    if folder.is_file():
        return {"files": file_digest(folder)}
    files = (path for path in folder.iterdir() if path.is_file())
    digests = {
        path.name: file_digest(path) for path in sorted(files) if path.suffix not in WEIGHTS and path.name != MANIFEST
    }
    return {"files": content_hash(digests)}


def encode(texts: Sequence[str], name: str, revision: str | None = None) -> TokenIds:
    """Tokenize texts.

    Args:
        texts: Any number of texts.
        name: ``words`` for what stands between white space (characters in scripts without it), ``lexical`` for
            words and signs by a fixed rule, a tokenizer folder, a GGUF file, or a hub id.
        revision: Hub revision (branch, tag or commit).

    Raises:
        SftdivError: If the tokenizer cannot be loaded.
    """
    if name == WORDS:
        return _words(texts)
    if name == LEXICAL:
        return number_tokens(_blocks(texts), number_lexical)
    file = Path(name) / "tokenizer.json"
    encoder = _from_file(file) if local_path(file) else _from_transformers(name, revision)
    is_special = np.zeros(max([len(encoder.names) - 1, *encoder.special]) + 1, dtype=bool)
    is_special[list(encoder.special)] = True
    growing = GrowingTokenIds()
    for block in _blocks(texts):
        ids = encoder.encode(block)
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=lengths.sum())
        if (special := is_special[flat]).any():
            text = np.repeat(np.arange(len(ids)), lengths)
            lengths -= np.bincount(text, weights=special, minlength=len(ids)).astype(np.int64)
            flat = flat[~special]
        growing.append(flat, lengths)
    return growing.token_ids(encoder.names)


def _blocks(texts: Sequence[str]) -> Iterable[list[str]]:
    """The texts in blocks, with a progress bar."""
    with progress_bar("tokenizing", len(texts), unit="texts") as advance:
        for start in range(0, len(texts), BLOCK):
            block = list(texts[start : start + BLOCK])
            yield block
            advance(len(block))


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


def _words(texts: Sequence[str]) -> TokenIds:
    """Words by `text.words`; ids are alphabetical, whatever the order of the texts.

    Words are numbered as they occur and renumbered at the end, so that each word, which takes ten
    times the memory of an id, is held once.
    """
    tokens = number_tokens(_blocks(texts), partial(number_by, split_words))
    order = sorted(range(len(tokens.names)), key=tokens.names.__getitem__)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    np.take(rank, tokens.flat, out=tokens.flat, mode="clip")  # in place: "clip" needs no buffer; all ids are in range
    return TokenIds(tokens.flat, tokens.offsets, [tokens.names[number] for number in order])
