"""Reads a corpus from the Hugging Face hub, or any other source of ``datasets.load_dataset``.

The identity is id, config, split and revision, not the content, because asking the hub before every
run would need a network. Pin ``corpus.revision`` to a commit if the branch may move. A folder on this
machine is identified by its content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sftdiv.data.arrow_rows import batch_rows, unread_rows
from sftdiv.data.conversion import Conversion, check_names
from sftdiv.data.formats import Converter
from sftdiv.records import Example, SftdivError
from sftdiv.storage.escaping import escape_controls, shortened
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
        conversion = Conversion(self.converter, reject)
        yield from conversion.examples(name, self._rows(partial(reject, name)))
        conversion.check_columns()

    def _rows(self, reject: Callable[[int, str, str], None]) -> Iterator[tuple[int, Any]]:
        import datasets

        try:
            table = datasets.load_dataset(self.path, self.name, split=self.split, revision=self.revision)
            names = table.column_names
            check_names(self.converter, names, rows="no row")
            columns = [name for name in names if name in self.converter.needed]
            number = 1
            for batch in table.with_format("arrow").iter(1000):
                for part in batch.select(columns).to_batches() if columns else []:
                    yield from batch_rows(part, number, others=set(names) - set(columns), reject=reject)
                    number += part.num_rows
            if not columns:
                yield from unread_rows(number, len(table), names)
        except SftdivError:
            raise
        except Exception as error:  # no network, gated, a script, files of unlike columns: errors of many kinds
            raise SftdivError(self._message(error)) from error

    def _message(self, error: Exception) -> str:
        """What `datasets` reports: its first line, and that of the cause."""
        reasons = [str(part).strip().partition("\n")[0] for part in (error, error.__cause__) if part is not None]
        reason = escape_controls(shortened(": ".join(dict.fromkeys(text for text in reasons if text))))
        return (
            f"corpus.path={self.path!r} cannot be loaded from the hub: {type(error).__name__}, {reason}. "
            "Files that were downloaded can be read with corpus=files, also where their columns differ."
        )
