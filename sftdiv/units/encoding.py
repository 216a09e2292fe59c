"""Token ids of texts, by any tokenizer: a folder in the hub's format, a GGUF file, a hub id, ``words`` or ``lexical``.

`encode` leaves special tokens out, even where the texts spell them out. A folder with a
``tokenizer.json`` is read by the Rust library alone (all cores, no 6 s import of transformers), ``words`` and
``lexical`` are cut by one process a shard; everything else goes through ``AutoTokenizer``. Shards of texts are
tokenized independently. Their ids are appended, in the order of the texts, to one growing array of four bytes per id,
so that 180 million tokens take 0.7 GiB during and after tokenization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as bound
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.protocols import ShardExecutor
from sftdiv.records import ModelRef, TokenIds
from sftdiv.storage.cache import MANIFEST
from sftdiv.storage.files import folder_or_temporary
from sftdiv.storage.hashing import content_hash, file_digest
from sftdiv.storage.progress_bar import progress_bar
from sftdiv.text.column_texts import mapped
from sftdiv.text.words import split_words
from sftdiv.units.encoders import Encoder, encoder_of
from sftdiv.units.lexical import LEXICAL, number_lexical
from sftdiv.units.numbering import (
    GrowingTokenIds,
    NumberedBlock,
    Numbering,
    load_block,
    number_by,
    save_block,
)

WORDS = "words"
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}
BLOCK, SHARD = 2_000, 20_000  # texts
RULES: Mapping[str, Callable[[Sequence[str]], NumberedBlock]] = {
    WORDS: bound(number_by, split_words),
    LEXICAL: number_lexical,
}


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


def encode(
    texts: Sequence[str],
    name: str,
    revision: str | None = None,
    *,
    compute: ShardExecutor = LOCAL,
    partial: Path | None = None,
) -> TokenIds:
    """Tokenize texts.

    Args:
        texts: Any number of texts.
        name: ``words`` for what stands between white space (characters in scripts without it), ``lexical`` for
            words and signs by a fixed rule, a tokenizer folder, a GGUF file, or a hub id.
        revision: Hub revision (branch, tag or commit).
        compute: Tokenizes the shards of more than `SHARD` texts.
        partial: Folder of the shards, which may hold those of a killed call with the same arguments; None for a
            temporary one.

    Raises:
        SftdivError: If the tokenizer cannot be loaded.
    """
    if name not in RULES:
        growing = GrowingTokenIds()
        for block in _tokenized(texts, name, revision, compute, partial):
            growing.append(block.flat, block.lengths)
        return growing.token_ids(encoder_of(name, revision).names)
    numbering = Numbering()
    for block in _tokenized(texts, name, revision, compute, partial):
        numbering.add(block)
    tokens = numbering.token_ids()
    return _alphabetical(tokens) if name == WORDS else tokens


@dataclass(frozen=True)
class TokenizeStep:
    """Tokenizes a shard of texts; see `sftdiv.protocols.ShardStep`.

    Attributes:
        texts: All texts.
        tokenizer: See `encode`.
        revision: Hub revision.
        size: Texts of a shard; the last may have fewer.
    """

    name: ClassVar[str] = "tokenizing"

    texts: Sequence[str]
    tokenizer: str
    revision: str | None
    size: int

    @property
    def uses_all_cores(self) -> bool:
        """True for the Rust library."""
        return self.tokenizer not in RULES

    def write(self, shard: int, path: Path) -> None:
        """Write the tokens of a shard."""
        save_block(self.tokens(shard), path)

    def tokens(self, shard: int) -> NumberedBlock:
        """The tokens of a shard; those of a tokenizer with a vocabulary keep its numbers and have no names here."""
        blocks = _blocks(self.texts[shard * self.size : (shard + 1) * self.size])
        if self.tokenizer in RULES:
            return RULES[self.tokenizer](list(chain.from_iterable(blocks)))
        encoder, growing = encoder_of(self.tokenizer, self.revision), GrowingTokenIds()
        for block in blocks:
            growing.append(*_ordinary_ids(encoder, block))
        tokens = growing.token_ids([])
        return NumberedBlock(tokens.flat, tokens.lengths(), [])


def _tokenized(
    texts: Sequence[str], name: str, revision: str | None, compute: ShardExecutor, partial: Path | None
) -> Iterator[NumberedBlock]:
    """The tokens of each shard, in the order of the texts."""
    shards = -(-len(texts) // SHARD)
    if shards <= 1:
        yield TokenizeStep(texts, name, revision, SHARD).tokens(0)
        return
    with folder_or_temporary(partial) as folder:
        step = TokenizeStep(mapped(texts, folder), name, revision, SHARD)
        for path in compute.run(step, shards, folder / f"tokens-{SHARD}"):
            yield load_block(path)


def _ordinary_ids(encoder: Encoder, block: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Ids of texts without the special ones, and the number of ids of each text."""
    ids = encoder.encode(block)
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=lengths.sum())
    if (special := encoder.is_special[flat]).any():
        text = np.repeat(np.arange(len(ids)), lengths)
        lengths -= np.bincount(text, weights=special, minlength=len(ids)).astype(np.int64)
        flat = flat[~special]
    return flat, lengths


def _blocks(texts: Sequence[str]) -> Iterable[list[str]]:
    """The texts in blocks, with a progress bar."""
    with progress_bar("tokenizing", len(texts), unit="texts") as advance:
        for start in range(0, len(texts), BLOCK):
            block = list(texts[start : start + BLOCK])
            yield block
            advance(len(block))


def _alphabetical(tokens: TokenIds) -> TokenIds:
    """The same tokens with alphabetical ids, whatever the order of the texts.

    Words are numbered as they occur and renumbered at the end, so that each word, which takes ten
    times the memory of an id, is held once.
    """
    order = sorted(range(len(tokens.names)), key=tokens.names.__getitem__)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    np.take(rank, tokens.flat, out=tokens.flat, mode="clip")  # in place: "clip" needs no buffer; all ids are in range
    return TokenIds(tokens.flat, tokens.offsets, [tokens.names[number] for number in order])
