"""The nouns of sftdiv: what passes between the stages, each a small frozen dataclass.

A stage takes and gives these and never imports another stage. A record says how it was made, so that whatever is built from it
can be keyed and explained. Only numpy is imported here; heavier types stand in annotations alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

    import datasets
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

    ``table`` has the columns ``id, messages, instruction, response, source, group`` (hash of the normalised instruction),
    ``heldout`` (bool: never selected) and whatever columns were carried; ``counts`` says what was read, dropped and why.
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
            raise SftdivError(f"the corpus has no column {name!r}; carry it along with corpus.columns=[{name}]. Known: {known}")
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


Keep = Callable[[str, Mapping[str, Any], Callable[["Path", "Path"], None]], "Path"]  # kind, key, build(folder, partial) -> folder


def built_anew(kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
    """A `Keep` that keeps nothing beyond the process's temporary folder: the stand-in where there is no store."""
    import tempfile
    from pathlib import Path

    folder, partial = Path(tempfile.mkdtemp(prefix=f"{kind}-")), Path(tempfile.mkdtemp(prefix=f"{kind}-partial-"))
    build(folder, partial)
    return folder


@dataclass(frozen=True)
class SideText:
    """One side of a corpus, and what a unit finder may ask of it; what is costly is computed, or read from the store, when called.

    ``keep(kind, key, build)`` gives the folder of an intermediate result of this side's texts, built once for equal keys:
    ``build(folder, partial)`` fills ``folder``; what it writes to ``partial`` outlives a killed run and is gone once the folder is whole.
    """

    texts: Sequence[str]
    token_ids: Callable[[], TokenIds]
    embeddings: Callable[[], NDArray[np.float32]]
    column: Callable[[str], list[Any]]
    keep: Keep = built_anew

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Embeddings:
    """Vectors of texts: ``vectors`` (texts, dimensions) float32, rows of unit length or of zeros; ``made_by`` is flat JSON."""

    vectors: NDArray[np.float32]
    made_by: Mapping[str, Any]


@dataclass(frozen=True)
class Units:
    """Which units of diversity each example holds: ``matrix`` is CSR, examples x types, the count of each type in each example.

    ``made_by`` are settings and a few numbers (they become columns of a result row), ``record`` whatever else is worth keeping of how the
    units were made, such as the map from raw tags to final ones; both JSON-serialisable.
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

    ``type_order[i]`` is the i-th type removed; ``example_step[e]`` is the number of types that were removed when example ``e`` was
    (the example is in the pool of k types iff ``example_step[e] > types - k``).
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
class Subset:
    """The examples chosen at one level: rows of the corpus in the order drawn, and the numbers of the ladder they came from."""

    indices: NDArray[np.int64]
    level: float
    seed: int
    k_min: int
    k_max: int
    k_asked: int
    k_reached: int
    pool: int
    universe: int

    def __len__(self) -> int:
        return len(self.indices)


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
class Exam:
    """What an evaluation may ask of a run; what is costly is made when called.

    ``device`` is torch's name, ``max_length`` in tokens; ``loss_turns`` says which responses are learned: of all turns or the last.
    ``folder`` is the cell's ``evaluation/``, where an option keeps whatever else it finds below its own name; ``study`` is where the other
    cells lie, ``cell`` the name of this one, ``seed`` its seed. ``base()`` is the model before fine-tuning: a folder, or
    a hub id at ``revision``.
    """

    heldout: Callable[[], Heldout]
    world_tasks: Callable[[], Path]
    base: Callable[[], str]
    revision: str | None
    keep: Keep
    device: str
    max_length: int
    loss_turns: str
    folder: Path
    study: Path
    cell: str
    seed: int


class Reader(Protocol):
    """Reads a corpus. ``identity`` names its content cheaply (it is asked before every run, also of finished ones)."""

    def identity(self) -> Mapping[str, Any]:
        """What makes the content: file digests, or a hub id and revision, or a seed; JSON-serialisable, free of paths."""
        ...

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every example; a bad row goes to ``reject(file, line, reason, text)``, which raises or records it."""
        ...


class UnitFinder(Protocol):
    """Finds the units of diversity in one side of a corpus. ``identity`` names what decides them, beside the corpus."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the result, and versions of the libraries it depends on; JSON-serialisable, free of paths."""
        ...

    def find(self, side: SideText) -> Units:
        """Units of every example; an example may hold none."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors. ``identity`` names what decides them (files by content); it is asked before anything is embedded."""

    def identity(self) -> Mapping[str, Any]:
        """Settings and content of the model, JSON-serialisable, free of paths of this machine."""
        ...

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Row-normalised embeddings; what a killed call left in ``partial`` is from the same texts and settings."""
        ...


class Evaluator(Protocol):
    """Scores a checkpoint; ``primary`` names the one of its scores that a study uses, and whether more of that is better."""

    primary: str | None
    higher_is_better: bool | None

    def check(self, exam: Exam) -> Mapping[str, bool | None] | None:
        """Refuse what cannot be scored, before anything is trained.

        Returns:
            The scores that it will give, and whether more is better (None where nobody says). A name that ends in a dot stands for all
            that begin with it. None: all of them begin with the option's own name and a dot.
        """
        ...

    def score(self, checkpoint: Path, exam: Exam) -> dict[str, Score]:
        """Every score by name."""
        ...


class Tracker(Protocol):
    """Where the numbers of a run are sent while it runs."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record the metrics of one training step."""
        ...

    def samples(self, path: Path) -> None:
        """Record the generations of a JSON-lines file."""
        ...

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Record the final numbers and close the run; a second call does nothing."""
        ...
