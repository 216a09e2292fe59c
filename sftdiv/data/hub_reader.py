"""Reads a corpus from the Hugging Face hub, or any other source of ``datasets.load_dataset``.

The identity is id, config, split and revision, not the content, because asking the hub before every
run would need a network. Pin ``corpus.revision`` to a commit if the branch may move. A folder on this
machine is identified by its content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sftdiv.data.formats import BadRowError, Converter
from sftdiv.records import Example, SftdivError
from sftdiv.storage.hashing import path_identity, settings_identity


@dataclass(frozen=True, kw_only=True)
class HubReader:
    """Reads one split of a hub data set.

    Attributes:
        path: Hub id, or a local folder.
        name: Config of the data set; None if it has only one.
        split: Split to read.
        revision: Hub revision (branch, tag or commit); None for the default branch.
        converter: Conversion of a row into an example.
    """

    path: str
    name: str | None
    split: str
    revision: str | None
    converter: Converter

    def identity(self) -> Mapping[str, Any]:
        """Id (of a local folder its content), config, split, revision and the settings of the conversion."""
        return {"kind": "hub", **settings_identity(self), "path": path_identity(self.path)}

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every example of the split, in its order; rejected rows are named by their number.

        Raises:
            SftdivError: If the data set cannot be loaded.
        """
        name = f"{self.path}:{self.split}"
        for number, row in enumerate(self._rows(), start=1):
            try:
                example = self.converter.example(row)
            except BadRowError as error:
                reject(name, number, str(error), json.dumps(row, ensure_ascii=False, default=str))
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
