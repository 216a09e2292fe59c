"""Cached artifacts of one corpus: token ids, embeddings, units; its examples are in `pipeline.corpus_examples`.

Each is built through the cache and at most once per process. A key holds exactly what the artifact depends
on, so that a change of the learning rate does not trigger tokenization.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sftdiv
from sftdiv.compute.local_shards import LOCAL
from sftdiv.config.spec import CorpusSpec, StrategySpec
from sftdiv.pipeline.corpus_examples import CorpusExamples
from sftdiv.pipeline.serialize import (
    load_embeddings,
    load_token_ids,
    load_units,
    save_embeddings,
    save_token_ids,
    save_units,
)
from sftdiv.protocols import Benchmark, CorpusSide, Embedder, ShardExecutor, embed_by
from sftdiv.records import Embeddings, ModelRef, SftdivError, Side, TokenIds, Units
from sftdiv.storage.cache import Store
from sftdiv.storage.hashing import content_hash, identity_of, libraries_of, library_versions
from sftdiv.units.encoding import encode, tokenizer_identity
from sftdiv.units.packages import check_packages

MIN_SHARE = 4  # a subset below this fraction of the corpus, 1 / MIN_SHARE, is embedded alone


def versions(*components: Any) -> dict[str, str]:
    """Versions of this package and of the libraries that the components' results depend on.

    Raises:
        SftdivError: A library is not installed.
    """
    for component in components:
        check_packages(component)
    libraries = set().union(*(libraries_of(component) for component in components))
    return {"sftdiv": sftdiv.__version__} | library_versions(libraries)


class CorpusArtifacts(CorpusExamples):
    """Artifacts of one corpus.

    Attributes:
        embedder: Embedder of its texts, if any.
        whole_sides: Sides of which every text is embedded, because units are made from all.
    """

    def __init__(
        self,
        spec: CorpusSpec,
        store: Store,
        *,
        embedder: Embedder | None,
        model_tokenizer: Callable[[], ModelRef],
        evaluated: Callable[[], Sequence[Benchmark]] = tuple,
        compute: ShardExecutor = LOCAL,
    ) -> None:
        """Reads nothing yet.

        Args:
            spec: Specification of the corpus.
            store: Artifact cache.
            embedder: Embedder of its texts, if any.
            model_tokenizer: Returns the tokenizer for strategies that name none.
            evaluated: Returns the benchmarks of the evaluators, which the corpus is searched for beside its own.
            compute: Does the work on single rows.
        """
        super().__init__(spec, store, evaluated, compute=compute)
        self.embedder = embedder
        self._model_tokenizer = model_tokenizer
        self._token_ids: dict[tuple[Side, ModelRef], TokenIds] = {}
        self._embeddings: dict[Side, Embeddings] = {}
        self.whole_sides: set[Side] = set()

    def token_ids(self, side: Side, tokenizer: ModelRef) -> TokenIds:
        """Token ids of one side of every example."""
        if (side, tokenizer) not in self._token_ids:

            def build(folder: Path, partial: Path) -> None:
                texts, name = self.texts(side), tokenizer.path
                tokens = encode(texts, name, tokenizer.revision, compute=self.compute, partial=partial)
                save_token_ids(tokens, folder)

            folder = self.keep("token_ids", self.token_ids_key(side, tokenizer), build)
            self._token_ids[side, tokenizer] = load_token_ids(folder)
        return self._token_ids[side, tokenizer]

    def token_ids_key(self, side: Side, tokenizer: ModelRef) -> dict[str, Any]:
        """Cache key of `token_ids`."""
        tokenized_with = tokenizer_identity(tokenizer.path, tokenizer.revision)
        return self._key(side, tokenizer=tokenized_with, versions=versions() | library_versions(["tokenizers"]))

    @property
    def embeds(self) -> bool:
        """Whether there is an embedder."""
        return self.embedder is not None

    def embeddings(self, side: Side) -> NDArray[np.float32]:
        """Embeddings of one side of every example, memory-mapped, shape (examples, dimensions)."""
        return self.embedding_record(side).vectors

    def embedding_record(self, side: Side) -> Embeddings:
        """Embeddings of one side with their metadata.

        Raises:
            SftdivError: With ``embedder=none``.
        """
        embedder = self._require_embedder()
        if side not in self._embeddings:

            def build(folder: Path, partial: Path) -> None:
                save_embeddings(embed_by(self.compute, embedder, self.texts(side), partial), folder)

            self._embeddings[side] = load_embeddings(self.keep("embeddings", self.embeddings_key(side), build))
        return self._embeddings[side]

    def embeddings_key(self, side: Side) -> dict[str, Any]:
        """Cache key of `embeddings`."""
        embedder = self._require_embedder()
        return self._key(side, embedder=identity_of(embedder), versions=versions(embedder))

    def embeddings_of(self, side: Side, rows: NDArray[np.int64]) -> Embeddings:
        """Embeddings of one side of some examples; the other texts are not embedded unless they must be.

        They must be where units are made from them, where the embedder learns from its texts, and where the examples
        are more than a quarter of the corpus, so that several subsets share one pass.
        """
        embedder = self._require_embedder()
        learns = getattr(embedder, "learns", False)
        if learns or side in self.whole_sides or side in self._embeddings or MIN_SHARE * len(rows) > len(self.corpus):
            record = self.embedding_record(side)
            return Embeddings(record.vectors[rows], record.made_by)
        texts = self.texts(side)
        distinct, position = np.unique(np.array([texts[row] for row in rows], dtype=object), return_inverse=True)
        key = {
            "texts": content_hash(distinct.tolist()),
            "embedder": identity_of(embedder),
            "versions": versions(embedder),
        }

        def build(folder: Path, partial: Path) -> None:
            save_embeddings(embed_by(self.compute, embedder, distinct.tolist(), partial), folder)

        record = load_embeddings(self.keep("subset_embeddings", key, build))
        return Embeddings(record.vectors[position], record.made_by)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts that are not of the corpus, such as names of tags, shape (texts, dimensions).

        Raises:
            SftdivError: With ``embedder=none``.
        """
        embedder = self._require_embedder()
        with tempfile.TemporaryDirectory(prefix="sftdiv-embed-") as partial:
            return np.array(embedder.embed(texts, Path(partial)).vectors)

    def keep_texts(self, kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
        """Cache of folders that depend on the texts of the corpus and the key; see `Keep`."""
        return self.keep(kind, {"corpus": self.corpus.fingerprint, **key}, build)

    def _require_embedder(self) -> Embedder:
        if self.embedder is None:
            raise SftdivError(
                "embeddings are needed, but embedder=none. Known: minilm, lsa (no model), or embedder.path=MODEL"
            )
        return self.embedder

    def units(self, strategy: StrategySpec) -> Units:
        """Units of diversity of every example, on the strategy's side."""
        key = self.units_key(strategy)
        return load_units(self.store.folder("units", key, lambda folder: save_units(self._extract(strategy), folder)))

    def units_key(self, strategy: StrategySpec) -> dict[str, Any]:
        """Cache key of `units`: the strategy's identity and the key of the extractor's input."""
        inputs: dict[str, Any] = {}
        if strategy.needs == "token_ids":
            inputs = self.token_ids_key(strategy.side, self._tokenizer(strategy))
        elif strategy.needs == "embeddings":
            inputs = self.embeddings_key(strategy.side)
        identity = strategy.identity()
        for name in ("name", "side", "permuted"):  # strategies that extract the same units share them
            identity.pop(name, None)
        return self._key(strategy.side, **identity, inputs=inputs, versions=versions(strategy.extractor))

    def _extract(self, strategy: StrategySpec) -> Units:
        side = strategy.side
        return strategy.extractor.extract(
            CorpusSide(
                texts=self.texts(side),
                token_ids=lambda: self.token_ids(side, self._tokenizer(strategy)),
                embeddings=lambda: self.embeddings(side),
                column=self.corpus.column,
                keep=lambda kind, key, build: self.keep(kind, self._key(side, **key), build),
                compute=self.compute,
            )
        )

    def _tokenizer(self, strategy: StrategySpec) -> ModelRef:
        return strategy.tokenizer or self._model_tokenizer()

    def _key(self, side: Side, **parts: Any) -> dict[str, Any]:
        return {"corpus": self.corpus.fingerprint, **parts, "side": side}
