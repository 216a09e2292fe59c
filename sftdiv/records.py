"""Records that pass between the stages, each a small frozen dataclass.

Stages exchange these records and never import one another. A record holds how it was made, so that everything derived
from it can be keyed and explained. Only numpy is imported here; heavier types appear in annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sftdiv.storage.files import local_path
from sftdiv.storage.hashing import path_identity

if TYPE_CHECKING:
    import datasets
    import scipy.sparse

Side = Literal["instruction", "response"]
SIDES: tuple[Side, Side] = ("instruction", "response")


class SftdivError(Exception):
    """An error that a user can fix; shown without a traceback. Its message holds the value and the alternatives."""


@dataclass(frozen=True)
class Example:
    """One conversation as read from its source.

    Attributes:
        messages: OpenAI-style messages.
        source: Name of its source.
        id: Identifier in its source.
        extra: Carried columns (``corpus.columns``).
        unread: Names of columns and fields of turns that have a known meaning and are not part of it.
    """

    messages: Sequence[Mapping[str, str]]
    source: str = ""
    id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    unread: Sequence[str] = ()


@dataclass(frozen=True)
class Corpus:
    """Distinct examples in canonical order (by content hash), so that the order of the input never matters.

    Attributes:
        table: One row per example, with the columns ``id, messages, instruction, response, source, group`` (hash
            of the normalised instruction), ``heldout`` (bool: never selected) and the carried ones.
        fingerprint: Digest of the content.
        counts: Number of rows read, kept, and dropped by reason.
    """

    table: datasets.Dataset
    fingerprint: str
    counts: Mapping[str, int]

    def column(self, name: str) -> list[Any]:
        """One column as a Python list, in canonical order.

        Raises:
            SftdivError: The corpus has no such column.
        """
        if name not in self.table.column_names:
            known = ", ".join(self.table.column_names)
            raise SftdivError(
                f"the corpus has no column {name!r}; carry it with corpus.columns=[{name}]. Known: {known}"
            )
        return self.table.data.column(name).to_pylist()

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class TokenIds:
    """Concatenated token ids of many texts, without special tokens: text ``i`` is ``flat[offsets[i]:offsets[i + 1]]``.

    Attributes:
        flat: Token ids of all texts, shape (tokens,).
        offsets: Start of each text in ``flat``, and its end, shape (texts + 1,).
        names: Text of each token type, by id.
    """

    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]
    names: Sequence[str]

    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each text, shape (texts,)."""
        return np.diff(self.offsets)

    def take(self, indices: NDArray[np.int64]) -> TokenIds:
        """Token ids of some texts, in the order of ``indices``, shape (chosen,)."""
        starts, lengths = self.offsets[indices], self.lengths()[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], lengths)
        return TokenIds(self.flat[np.repeat(starts, lengths) + within], offsets, self.names)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of texts.

    Attributes:
        vectors: Shape (texts, dimensions); rows of unit length, or zeros.
        made_by: Metadata as flat JSON, such as the truncated fraction.
    """

    vectors: NDArray[np.float32]
    made_by: Mapping[str, Any]


@dataclass(frozen=True)
class Units:
    """Units of diversity of each example.

    Attributes:
        matrix: Count of each type in each example, CSR, shape (examples, types).
        names: Name of each type.
        made_by: Settings and numbers that become columns of the result row; JSON.
        record: Further provenance, such as the map from raw to final tags; JSON.
    """

    matrix: scipy.sparse.csr_array
    names: Sequence[str]
    made_by: Mapping[str, Any]
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Universe:
    """Selectable examples and their strata.

    Attributes:
        indices: Rows of the corpus, ascending, shape (selectable,).
        strata: Stratum of each, shape (selectable,).
        counts: Number of excluded examples by reason.
    """

    indices: NDArray[np.int64]
    strata: NDArray[np.int64]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Ladder:
    """The order in which types are pruned, which determines every nested pool.

    Attributes:
        type_order: Types in the order of their removal, shape (types,).
        example_step: Number of types removed when each example leaves, shape (examples,). Example ``e`` is in the
            pool of k types iff ``example_step[e] > types - k``.
    """

    type_order: NDArray[np.int64]
    example_step: NDArray[np.int64]

    @property
    def k_max(self) -> int:
        """Number of types of the full universe."""
        return len(self.type_order)

    def pool(self, k: int) -> NDArray[np.int64]:
        """Ascending positions in the universe of the examples that remain with ``k`` types."""
        return np.flatnonzero(self.example_step > self.k_max - k)


@dataclass(frozen=True)
class Selection:
    """Selected examples.

    Attributes:
        indices: Rows of the corpus in the order drawn, shape (selected,).
        columns: The selector's columns of the result row, such as ``k_min`` and ``pool`` of the ladder; JSON.
    """

    indices: NDArray[np.int64]
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class ModelRef:
    """A model or tokenizer: a local folder, a GGUF file or a Hub id.

    Attributes:
        path: Local folder in the Hub's format, a GGUF file, or a Hub id.
        revision: Hub revision (branch, tag or commit); None for the default branch. Ignored for folders.
    """

    path: str
    revision: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the path is a folder or a GGUF file on this machine."""
        path = local_path(self.path)
        return path is not None and (path.is_dir() or path.suffix.lower() == ".gguf")

    def identity(self) -> dict[str, Any]:
        """Digest of a local folder's files or of a GGUF file, else the Hub id with its revision."""
        if self.is_local:
            return {"files": path_identity(self.path)}
        return {"path": self.path, "revision": self.revision}


@dataclass(frozen=True)
class Score:
    """One score of an evaluation and its standard error (NaN if unknown)."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Heldout:
    """The held-out set: examples that are never selected.

    Attributes:
        messages: Conversations.
        sources: Source of each.
        groups: Instruction group of each.
    """

    messages: Sequence[Sequence[Mapping[str, str]]]
    sources: Sequence[str]
    groups: Sequence[str]


@dataclass(frozen=True)
class RawTags:
    """Tags before normalisation.

    Attributes:
        tags: Tags of each text, in the order of the texts.
        record: Counts and settings of the tagger; JSON.
    """

    tags: Sequence[Sequence[str]]
    record: Mapping[str, Any]
