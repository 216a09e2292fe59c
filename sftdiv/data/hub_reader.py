"""A corpus from the Hugging Face hub, or whatever else ``datasets.load_dataset`` takes.

In: id, config, split and revision. Out: examples. What names the content is these four, not the
bytes, because asking the hub before every run would need a network: pin ``corpus.revision`` to a
commit where ``main`` may move.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sftdiv.data.formats import BadRowError, Converter
from sftdiv.records import Example, SftdivError


@dataclass(frozen=True, kw_only=True)
class HubReader:
    """Reads one split of a hub data set; ``name`` is its config (null where it has one only)."""

    path: str
    name: str | None
    split: str
    revision: str | None
    converter: Converter

    def identity(self) -> Mapping[str, Any]:
        """Id, config, split, revision and the settings of the conversion."""
        return asdict(self)

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every example of the split, in its order; a row's number stands for the line.

        Raises:
            SftdivError: when the data set cannot be loaded.
        """
        for number, row in enumerate(self._rows(), start=1):
            try:
                example = self.converter.example(row)
            except BadRowError as error:
                reject(
                    f"{self.path}:{self.split}", number, str(error), json.dumps(row, ensure_ascii=False, default=str)
                )
                continue
            yield example

    def _rows(self) -> Iterator[Any]:
        import datasets

        try:
            table = datasets.load_dataset(self.path, self.name, split=self.split, revision=self.revision)
        except (OSError, ValueError) as error:  # not found, no network, gated; unknown config or split
            raise SftdivError(f"corpus.path={self.path!r} cannot be loaded from the hub: {error}") from error
        for batch in table.with_format("arrow").iter(1000):
            yield from batch.to_pylist()
