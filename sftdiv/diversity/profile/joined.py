"""Both sides of every example as one text: token ids and embeddings; and the first tokens of texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds


def joined_tokens(instruction: TokenIds, response: TokenIds) -> TokenIds:
    """Token ids of both sides, text by text; a type that both sides have is one type.

    Args:
        instruction: Token ids of the instructions.
        response: Token ids of as many responses, from the same tokenizer.
    """
    names, new_ids = list(instruction.names), None
    if list(response.names) != names:
        ids = {name: position for position, name in enumerate(names)}
        new_ids = np.array([ids.setdefault(name, len(ids)) for name in response.names], dtype=np.int32)
        names = list(ids)
    lengths = np.stack([instruction.lengths(), response.lengths()], axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths.sum(axis=1))]).astype(np.int64)
    is_response = np.repeat(np.tile([False, True], len(lengths)), lengths.ravel())
    flat = np.empty(int(offsets[-1]), dtype=np.int32)
    flat[~is_response] = instruction.flat
    flat[is_response] = response.flat if new_ids is None else new_ids[response.flat]
    return TokenIds(flat, offsets, names)


def beginnings(token_ids: TokenIds, most: int) -> TokenIds:
    """The first ``most`` tokens of each text."""
    lengths = np.minimum(token_ids.lengths(), most)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], lengths)
    return TokenIds(token_ids.flat[np.repeat(token_ids.offsets[:-1], lengths) + within], offsets, token_ids.names)


def joined_vectors(instruction: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors whose cosine is the mean of the two sides' cosines, shape (texts, dimensions of both)."""
    return np.concatenate([instruction, response], axis=1) * np.float32(0.5**0.5)
