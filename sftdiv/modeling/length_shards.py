"""Computes a value for each of many sequences with a model, in shards that survive a killed run.

Sequences are sorted by length, longest first, so that batches hold little padding, memory runs out at once or never,
and the estimated remaining time is not too low. Each shard of the sorted sequences is a file with a digest, renamed
into place when it is complete; complete shards are not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.storage.file_digests import is_whole, place_sealed
from sftdiv.storage.progress_bar import progress_bar

SHARD_TOKENS = 131_072  # a few seconds on a GPU, minutes on two cores

Rows = NDArray[np.int64]


def in_shards(
    lengths: NDArray[np.int64], compute: Callable[[Rows], NDArray[np.floating]], partial: Path, *, label: str
) -> NDArray[np.floating]:
    """The value of every sequence, in the order of ``lengths``.

    Args:
        lengths: Number of tokens of each sequence, shape (sequences,); at least one sequence.
        compute: Values of some sequences, shape (sequences, ...), given their positions, longest first.
        partial: Folder of complete shards: empty, or from an interrupted call with the same sequences.
        label: Name of the computed value, for the progress bar and the names of the files.
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.flatnonzero(np.diff(np.cumsum(lengths[order]) // SHARD_TOKENS)) + 1
    shards = np.split(order, ends)
    values: NDArray[np.floating] | None = None
    with progress_bar(label, int(lengths.sum()), unit="tokens") as advance:
        for number, rows in enumerate(shards):
            path = partial / f"{label.replace(' ', '-')}-{number:06d}.npy"
            is_done = is_whole(path)
            if not is_done:
                save_shard(path, compute(rows))
            shard = np.load(path, allow_pickle=False)
            if values is None:
                values = np.empty((len(order), *shard.shape[1:]), dtype=shard.dtype)
            values[rows] = shard
            advance(int(lengths[rows].sum()), earlier=is_done)
    assert values is not None  # there is a shard
    return values


def batches(lengths: NDArray[np.int64], *, tokens: int) -> Iterator[slice]:
    """Slices of consecutive sequences whose padded size is at most ``tokens``; a longer sequence is alone.

    Args:
        lengths: Number of tokens of each sequence, in descending order, shape (sequences,).
        tokens: Maximum number of padded tokens of a batch.
    """
    start = 0
    while start < len(lengths):
        stop = start + max(1, tokens // max(int(lengths[start]), 1))
        yield slice(start, min(stop, len(lengths)))
        start = stop


def save_shard(path: Path, values: NDArray[np.floating]) -> None:
    """Save a shard, renamed into place when it is complete."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as stream:
        np.save(stream, values)
    place_sealed(temporary, path)
