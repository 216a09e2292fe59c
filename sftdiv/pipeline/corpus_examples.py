"""Cached examples of one corpus: the corpus, its contamination, and the examples that are scored.

`pipeline.artifacts` adds what is computed from the texts: token ids, embeddings, units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.config.spec import CorpusSpec
from sftdiv.data.build_corpus import dropped_examples
from sftdiv.data.decontamination import Contamination, Decontamination, merge_benchmarks
from sftdiv.data.heldout_split import out_of_distribution
from sftdiv.data.item_search_shards import SEARCHED
from sftdiv.data.row_shards import ROWS, TableShards
from sftdiv.pipeline.corpus_of_spec import load_corpus_of
from sftdiv.protocols import Benchmark, ShardExecutor
from sftdiv.records import Corpus, Heldout, Side
from sftdiv.storage.cache import Store
from sftdiv.text.column_texts import MappedTexts
from sftdiv.text.string_columns import is_one_of

if TYPE_CHECKING:
    import pyarrow as pa


class CorpusExamples:
    """Examples of one corpus.

    Attributes:
        spec: Specification of the corpus.
        store: Artifact cache.
        compute: Does the work on single rows.
    """

    def __init__(
        self,
        spec: CorpusSpec,
        store: Store,
        evaluated: Callable[[], Sequence[Benchmark]] = tuple,
        *,
        compute: ShardExecutor = LOCAL,
    ) -> None:
        """Reads nothing yet.

        Args:
            spec: Specification of the corpus.
            store: Artifact cache.
            evaluated: Returns the benchmarks of the evaluators, which the corpus is searched for beside its own.
            compute: Does the work on single rows.
        """
        self.spec = spec
        self.store = store
        self.compute = compute
        self._evaluated = evaluated

    @cached_property
    def corpus(self) -> Corpus:
        """Distinct examples in canonical order."""
        return load_corpus_of(self.spec, self.store, lambda: self.benchmarks, compute=self.compute)

    @cached_property
    def benchmarks(self) -> list[Benchmark]:
        """All benchmarks whose items the corpus is searched for: those of the evaluators, then its own."""
        return merge_benchmarks([*self._evaluated(), *self.spec.decontamination.load()])

    @cached_property
    def contamination(self) -> Contamination | None:
        """The items that each example touches; those dropped from the corpus if they are. None if not searched."""
        search = self.spec.decontamination
        if not search.is_searched:
            return None
        if search.drops:
            return dropped_examples(self.corpus)
        decontamination, rows = Decontamination(search.finder, self.benchmarks), TableShards(self._file, SEARCHED, ROWS)
        key = {"corpus": self.corpus.fingerprint, "search": decontamination.identity()}

        def build(folder: Path, partial: Path) -> None:
            decontamination.find(rows, partial=partial, compute=self.compute).save(folder)

        return Contamination.load(self.keep("contamination", key, build))

    @property
    def _file(self) -> Path:
        """The corpus as an Arrow stream."""
        return Path(self.corpus.table.cache_files[0]["filename"])

    def texts(self, side: Side) -> Sequence[str]:
        """One side of every example, mapped from disk."""
        return MappedTexts(self._file, side)

    def strings(self, name: str) -> pa.ChunkedArray:
        """A column of strings that every corpus has, such as ``source``, ``group`` or ``id``, mapped from disk."""
        return self.corpus.table.data.column(name)

    def keep(self, kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
        """`Store.folder` for a build that resumes from the partial folder of a killed one; see `Keep`."""
        return self.store.folder(kind, key, lambda folder: build(folder, self.store.partial(kind, key)))

    def heldout(self) -> Heldout:
        """The held-out set."""
        return self._scored(np.flatnonzero(self.untrained["heldout"]))

    def ood(self) -> Heldout:
        """The scored examples of the sources that are never trained on (``corpus.ood``)."""
        spec, groups, sources = self.spec, self.strings("group"), self.strings("source")
        return self._scored(out_of_distribution(groups, sources, spec.ood, size=spec.ood_size, seed=spec.seed))

    def _scored(self, rows: NDArray[np.int64]) -> Heldout:
        table = self.corpus.table.select(rows)
        return Heldout(table["messages"][:], table["source"][:], table["group"][:])

    @cached_property
    def untrained(self) -> dict[str, NDArray[np.bool_]]:
        """Masks of the examples that nothing is trained on, by reason: ``heldout``, and ``ood`` if there is any."""
        masks = {"heldout": self.corpus.table.data.column("heldout").to_numpy()}
        if self.spec.ood:
            masks["ood"] = is_one_of(self.strings("source"), self.spec.ood)
        return masks

    def world_tasks(self) -> Path:
        """Folder of the synthetic corpus's benchmark as lm-eval tasks.

        The task files contain the path of their folder, so they are rewritten when the cache moves.
        """
        reader: Any = self.spec.reader  # the synthetic corpus's reader, as RunSpec checks
        key = {"world": reader.world.facts_identity(), "cache": str(self.store.root)}
        path = self.store.entry_path("world_tasks", key)
        return self.store.folder("world_tasks", key, partial(reader.world.write_tasks, final_folder=path))
