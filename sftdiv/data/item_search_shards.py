"""The search of a shard of examples for the items of benchmarks: the pairs, and the examples that touch an item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SIDES
from sftdiv.storage.progress_bar import progress_bar

if TYPE_CHECKING:
    import pyarrow as pa

    from sftdiv.data.item_index import ItemIndex

SEARCHED = (*SIDES, "source", "id")  # columns of the examples that a search reads
_BATCH = 1000  # examples


class ShardPairs(NamedTuple):
    """What the search of a shard found.

    Attributes:
        rows: Number of examples of the shard.
        examples: Row in the shard of the example of each pair, ascending, shape (pairs,).
        items: Item of each pair, shape (pairs,).
        touching: The examples that touch an item, in their order.
    """

    rows: int
    examples: NDArray[np.int64]
    items: NDArray[np.int64]
    touching: pa.RecordBatch


@dataclass(frozen=True)
class SearchStep:
    """Searches a shard; see `sftdiv.protocols.ShardStep`.

    Attributes:
        tables: Tables of a shard by its number, with the columns `SEARCHED`.
        items: Texts of all items.
        ngram: Words per n-gram.
        share: Share of an item's words above which it is touched.
        sides: Sides of the examples that are searched.
    """

    name: ClassVar[str] = "decontamination"
    uses_all_cores: ClassVar[bool] = False

    tables: Callable[[int], Iterable[pa.Table]]
    items: tuple[str, ...]
    ngram: int
    share: float
    sides: Sequence[str]

    def write(self, shard: int, path: Path) -> None:
        """Write the `ShardPairs` of a shard."""
        import pyarrow as pa

        from sftdiv.data.item_index import ItemSearch  # compiled: not imported to build a specification
        from sftdiv.data.overlap_words import OverlapWords

        words, search = OverlapWords(), ItemSearch(_index(self.items, self.ngram, self.share))
        pairs, touching, rows = [np.empty((2, 0), dtype=np.int64)], [], 0
        for batch in self._batches(shard):
            columns = [batch.column(side).to_pylist() for side in self.sides]
            examples, items = search.add([[words(text) for text in texts] for texts in zip(*columns, strict=True)])
            pairs.append(np.stack([examples, items]))
            touching.append(batch.take(pa.array(np.unique(examples) - rows)))
            rows += batch.num_rows
        sink = pa.BufferOutputStream()
        if touching:
            with pa.ipc.new_stream(sink, touching[0].schema) as writer:
                for batch in touching:
                    writer.write_batch(batch)
        content = np.frombuffer(sink.getvalue(), dtype=np.uint8)
        with path.open("wb") as stream:
            np.savez(stream, rows=rows, pairs=np.concatenate(pairs, axis=1), touching=content)

    def _batches(self, shard: int) -> Iterator[pa.RecordBatch]:
        with progress_bar("decontamination", unit="rows") as advance:
            for table in self.tables(shard):
                for batch in table.select(list(SEARCHED)).to_batches(max_chunksize=_BATCH):
                    yield batch
                    advance(batch.num_rows)


def load_pairs(path: Path) -> ShardPairs:
    """Read a file of `SearchStep`."""
    import pyarrow as pa

    with np.load(path, allow_pickle=False) as arrays:
        content = arrays["touching"].tobytes()
        table = pa.ipc.open_stream(content).read_all() if content else pa.table({name: [] for name in SEARCHED})
        batches = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
        examples, items = arrays["pairs"]
        return ShardPairs(int(arrays["rows"]), examples, items, batches[0])


@lru_cache(maxsize=1)  # by each process: the shards of a corpus are searched for the same items
def _index(items: tuple[str, ...], ngram: int, share: float) -> ItemIndex:
    from sftdiv.data.item_index import index_items
    from sftdiv.data.overlap_words import OverlapWords

    words = OverlapWords()
    return index_items([words(text) for text in items], size=ngram, share=share)
