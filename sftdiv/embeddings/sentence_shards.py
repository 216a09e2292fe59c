"""Shards of `sentence`: some texts of about one length each, embedded wherever an executor puts them.

A process loads the model once, at its first shard. Each shard is a float32 array in numpy's format, with a digest in a
file beside it: a shard that a killed run left is used only while it is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.shard_files import shard_path
from sftdiv.storage.file_digests import is_whole, write_digest
from sftdiv.storage.files import writing
from sftdiv.text.column_texts import MappedTexts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from sftdiv.embeddings.sentence import SentenceEmbedder

BATCH_TOKENS = {"cpu": 4_096, "cuda": 131_072}  # padded tokens per batch; on two cores 8,192 was a quarter slower


class SentenceStep:
    """Embeds a shard of texts; see `sftdiv.protocols.ShardStep`.

    Args:
        embedder: The settings of the model.
        texts: All texts.
        plan: File of `save_plan`.
        size: Texts of a shard; the last may have fewer.
        model: The model, if it is loaded; it is not pickled.
    """

    name: ClassVar[str] = "embedding"
    uses_all_cores: ClassVar[bool] = True

    def __init__(
        self,
        embedder: SentenceEmbedder,
        texts: MappedTexts,
        plan: Path,
        size: int,
        model: SentenceTransformer | None = None,
    ) -> None:
        self._embedder, self._texts, self._plan, self._size = embedder, texts, plan, size
        self._model = model
        self._pool: Any = None

    def write(self, shard: int, path: Path) -> None:
        """Write the vectors of a shard, shape (texts, dimensions), and their digest."""
        block = slice(shard * self._size, (shard + 1) * self._size)
        rows, tokens = np.load(self._plan, mmap_mode="r")[:, block]
        vectors = self._encode([self._texts[row] for row in rows.tolist()], int(tokens.max()))
        with path.open("wb") as stream:
            np.save(stream, vectors)
        write_digest(path, shard_path(path.parent, shard))

    def close(self) -> None:
        """End the processes of several devices."""
        if self._pool is not None and self._model is not None:
            self._model.stop_multi_process_pool(self._pool)
        self._model = self._pool = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None, "_pool": None}

    def _encode(self, texts: list[str], longest: int) -> NDArray[np.float32]:
        """Vectors of texts with at most ``longest`` tokens, shape (texts, dimensions)."""
        devices = self._embedder.used_devices()
        if self._model is None:
            self._model = self._embedder.load(devices[0])
        if self._pool is None and len(devices) > 1:
            self._pool = self._model.start_multi_process_pool(devices)
        budget = self._embedder.batch_tokens or BATCH_TOKENS["cpu" if self._model.device.type == "cpu" else "cuda"]
        settings: dict[str, Any] = {
            "batch_size": int(np.clip(budget // max(longest, 1), 1, len(texts))),
            "prompt": self._embedder.prompt,
            "pool": self._pool,
            "normalize_embeddings": True,
            "show_progress_bar": False,
        }
        return np.asarray(self._model.encode(texts, **settings), dtype=np.float32)


def save_plan(rows: NDArray[np.int64], tokens: NDArray[np.int64], path: Path) -> None:
    """Save the order in which texts are embedded.

    Args:
        rows: Index of each text, shape (texts,).
        tokens: Number of tokens of each that are read, descending, shape (texts,).
        path: Destination.
    """
    with writing(path, durable=False) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.stack([rows, tokens]))


def remove_damaged(folder: Path) -> None:
    """Remove the shards of a killed run that are not as they were written."""
    for path in folder.glob("*.shard"):
        if not is_whole(path):
            path.unlink()
