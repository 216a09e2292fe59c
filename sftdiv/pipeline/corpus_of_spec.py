"""The corpus that a specification describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sftdiv.compute.local_shards import LOCAL
from sftdiv.config.spec import CorpusSpec
from sftdiv.data.build_corpus import load_corpus
from sftdiv.data.decontamination import Decontamination
from sftdiv.protocols import Benchmark, ShardExecutor
from sftdiv.records import Corpus
from sftdiv.storage.cache import Store


def load_corpus_of(
    spec: CorpusSpec,
    store: Store,
    benchmarks: Callable[[], Sequence[Benchmark]] | None = None,
    *,
    compute: ShardExecutor = LOCAL,
) -> Corpus:
    """The corpus of a specification, cached.

    Args:
        spec: The specification.
        store: Artifact cache.
        benchmarks: Returns all items that are searched for; None for those of the corpus's own settings.
        compute: Does the work on single rows.
    """
    search = spec.decontamination
    return load_corpus(
        spec.reader,
        store,
        heldout=spec.heldout,
        seed=spec.seed,
        on_bad_row=spec.on_bad_row,
        dedup=spec.dedup,
        near=spec.near,
        drop=Decontamination(search.finder, (benchmarks or search.load)()) if search.drops else None,
        split=spec.split,
        ood=spec.ood,
        compute=compute,
    )
