"""Texts to token ids, with any tokenizer: a folder in the hub's format, a hub id, ``words`` or ``lexical``.

In: texts and the tokenizer's name. Out: ``TokenIds``; special tokens are left out, whatever the
texts hold. The trade: a folder with a ``tokenizer.json`` is read with the Rust library alone (no 6
s import of transformers, all cores); everything else goes through ``AutoTokenizer``. Ids go into
one growing array of four bytes an id: 180 million tokens take 0.7 GiB while they are made and
afterwards.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from sftdiv.records import SftdivError, TokenIds
from sftdiv.storage.cache import MANIFEST
from sftdiv.storage.hashing import content_hash, file_digest
from sftdiv.units.lexical import LEXICAL, lexical_ids

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
    if name not in (WORDS, LEXICAL) and folder.is_dir():
        files = sorted(
            path for path in folder.iterdir() if path.is_file() and path.suffix not in WEIGHTS and path.name != MANIFEST
        )
        return {"files": content_hash({path.name: file_digest(path) for path in files})}
    return {"name": name, "revision": revision}


def encode(texts: Sequence[str], name: str, revision: str | None = None) -> TokenIds:
    """Tokenize texts.

    Args:
        texts: Any number of texts.
        name: ``words`` for ``str.split()``, ``lexical`` for words and signs by a rule, a tokenizer
            folder, or a hub id.
        revision: Of a hub id.
    """
    if name == WORDS:
        return _words(texts)
    if name == LEXICAL:
        return lexical_ids(text for block in _shown(texts) for text in block)
    encoder = (
        _from_file(Path(name) / "tokenizer.json")
        if (Path(name) / "tokenizer.json").is_file()
        else _from_transformers(name, revision)
    )
    is_special = np.zeros(max([len(encoder.names) - 1, *encoder.special]) + 1, dtype=bool)
    is_special[list(encoder.special)] = True
    growing = _Growing()
    for block in _shown(texts):
        ids = encoder.encode(block)
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=lengths.sum())
        if (special := is_special[flat]).any():
            lengths -= np.bincount(np.repeat(np.arange(len(ids)), lengths), weights=special, minlength=len(ids)).astype(
                np.int64
            )
            flat = flat[~special]
        growing.add(flat, lengths)
    return growing.tokens(encoder.names)


class _Growing:
    """Token ids to which more are added; Python's arrays grow where they lie, a sixteenth at a time, so that nothing is held twice."""

    def __init__(self) -> None:
        self._flat, self._lengths = array("i"), array("q")

    def add(self, flat: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        """Add the ids of some texts, end to end, and how many each text has."""
        self._flat.frombytes(flat.tobytes())
        self._lengths.frombytes(lengths.tobytes())

    def tokens(self, names: Sequence[str]) -> TokenIds:
        """All of them, not copied."""
        offsets = np.zeros(len(self._lengths) + 1, dtype=np.int64)
        np.cumsum(np.frombuffer(self._lengths, dtype=np.int64), out=offsets[1:])
        return TokenIds(np.frombuffer(self._flat, dtype=np.int32), offsets, names)


def _shown(texts: Sequence[str]) -> Iterable[list[str]]:
    """The texts in blocks; of many of them a progress bar tells how far they are."""
    starts = range(0, len(texts), BLOCK)
    for start in track(starts, description="tokenizing", transient=True, disable=len(starts) < 10):
        yield list(texts[start : start + BLOCK])


def _from_file(path: Path) -> Encoder:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    entries = tokenizer.get_vocab(with_added_tokens=True)
    names = [tokenizer.id_to_token(i) or "" for i in range(max(entries.values()) + 1)]  # ids may leave gaps
    special = frozenset(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    return Encoder(
        lambda block: [e.ids for e in tokenizer.encode_batch_fast(block, add_special_tokens=False)], names, special
    )


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
    return Encoder(
        lambda block: tokenizer(block, add_special_tokens=False)["input_ids"],
        names,
        frozenset(tokenizer.all_special_ids),
    )


def _words(texts: Sequence[str]) -> TokenIds:
    """Whitespace words; ids follow the alphabet, so that they do not depend on the order of the texts.

    Words are numbered as they come and renumbered at the end: the words themselves, which take ten
    times the room, are held once each.
    """
    number: defaultdict[str, int] = defaultdict(lambda: len(number))
    growing = _Growing()
    for block in _shown(texts):
        split = [text.split() for text in block]
        lengths = np.fromiter(map(len, split), dtype=np.int64, count=len(split))
        growing.add(
            np.fromiter((number[word] for words in split for word in words), dtype=np.int32, count=lengths.sum()),
            lengths,
        )
    tokens, names = growing.tokens([]), sorted(number)
    rank = np.empty(len(names), dtype=np.int32)
    rank[[number[name] for name in names]] = np.arange(len(names))
    np.take(
        rank, tokens.flat, out=tokens.flat, mode="clip"
    )  # in place: clip takes no buffer, and no id is out of range
    return TokenIds(tokens.flat, tokens.offsets, names)
