"""Near duplicates: which texts, or which examples, say almost the same, in groups.

In: texts, read once. Out: the group of each. Texts with equal shingles are one from the start; for
the others MinHash signatures (datasketch) cut into bands propose candidates, the exact Jaccard
similarity of their shingles decides, and groups are connected components. The trade: a pair at the
very threshold is found with the probability ``recall`` only, and texts of a group may be linked
through others alone; in return no pair below the threshold is ever linked, and memory is that of
the shingles, about a kilobyte a text. Examples are near duplicates when both their sides are. Their
joined text will not do: of examples that ask different questions of one long passage it is almost
equal (on pool-117k it would drop 25 % of the rows, answers to 440 different questions about one
film as one group).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.shingles import Shingler, ShingleSets, shingle_sets
from sftdiv.records import SIDES, SftdivError

if TYPE_CHECKING:
    import pyarrow as pa

ON: tuple[str, ...] = ("pair", *SIDES)
_LONG = 20_000  # texts from which a progress bar is worth showing
_MIX = np.uint64(0x9E3779B97F4A7C15)  # multiplier of Fibonacci hashing


@dataclass(frozen=True)
class NearDuplicates:
    """The group of each text: ``group[i]`` is the position of the first text of its group, shape (texts,), and how it was made."""

    group: NDArray[np.int64]
    made_by: Mapping[str, Any]

    def keepers(self) -> NDArray[np.bool_]:
        """Which texts are the first of their group, shape (texts,): all that stay when near duplicates go."""
        return self.group == np.arange(len(self.group))

    def sizes(self) -> NDArray[np.int64]:
        """Texts in each group that holds more than one, largest first, shape (groups,)."""
        sizes = np.bincount(self.group)
        return np.sort(sizes[sizes > 1])[::-1]

    def largest(self, count: int) -> list[NDArray[np.int64]]:
        """Members of the ``count`` largest groups, ascending; of groups of one size, that with the earlier first text comes first."""
        sizes = np.bincount(self.group)
        firsts = np.argsort(-sizes, kind="stable")[:count]
        return [np.flatnonzero(self.group == first) for first in firsts if sizes[first] > 1]

    def counts(self) -> dict[str, float]:
        """Numbers for a report: ``texts``, ``kept``, ``dropped`` and their ``share``, ``groups`` of several texts, the ``largest`` one."""
        sizes, kept = self.sizes(), int(self.keepers().sum())
        texts = len(self.group)
        share = (texts - kept) / texts if texts else 0.0
        largest = int(sizes[0]) if len(sizes) else 0
        return {
            "texts": texts,
            "kept": kept,
            "dropped": texts - kept,
            "share": share,
            "groups": len(sizes),
            "largest": largest,
        }


@dataclass(frozen=True, kw_only=True)
class NearDuplicateFinder:
    """What counts as a near duplicate in a corpus: ``on`` is one of ``ON``; for the other settings see `near_duplicates`."""

    on: str
    threshold: float
    unit: str
    shingle: int
    permutations: int
    recall: float
    seed: int

    def find(self, tables: Iterable[pa.Table]) -> NearDuplicates:
        """The groups of the rows of Arrow tables with the columns ``instruction`` and ``response``, read once, in order.

        Raises:
            SftdivError: If a setting is out of its range.
        """
        if self.on not in ON:
            raise SftdivError(f"near duplicates on {self.on!r} are unknown. Known: {', '.join(ON)}")
        sides = SIDES if self.on == "pair" else (self.on,)
        shinglers = {side: Shingler(unit=self.unit, size=self.shingle) for side in sides}
        for table in _shown(tables, "shingles"):
            for batch in table.select(list(sides)).to_batches(max_chunksize=1000):
                for side, texts in zip(sides, batch.columns, strict=True):
                    shinglers[side].add(texts.to_pylist())
        settings = {name: getattr(self, name) for name in ("threshold", "permutations", "recall", "seed")}
        found = [
            group_sets(shinglers.pop(side).sets(), **settings) for side in sides
        ]  # popped: its memory goes before the next
        return both(*found) if len(found) == 2 else found[0]


def near_duplicates(
    texts: Iterable[str], *, threshold: float, unit: str, shingle: int, permutations: int, recall: float, seed: int
) -> NearDuplicates:
    """Group texts whose shingles are alike (Broder 1997; bands as in Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4).

    The partition does not depend on the order of the texts; the first of a group is the first in
    the order given.

    Args:
        texts: Read once; may be an iterator, so that a corpus need not stand in memory as Python strings.
        threshold: Jaccard similarity of the sets of shingles from which two texts are near
            duplicates, in (0, 1].
        unit: ``words`` or ``characters``, of which ``shingle`` make a shingle.
        shingle: See ``unit``.
        permutations: Length of a MinHash signature.
        recall: Probability, at least, with which a pair exactly at the threshold becomes a
            candidate, in (0, 1).
        seed: Of the permutations.

    Raises:
        SftdivError: If a setting is out of its range, or so few permutations cannot give that recall.
    """
    sets = shingle_sets(_shown(texts, "shingles"), unit=unit, size=shingle)
    return group_sets(sets, threshold=threshold, permutations=permutations, recall=recall, seed=seed)


def group_sets(sets: ShingleSets, *, threshold: float, permutations: int, recall: float, seed: int) -> NearDuplicates:
    """Group texts by the sets of their shingles; see `near_duplicates`."""
    bands, rows = bands_and_rows(threshold=threshold, permutations=permutations, recall=recall)
    keys = _band_keys(sets, bands=bands, rows=rows, permutations=permutations, seed=seed)
    group_of_set = _components(len(sets), _linked(sets, keys, threshold))
    _, first, number = np.unique(group_of_set[sets.of_text], return_index=True, return_inverse=True)
    settings = {
        "threshold": threshold,
        "unit": sets.unit,
        "shingle": sets.size,
        "permutations": permutations,
        "seed": seed,
    }
    found = {
        "bands": bands,
        "rows": rows,
        "recall": float(1 - (1 - threshold**rows) ** bands),
        "distinct_sets": len(sets),
    }
    return NearDuplicates(first[number].astype(np.int64), settings | found)


def both(one: NearDuplicates, other: NearDuplicates) -> NearDuplicates:
    """Examples that are near duplicates on both sides: in one group there and in one group here."""
    _, first, number = np.unique(one.group * len(one.group) + other.group, return_index=True, return_inverse=True)
    return NearDuplicates(
        first[number].astype(np.int64), {"instruction": dict(one.made_by), "response": dict(other.made_by)}
    )


def column_texts(tables: Iterable[pa.Table], column: str) -> Iterator[str]:
    """The texts of one column of Arrow tables, a thousand at a time."""
    for table in tables:
        for batch in table.select([column]).to_batches(max_chunksize=1000):
            yield from batch.column(0).to_pylist()


def bands_and_rows(*, threshold: float, permutations: int, recall: float) -> tuple[int, int]:
    """How a signature is cut: most rows a band, so fewest candidates in vain, of all that find a pair at the threshold with ``recall``.

    A pair of similarity s shares a band with the probability 1 - (1 - s^rows)^bands (Leskovec et al., 3.4.2).

    Raises:
        SftdivError: If a setting is out of its range, or no cut has that recall.
    """
    if not (0 < threshold <= 1 and 0 < recall < 1 and permutations >= 1):
        raise SftdivError(
            f"threshold={threshold}, permutations={permutations}, recall={recall}: they must be in (0, 1], 1 or more, and in (0, 1)"
        )
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= recall:
            return bands, rows
    raise SftdivError(
        f"{permutations} permutations find a pair at the threshold {threshold} less often than recall={recall}: take more"
    )


def _band_keys(sets: ShingleSets, *, bands: int, rows: int, permutations: int, seed: int) -> NDArray[np.uint64]:
    """A key of each band of each set's signature, equal where all its rows are, shape (bands, sets)."""
    from datasketch import MinHash  # type: ignore[import-untyped]

    sketch = MinHash(num_perm=permutations, seed=seed, hashfunc=int)  # shingles are hashes already
    keys = np.empty((bands, len(sets)), dtype=np.uint64)
    for number, shingles in enumerate(_shown(sets, "signatures")):
        sketch.clear()
        sketch.update_batch(shingles.tolist())
        keys[:, number] = _row_keys(sketch.hashvalues[: bands * rows].reshape(bands, rows))
    return keys


def _row_keys(rows: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One number for each row of a matrix, by a polynomial over its columns modulo 2^64."""
    powers = np.cumprod(np.full(rows.shape[1], _MIX, dtype=np.uint64))
    return (rows * powers).sum(axis=1, dtype=np.uint64)


def _linked(sets: ShingleSets, keys: NDArray[np.uint64], threshold: float) -> NDArray[np.int64]:
    """Verified pairs from the buckets of every band, shape (pairs, 2)."""
    from sftdiv.data.jaccard_pairs import similar_pairs

    pairs = [np.empty((0, 2), dtype=np.int64)]
    for band in keys:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=~band[order[:1]]) != 0)
        pairs.append(similar_pairs(sets, order, np.append(starts, len(order)), threshold=threshold))
    return np.concatenate(pairs)


def _components(sets: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the connected component of each set, shape (sets,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(sets, sets))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _shown(items: Iterable[Any], what: str) -> Iterable[Any]:
    """The same items, under a progress bar where it is known that they are many."""
    from rich.console import Console
    from rich.progress import track

    total = len(items) if isinstance(items, Sized) else None
    console = Console(stderr=True)
    hidden = (total or 0) < _LONG or not console.is_terminal
    return track(items, f"near duplicates: {what}", total=total, console=console, transient=True, disable=hidden)
