"""Models that treat every text by itself, so that an executor may compute their shards on other processes and machines.

An `Embedder` or `Tagger` that has the method is used through it; one that learns from all texts, or is fast, has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from sftdiv.protocols.components import Embedder, Tagger
from sftdiv.protocols.shard_work import ShardExecutor
from sftdiv.records import Embeddings, RawTags


@runtime_checkable
class ShardedEmbedder(Protocol):
    """An embedder whose shards are computed by an executor."""

    def embed_sharded(self, texts: Sequence[str], partial: Path, *, compute: ShardExecutor) -> Embeddings:
        """See `Embedder.embed`; the vectors do not depend on the executor.

        Args:
            texts: Texts to embed.
            partial: As for `Embedder.embed`, on a file system that all machines share.
            compute: Computes the shards.
        """
        ...


@runtime_checkable
class ShardedTagger(Protocol):
    """A tagger whose shards are computed by an executor."""

    def tag_sharded(self, texts: Sequence[str], partial: Path, *, compute: ShardExecutor) -> RawTags:
        """See `Tagger.tag`.

        Args:
            texts: Distinct texts.
            partial: As for `Tagger.tag`, on a file system that all machines share.
            compute: Computes the shards.
        """
        ...


def embed_by(compute: ShardExecutor, embedder: Embedder, texts: Sequence[str], partial: Path) -> Embeddings:
    """Embed texts, by the executor if the embedder has shards."""
    if isinstance(embedder, ShardedEmbedder):
        return embedder.embed_sharded(texts, partial, compute=compute)
    return embedder.embed(texts, partial)


def tag_by(compute: ShardExecutor, tagger: Tagger, texts: Sequence[str], partial: Path) -> RawTags:
    """Tag distinct texts, by the executor if the tagger has shards."""
    if isinstance(tagger, ShardedTagger):
        return tagger.tag_sharded(texts, partial, compute=compute)
    return tagger.tag(texts, partial)
