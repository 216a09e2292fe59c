"""Near duplicates: groups of texts, or of examples, that say almost the same.

Texts with equal shingles form one group from the start. For the others, MinHash signatures
(datasketch) cut into bands propose candidate pairs, the exact Jaccard similarity of their shingles
decides, and groups are connected components.

A pair exactly at the threshold is found with probability ``recall`` only, and two texts of a group may
be linked only through others. In return, no pair below the threshold is ever linked, and memory is
that of the shingles, about 1 kB per text.

Examples are near duplicates if both their sides are. Their joined text is no substitute: examples that
ask different questions of one long passage have almost equal joined texts (on pool-117k it would drop
25 % of the rows, with the answers to 440 different questions about one film as one group).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.data.minhash_bands import band_keys, bands_and_rows
from sftdiv.data.row_shards import RowShards, in_shards
from sftdiv.data.shingle_shards import SignatureStep, merged_sets
from sftdiv.data.shingles import BATCH, UNITS, ShingleSets, shingle_sets
from sftdiv.protocols import ShardExecutor
from sftdiv.records import SIDES
from sftdiv.storage.files import folder_or_temporary
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.progress_bar import tracked
from sftdiv.storage.validate import check_one_of, check_range

if TYPE_CHECKING:
    import pyarrow as pa

ON: tuple[str, ...] = ("pair", *SIDES)


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of near duplicates.

    Attributes:
        group: Position of the first text of each text's group, shape (texts,).
        made_by: Settings and a few counts.
    """

    group: NDArray[np.int64]
    made_by: Mapping[str, Any]

    def keepers(self) -> NDArray[np.bool_]:
        """Mask of the first text of every group, shape (texts,): the texts that remain after deduplication."""
        return self.group == np.arange(len(self.group))

    def sizes(self) -> NDArray[np.int64]:
        """Sizes of the groups of more than one text, in descending order, shape (groups,)."""
        sizes = np.bincount(self.group)
        return np.sort(sizes[sizes > 1])[::-1]

    def largest(self, count: int) -> list[NDArray[np.int64]]:
        """Members (ascending) of the ``count`` largest groups; ties by the position of the first text."""
        sizes = np.bincount(self.group)
        firsts = np.argsort(-sizes, kind="stable")[:count]
        return [np.flatnonzero(self.group == first) for first in firsts if sizes[first] > 1]

    def counts(self) -> dict[str, float]:
        """Numbers for a report; ``share`` is that of dropped texts, ``groups`` counts those of several texts."""
        sizes, remaining = self.sizes(), int(self.keepers().sum())
        texts = len(self.group)
        return {
            "texts": texts,
            "kept": remaining,
            "dropped": texts - remaining,
            "share": (texts - remaining) / texts if texts else 0.0,
            "groups": len(sizes),
            "largest": int(sizes[0]) if len(sizes) else 0,
        }


@dataclass(frozen=True, kw_only=True)
class NearDuplicateFinder:
    """Definition of near duplicates in a corpus.

    Attributes:
        on: Compared text, one of `ON`; ``pair`` means near duplicates on both sides.
        threshold: See `near_duplicates`, as for all other settings.
        unit: Unit of shingles.
        shingle: Units per shingle.
        permutations: Length of a MinHash signature.
        recall: Probability of finding a pair exactly at the threshold.
        seed: Seed of the permutations.
    """

    libraries: ClassVar[tuple[str, ...]] = ("datasketch",)  # its permutations decide which pairs are candidates

    on: str
    threshold: float
    unit: str
    shingle: int
    permutations: int
    recall: float
    seed: int

    def __post_init__(self) -> None:
        check_one_of("corpus.near.on", self.on, ON)
        check_one_of("corpus.near.unit", self.unit, UNITS)
        check_range("corpus.near.shingle", self.shingle, least=1, whole=True)
        bands_and_rows(threshold=self.threshold, permutations=self.permutations, recall=self.recall)

    def identity(self) -> Mapping[str, Any]:
        """All settings."""
        return {"kind": "minhash", **settings_identity(self)}

    def find(
        self, tables: Iterable[pa.Table], partial: Path | None = None, *, compute: ShardExecutor = LOCAL
    ) -> NearDuplicates:
        """Groups of the rows of Arrow tables with the columns ``instruction`` and ``response``.

        Args:
            tables: The examples: tables in their order, of all rows or in shards (`RowShards`).
            partial: Folder of the shards' signatures; may hold those of a killed call with the same examples. None for
                a temporary one.
            compute: Computes the shards.
        """
        sides = SIDES if self.on == "pair" else (self.on,)
        if not isinstance(tables, RowShards):
            tables = list(tables)  # read once for each side
        with folder_or_temporary(partial) as folder:
            groups = [self._groups(tables, side, folder, compute) for side in sides]
        return intersect(*groups) if len(groups) == 2 else groups[0]

    def _groups(self, tables: Iterable[pa.Table], side: str, folder: Path, compute: ShardExecutor) -> NearDuplicates:
        """Groups of one side."""
        bands, rows = bands_and_rows(threshold=self.threshold, permutations=self.permutations, recall=self.recall)
        tables_of, shards = in_shards(tables)
        step = SignatureStep(
            tables_of, side, self.unit, self.shingle, bands, rows, permutations=self.permutations, seed=self.seed
        )
        executor = LOCAL if shards is None else compute
        paths = executor.run(step, shards or 1, folder / f"{side}-{shards}-shards")
        sets, keys = merged_sets(paths, unit=self.unit, size=self.shingle)
        settings = {name: getattr(self, name) for name in ("threshold", "permutations", "recall", "seed")}
        return group_sets(sets, keys, **settings)


def near_duplicates(
    texts: Iterable[str], *, threshold: float, unit: str, shingle: int, permutations: int, recall: float, seed: int
) -> NearDuplicates:
    """Group texts of similar shingles.

    Source: Broder (1997), "On the resemblance and containment of documents"; bands as in Leskovec,
    Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4. The partition does not depend on
    the order of the texts.

    Args:
        texts: Texts, read once; an iterator will do, so that a corpus need not be in memory.
        threshold: Jaccard similarity of the sets of shingles from which two texts are near duplicates,
            in (0, 1].
        unit: ``words`` or ``characters``.
        shingle: Units per shingle.
        permutations: Length of a MinHash signature.
        recall: Least probability of a pair exactly at the threshold to become a candidate, in (0, 1).
        seed: Seed of the permutations.

    Raises:
        SftdivError: If a setting is out of its range, or the permutations are too few for the recall.
    """
    sets = shingle_sets(tracked(texts, "near duplicates: shingles", unit="texts"), unit=unit, size=shingle)
    bands, rows = bands_and_rows(threshold=threshold, permutations=permutations, recall=recall)
    starts = tracked(range(0, len(sets), BATCH), "near duplicates: signatures", unit="blocks")
    keys = band_keys(sets, starts, bands=bands, rows=rows, permutations=permutations, seed=seed)
    return group_sets(sets, keys, threshold=threshold, permutations=permutations, recall=recall, seed=seed)


def group_sets(
    sets: ShingleSets, keys: NDArray[np.uint64], *, threshold: float, permutations: int, recall: float, seed: int
) -> NearDuplicates:
    """Group texts by their sets of shingles and the keys of these; see `near_duplicates`."""
    bands, rows = bands_and_rows(threshold=threshold, permutations=permutations, recall=recall)
    group_of_set = _components(len(sets), _similar_pairs(sets, keys, threshold))
    _, first, number = np.unique(group_of_set[sets.of_text], return_index=True, return_inverse=True)
    settings = {
        "threshold": threshold,
        "unit": sets.unit,
        "shingle": sets.size,
        "permutations": permutations,
        "seed": seed,
    }
    reached = {"bands": bands, "rows": rows, "recall": float(1 - (1 - threshold**rows) ** bands)}
    made_by = {**settings, **reached, "distinct_sets": len(sets)}
    return NearDuplicates(first[number].astype(np.int64), made_by)


def intersect(instruction: NearDuplicates, response: NearDuplicates) -> NearDuplicates:
    """Groups of examples that are near duplicates on both sides."""
    key = instruction.group * len(instruction.group) + response.group
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    made_by = {"instruction": dict(instruction.made_by), "response": dict(response.made_by)}
    return NearDuplicates(first[number].astype(np.int64), made_by)


def _similar_pairs(sets: ShingleSets, keys: NDArray[np.uint64], threshold: float) -> NDArray[np.int64]:
    """Verified pairs of sets from the buckets of all bands, shape (pairs, 2)."""
    from sftdiv.data.jaccard_pairs import similar_pairs

    pairs = [np.empty((0, 2), dtype=np.int64)]
    for band in keys:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=~band[order[:1]]) != 0)
        pairs.append(similar_pairs(sets, order, np.append(starts, len(order)), threshold=threshold))
    return np.concatenate(pairs)


def _components(sets: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of each set's connected component, shape (sets,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(sets, sets))
    return connected_components(links, directed=False)[1].astype(np.int64)
