"""The nouns of sftdiv: what passes between the stages, each a small frozen dataclass.

A stage takes and gives these and never imports another stage. A record says how it was made, so
that whatever is built from it can be keyed and explained. Only numpy is imported here; heavier
types stand in annotations alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sftdiv.storage.hashing import path_identity

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import scipy.sparse

Side = Literal["instruction", "response"]
SIDES: tuple[Side, Side] = ("instruction", "response")


class SftdivError(Exception):
    """An error that a user can mend: its message holds the value and the alternatives, and it is shown without a traceback."""


@dataclass(frozen=True)
class Example:
    """One conversation as a reader gives it: OpenAI-style messages, where it came from, and columns that are carried along."""

    messages: Sequence[Mapping[str, str]]
    source: str = ""
    id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """Distinct examples in canonical order (by content hash), so that the order of the input never matters.

    ``table`` has the columns ``id, messages, instruction, response, source, group`` (hash of the
    normalised instruction), ``heldout`` (bool: never selected) and whatever columns were carried;
    ``counts`` says what was read, dropped and why.
    """

    table: datasets.Dataset
    fingerprint: str
    counts: Mapping[str, int]

    def column(self, name: str) -> list[Any]:
        """One column as a Python list, in canonical order.

        Raises:
            SftdivError: If there is no such column.
        """
        if name not in self.table.column_names:
            known = ", ".join(self.table.column_names)
            raise SftdivError(
                f"the corpus has no column {name!r}; carry it along with corpus.columns=[{name}]. Known: {known}"
            )
        return self.table.data.column(name).to_pylist()

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class TokenIds:
    """Token ids of many texts, end to end: text ``i`` is ``flat[offsets[i]:offsets[i + 1]]``; ``names[t]`` is type ``t`` in words.

    Special tokens are never among them. Shapes: ``flat`` (tokens,) int32, ``offsets`` (texts + 1,) int64.
    """

    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]
    names: Sequence[str]

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, shape (texts,)."""
        return np.diff(self.offsets)

    def take(self, indices: NDArray[np.int64]) -> TokenIds:
        """The token ids of the chosen texts, in the order given."""
        starts, lengths = self.offsets[indices], self.lengths()[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], lengths)
        return TokenIds(self.flat[np.repeat(starts, lengths) + within], offsets, self.names)


@dataclass(frozen=True)
class Embeddings:
    """Vectors of texts: ``vectors`` (texts, dimensions) float32, rows of unit length or of zeros; ``made_by`` is flat JSON."""

    vectors: NDArray[np.float32]
    made_by: Mapping[str, Any]


@dataclass(frozen=True)
class Units:
    """Which units of diversity each example holds: ``matrix`` is CSR, examples x types, the count of each type in each example.

    ``made_by`` are settings and a few numbers (they become columns of a result row), ``record``
    whatever else is worth keeping of how the units were made, such as the map from raw tags to
    final ones; both JSON-serialisable.
    """

    matrix: scipy.sparse.csr_array
    names: Sequence[str]
    made_by: Mapping[str, Any]
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Universe:
    """Who may be chosen: ``indices`` (ascending rows of the corpus), each one's ``stratum``, and how many were left out, by reason."""

    indices: NDArray[np.int64]
    strata: NDArray[np.int64]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Ladder:
    """The order in which types are pruned, and with it every nested pool.

    ``type_order[i]`` is the i-th type removed; ``example_step[e]`` is the number of types that were
    removed when example ``e`` was (the example is in the pool of k types iff ``example_step[e] >
    types - k``).
    """

    type_order: NDArray[np.int64]
    example_step: NDArray[np.int64]

    @property
    def k_max(self) -> int:
        """The number of types, all of which the full universe may draw on."""
        return len(self.type_order)

    def pool(self, k: int) -> NDArray[np.int64]:
        """Positions (in the universe) of the examples that remain when only ``k`` types do, ascending."""
        return np.flatnonzero(self.example_step > self.k_max - k)


@dataclass(frozen=True)
class Selection:
    """The examples that a selector chose.

    Attributes:
        indices: Rows of the corpus in the order drawn, shape (chosen,).
        columns: What the selector adds to the result row, such as the ladder's ``k_min`` and ``pool``; JSON-serialisable.
    """

    indices: NDArray[np.int64]
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class ModelRef:
    """A model or tokenizer: a local folder or a hub id.

    Attributes:
        path: Local folder in the hub's format, or a hub id.
        revision: Hub revision (branch, tag or commit); None for the default branch. Ignored for folders.
    """

    path: str
    revision: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the path is a folder on this machine."""
        return Path(self.path).expanduser().is_dir()

    def identity(self) -> dict[str, Any]:
        """The digest of a local folder's files, else the hub id with its revision."""
        if self.is_local:
            return {"files": path_identity(self.path)}
        return {"path": self.path, "revision": self.revision}


@dataclass(frozen=True)
class Score:
    """One number from an evaluation and its standard error (NaN where none can be given)."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Heldout:
    """The examples that selection never sees: conversations, their sources, and the instruction group of each."""

    messages: Sequence[Sequence[Mapping[str, str]]]
    sources: Sequence[str]
    groups: Sequence[str]


@dataclass(frozen=True)
class RawTags:
    """Tags as a tagger gave them.

    Attributes:
        tags: Tags of each text, in the order of the texts.
        record: Counts and settings worth keeping; JSON-serialisable.
    """

    tags: Sequence[Sequence[str]]
    record: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker is told of a run when it begins.

    Attributes:
        study: Name of the study.
        name: Name of the cell, unique in its study.
        folder: Folder of the study.
        config: Nested settings of the run.
        kind: Kind of run, as the column ``kind`` of the result row, or ``study``.
        tags: Words to filter runs by.
    """

    study: str
    name: str
    folder: Path
    config: Mapping[str, Any]
    kind: str
    tags: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What the analysis of a study found.

    Attributes:
        folder: Folder of the study.
        name: Name of the study.
        numbers: Values by flat names, such as ``slope.level.micro_token.response.1000.tiny.unmatched``; text and None are allowed.
        tables: Data frames, or lists of rows, by name.
        figures: Image files by name.
        report: The HTML report; None where there is none.
    """

    folder: Path
    name: str
    numbers: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame | Sequence[Mapping[str, Any]]]
    figures: Mapping[str, Path]
    report: Path | None
