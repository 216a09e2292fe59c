"""Counts of contaminated examples by benchmark and source, with a few of the pairs to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SIDES

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN, SHOWN_CHARACTERS = 3, 300  # examples of a benchmark in a report, and the length of their texts


class Tally:
    """Counts and a few pairs by benchmark."""

    def __init__(self, names: Sequence[str], starts: NDArray[np.int64], texts: Sequence[str]) -> None:
        self.names = names
        self._starts, self._texts = starts, texts
        self._by_source: dict[str, Counter[str]] = {name: Counter() for name in names}
        self._shown: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def add(self, batch: pa.RecordBatch, rows: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        """Count the pairs of some examples.

        Args:
            batch: The examples that touch an item.
            rows: Row in the batch of the example of each pair, shape (pairs,).
            items: Item of each pair, shape (pairs,).
        """
        sources = batch.column("source").to_pylist() if len(rows) else []
        benchmark = np.searchsorted(self._starts, items, side="right") - 1
        for number in np.unique(benchmark).tolist():
            name = self.names[number]
            matching = np.flatnonzero(benchmark == number)
            distinct, first_pair = np.unique(rows[matching], return_index=True)
            self._by_source[name].update(sources[row] or "unnamed" for row in distinct.tolist())
            shown = self._shown[name]
            for row, at in zip(distinct.tolist(), matching[first_pair].tolist(), strict=True):
                item = int(items[at])
                if len(shown) >= SHOWN:
                    break
                position = item - int(self._starts[number])
                if all(pair["item"] != position for pair in shown):  # three items, not one three times
                    texts = {str(side): batch.column(side)[row].as_py()[:SHOWN_CHARACTERS] for side in SIDES}
                    text = self._texts[item][:SHOWN_CHARACTERS]
                    about = {"source": sources[row], "id": batch.column("id")[row].as_py()}
                    shown.append({"item": position, "item_text": text, **about, **texts})

    def record(self, items: NDArray[np.int64]) -> dict[str, Any]:
        """What `Contamination.record` says, from all pairs' items."""
        touched = np.searchsorted(np.unique(items), self._starts)
        return {
            name: {
                "items": int(self._starts[number + 1] - self._starts[number]),
                "touched": int(touched[number + 1] - touched[number]),
                "examples": self._by_source[name].total(),
                "by_source": dict(self._by_source[name].most_common()),
                "shown": self._shown[name],
            }
            for number, name in enumerate(self.names)
        }
