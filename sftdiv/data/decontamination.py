"""Decontamination: which examples of a corpus share text with the items of benchmarks, and which items they touch.

Tulu 3's rule (Lambert et al. 2024, arXiv 2411.15124, section 3.2): an item is touched by an example if more than
half of its words stand in word 8-grams that the example has too. Items shorter than one n-gram are touched by an
example whose instruction or response consists of the same words. Letter case, punctuation, spacing and Unicode form
do not count (`overlap_words`).

Shared text is found; shared meaning is not. A paraphrase, a translation, or an item with changed numbers in every
eighth word stays unnoticed, so a corpus without findings may still be contaminated. The other way round, an item
that is mostly a template (``Which of the following statements is true?``) is touched by any example with that text.

Own code rather than a package: AI2's ``decon`` (PyPI ``decontaminate``) works on folders of JSON lines, samples n-grams
of documents and returns a score per document, not the items that each example touches, which the leak of a *subset*
needs; datatrove's ``NGramsDecontFilter`` drops a document at its first shared 12-gram; open-instruct's script, the
origin of the rule, needs an Elasticsearch server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.data.contamination_tally import Tally
from sftdiv.data.item_search_shards import SearchStep, load_pairs
from sftdiv.data.row_shards import in_shards
from sftdiv.protocols import Benchmark, ShardExecutor
from sftdiv.records import SIDES, SftdivError, Side
from sftdiv.storage.files import folder_or_temporary, write_json
from sftdiv.storage.hashing import content_hash, settings_identity
from sftdiv.storage.validate import check_one_of, check_range

if TYPE_CHECKING:
    import pyarrow as pa

_PAIRS, _RECORD = "pairs.npz", "contamination.json"


@dataclass(frozen=True)
class Contamination:
    """The items that each example touches.

    Attributes:
        names: Benchmarks.
        starts: First item of each benchmark among all items, then their total, shape (benchmarks + 1,).
        examples: Rows of the examples of all pairs, ascending, shape (pairs,).
        items: Item of each pair, shape (pairs,).
        record: By benchmark: counts of items, touched items and examples (also by source), and a few of the pairs.
    """

    names: Sequence[str]
    starts: NDArray[np.int64]
    examples: NDArray[np.int64]
    items: NDArray[np.int64]
    record: Mapping[str, Any]

    def touching(self, count: int) -> NDArray[np.bool_]:
        """Mask of the examples that touch any item, shape (count,), of ``count`` examples."""
        mask = np.zeros(count, dtype=bool)
        mask[self.examples] = True
        return mask

    def touched(self, rows: NDArray[np.int64] | None = None) -> dict[str, NDArray[np.int64]]:
        """Positions of the items of each benchmark that examples touch, ascending.

        Args:
            rows: The examples; None for all.
        """
        pairs = slice(None) if rows is None else np.isin(self.examples, rows)
        items = np.unique(self.items[pairs])
        bounds = np.searchsorted(items, self.starts)
        return {
            name: items[bounds[number] : bounds[number + 1]] - self.starts[number]
            for number, name in enumerate(self.names)
        }

    def item_counts(self) -> dict[str, int]:
        """Number of items of each benchmark."""
        return dict(zip(self.names, np.diff(self.starts).tolist(), strict=True))

    def save(self, folder: Path) -> None:
        """Write ``pairs.npz`` and ``contamination.json``."""
        np.savez_compressed(folder / _PAIRS, starts=self.starts, examples=self.examples, items=self.items)
        write_json(folder / _RECORD, {"names": list(self.names), "record": dict(self.record)})

    @classmethod
    def load(cls, folder: Path) -> Contamination:
        """Read what `save` wrote."""
        about = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        with np.load(folder / _PAIRS, allow_pickle=False) as arrays:
            return cls(about["names"], arrays["starts"], arrays["examples"], arrays["items"], about["record"])


@dataclass(frozen=True, kw_only=True)
class ContaminationFinder:
    """Definition of contamination.

    Attributes:
        ngram: Words per n-gram.
        share: Share of an item's words above which it is touched, in [0, 1).
        sides: Sides of the examples that are searched; their n-grams count together.
    """

    ngram: int
    share: float
    sides: Sequence[Side]

    def __post_init__(self) -> None:
        check_range("corpus.contamination.ngram", self.ngram, least=1, whole=True)
        check_range("corpus.contamination.share", self.share, least=0, most=0.999)
        for side in self.sides:
            check_one_of("corpus.contamination.sides", side, SIDES)
        if not self.sides or len(set(self.sides)) < len(self.sides):
            raise SftdivError(
                f"corpus.contamination.sides={list(self.sides)} must hold instruction, response or both, each once"
            )

    def identity(self) -> dict[str, Any]:
        """All settings, whatever the order of the sides."""
        return {"kind": "ngrams", **settings_identity(self), "sides": sorted(set(self.sides))}

    def find(
        self,
        tables: Iterable[pa.Table],
        benchmarks: Sequence[Benchmark],
        *,
        partial: Path | None = None,
        compute: ShardExecutor = LOCAL,
    ) -> Contamination:
        """Search examples for the items of benchmarks.

        Args:
            tables: The examples in their order, with the columns `SEARCHED`: tables, or shards of them.
            benchmarks: Items by benchmark.
            partial: Folder of what the shards found; may hold that of a killed call with the same arguments. None for a
                temporary one.
            compute: Searches the shards.
        """
        merged = merge_benchmarks(benchmarks)
        texts = [text for benchmark in merged for text in benchmark.texts]
        starts = np.concatenate([[0], np.cumsum([len(benchmark.texts) for benchmark in merged])]).astype(np.int64)
        tally = Tally([benchmark.name for benchmark in merged], starts, texts)
        pairs, rows = [np.empty((2, 0), dtype=np.int64)], 0
        with folder_or_temporary(partial) as folder:
            tables_of, shards = in_shards(tables)
            step = SearchStep(tables_of, tuple(texts), self.ngram, self.share, tuple(self.sides))
            executor = LOCAL if shards is None else compute
            for found in map(load_pairs, executor.run(step, shards or 1, folder / f"contamination-{shards}-shards")):
                tally.add(found.touching, np.unique(found.examples, return_inverse=True)[1], found.items)
                pairs.append(np.stack([found.examples + rows, found.items]))
                rows += found.rows
        examples, items = np.concatenate(pairs, axis=1)
        return Contamination(tally.names, starts, examples, items, tally.record(items))


@dataclass(frozen=True)
class Decontamination:
    """A finder with the benchmarks that it searches for."""

    finder: ContaminationFinder
    benchmarks: Sequence[Benchmark]

    def identity(self) -> dict[str, Any]:
        """The finder's settings and a digest of the items."""
        return {"finder": self.finder.identity(), "items": benchmarks_digest(self.benchmarks)}

    def find(
        self, tables: Iterable[pa.Table], *, partial: Path | None = None, compute: ShardExecutor = LOCAL
    ) -> Contamination:
        """See `ContaminationFinder.find`."""
        return self.finder.find(tables, self.benchmarks, partial=partial, compute=compute)


def merge_benchmarks(benchmarks: Sequence[Benchmark]) -> list[Benchmark]:
    """Benchmarks of distinct names, in the order of the names' first appearance.

    Raises:
        SftdivError: Two benchmarks share a name and not their items.
    """
    merged: dict[str, Benchmark] = {}
    for benchmark in benchmarks:
        shorter, longer = sorted([merged.get(benchmark.name, benchmark), benchmark], key=lambda each: len(each.texts))
        if list(longer.texts[: len(shorter.texts)]) != list(shorter.texts):  # else equal up to a limit
            raise SftdivError(
                f"two benchmarks with different items are named {benchmark.name}: rename a file, or drop one"
            )
        merged[benchmark.name] = longer
    return list(merged.values())


def benchmarks_digest(benchmarks: Sequence[Benchmark]) -> str:
    """Digest of the items, which keys what is derived from them."""
    return content_hash([[benchmark.name, *benchmark.texts] for benchmark in benchmarks])
