"""Shingles and MinHash signatures of a shard of examples, and the distinct sets of all shards.

The signature of a set depends on the set alone, so that those of one shard hold for the corpus: a set that several
shards have is signed by each of them and kept once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.minhash_bands import band_keys
from sftdiv.data.shingles import BATCH, SetCollector, ShingleSets, shingles_of
from sftdiv.storage.progress_bar import tracked

if TYPE_CHECKING:
    import pyarrow as pa

_ARRAYS = ("flat", "offsets", "of_text")


@dataclass(frozen=True)
class SignatureStep:
    """Signs the texts of one side of a shard; see `sftdiv.protocols.ShardStep`.

    Attributes:
        tables: Tables of a shard by its number.
        side: Column of the texts.
        unit: Unit of the shingles.
        size: Units per shingle.
        bands: Bands of a signature.
        rows: Rows of a band.
        permutations: Length of a signature.
        seed: Seed of the permutations.
    """

    name: ClassVar[str] = "near duplicates"
    uses_all_cores: ClassVar[bool] = False

    tables: Callable[[int], Iterable[pa.Table]]
    side: str
    unit: str
    size: int
    bands: int
    rows: int
    permutations: int
    seed: int

    def write(self, shard: int, path: Path) -> None:
        """Write the distinct sets of a shard, the set of each text, and the keys of the sets."""
        collector = SetCollector(unit=self.unit, size=self.size)
        for block in tracked(self._blocks(shard), "near duplicates: shingles", unit="blocks"):
            collector.add(shingles_of(block, unit=self.unit, size=self.size))
        sets = collector.sets()
        starts = tracked(range(0, len(sets), BATCH), "near duplicates: signatures", unit="blocks")
        settings = {"bands": self.bands, "rows": self.rows, "permutations": self.permutations, "seed": self.seed}
        keys = band_keys(sets, starts, **settings)
        with path.open("wb") as stream:
            np.savez(stream, keys=keys, **{name: getattr(sets, name) for name in _ARRAYS})

    def _blocks(self, shard: int) -> Iterator[list[str]]:
        for table in self.tables(shard):
            for batch in table.select([self.side]).to_batches(max_chunksize=BATCH):
                yield batch.column(0).to_pylist()


def merged_sets(paths: Sequence[Path], *, unit: str, size: int) -> tuple[ShingleSets, NDArray[np.uint64]]:
    """The distinct sets of all shards and their keys, shape (bands, sets).

    Args:
        paths: Files of `SignatureStep`, in the order of the shards.
        unit: Unit of the shingles.
        size: Units per shingle.
    """
    collector, keys = SetCollector(unit=unit, size=size), []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            flat, offsets, of_text = (arrays[name] for name in _ARRAYS)
            sets = ShingleSets(flat, offsets, of_text, unit, size)
            keys.append(arrays["keys"][:, collector.add_sets(sets)])
    return collector.sets(), np.concatenate(keys, axis=1)
