"""Token ids put together and cut: both sides of every example as one text, and the beginnings of texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds


def joined_tokens(instruction: TokenIds, response: TokenIds) -> TokenIds:
    """The token ids of both sides, text by text; a type that both sides have is one type.

    Args:
        instruction: Of one tokenizer.
        response: Of the same tokenizer and as many texts.
    """
    names, number = list(instruction.names), None
    if list(response.names) != names:
        known = {name: position for position, name in enumerate(names)}
        number = np.array([known.setdefault(name, len(known)) for name in response.names], dtype=np.int32)
        names = list(known)
    lengths = np.stack([instruction.lengths(), response.lengths()], axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths.sum(axis=1))]).astype(np.int64)
    of_response = np.repeat(np.tile([False, True], len(lengths)), lengths.ravel())
    flat = np.empty(int(offsets[-1]), dtype=np.int32)
    flat[~of_response] = instruction.flat
    flat[of_response] = response.flat if number is None else number[response.flat]
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
