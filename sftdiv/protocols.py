"""The parts that can be swapped, each a Protocol with one method that does its work, and what these methods receive.

A Hydra config group holds the options of each part: ``corpus`` (`Reader`), ``strategy`` (`UnitExtractor`),
``strategy/tagger`` (`Tagger`), ``strategy/clusterer`` (`Clusterer`), ``selector`` (`Selector`), ``embedder``
(`Embedder`), ``eval`` (`Evaluator`) and ``tracking`` (`Tracking`). A new option is one Python file and one
YAML file; nothing else has to know it.

A component's ``identity`` is what decides its result, as JSON, with files by content and without class names,
paths, library versions or speed settings. It names cells and keys artifacts; see `storage.hashing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import (
    Embeddings,
    Example,
    Heldout,
    ModelRef,
    RawTags,
    Score,
    Selection,
    Side,
    StudySummary,
    TokenIds,
    TrackedRun,
    Units,
    Universe,
)

# kind, key, build(folder, partial) -> folder
Keep = Callable[[str, Mapping[str, Any], Callable[[Path, Path], None]], Path]


def build_uncached(kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
    """A `Keep` that keeps nothing beyond the process's temporary folder: the stand-in where there is no store."""
    import tempfile
    from pathlib import Path

    folder, partial = Path(tempfile.mkdtemp(prefix=f"{kind}-")), Path(tempfile.mkdtemp(prefix=f"{kind}-partial-"))
    build(folder, partial)
    return folder


@dataclass(frozen=True)
class CorpusSide:
    """One side of a corpus, and what a unit finder may ask of it; what is costly is computed, or read from the store, when called.

    ``keep(kind, key, build)`` gives the folder of an intermediate result of this side's texts, built once for equal keys:
    ``build(folder, partial)`` fills ``folder``; what it writes to ``partial`` outlives a killed run and is gone once the folder is whole.
    """

    texts: Sequence[str]
    token_ids: Callable[[], TokenIds]
    embeddings: Callable[[], NDArray[np.float32]]
    column: Callable[[str], list[Any]]
    keep: Keep = build_uncached

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class EvalContext:
    """Inputs of evaluators; expensive ones are computed lazily, when called.

    Attributes:
        heldout: The held-out examples.
        world_tasks: Folder of the synthetic corpus's benchmark as lm-eval tasks.
        base: The model before fine-tuning.
        positions: Longest input of the model to be trained, in tokens; None where its configuration cannot be read yet.
        keep: Cache of expensive folders; see `Keep`.
        device: Torch device name, ``cpu`` or ``cuda``.
        max_length: Longest conversation, in tokens.
        loss_turns: Whether the responses of ``all`` turns are learned or only the ``last``.
        folder: The cell's ``evaluation/`` folder; each option writes below its own name.
        study: Folder of the study's cells.
        cell: Name of this cell.
        seed: Seed of the run.
        columns: Identifying columns of the cell's result row (``strategy``, ``side``, ``size``, ``level``, ``seed`` ...).
    """

    heldout: Callable[[], Heldout]
    world_tasks: Callable[[], Path]
    base: Callable[[], ModelRef]
    positions: Callable[[], int | None]
    keep: Keep
    device: str
    max_length: int
    loss_turns: str
    folder: Path
    study: Path
    cell: str
    seed: int
    columns: Mapping[str, Any]


class Reader(Protocol):
    """Reads a corpus. ``identity`` names its content cheaply (it is asked before every run, also of finished ones)."""

    def identity(self) -> Mapping[str, Any]:
        """What makes the content: file digests, or a hub id and revision, or a seed; JSON-serialisable, free of paths."""
        ...

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every example; a bad row goes to ``reject(file, line, reason, text)``, which raises or records it."""
        ...


Needs = Literal["token_ids", "embeddings", "column", "nothing"]


class UnitExtractor(Protocol):
    """Extracts the units of diversity from one side of a corpus.

    A strategy's YAML names in ``needs`` (see `Needs`) the input of its extractor, which keys the cached units:

    - ``token_ids``: token ids of the side, by the strategy's ``tokenizer``;
    - ``embeddings``: vectors of the side's texts, by the configured ``embedder``;
    - ``column``: a carried column of the corpus (``corpus.columns``);
    - ``nothing``: the side's texts alone.
    """

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the units, beside the corpus; JSON, files by content, no versions."""
        ...

    def extract(self, side: CorpusSide) -> Units:
        """Units of every example; an example may hold none."""
        ...


@dataclass(frozen=True)
class SelectionProblem:
    """What a selector is asked to solve, and what it may use; expensive inputs are computed lazily, when called.

    Attributes:
        units: Units of every example of the corpus.
        universe: The examples that may be chosen, with their strata (``selection.match``).
        level: Diversity level in [0, 1].
        size: Sum of the weights at which selecting stops.
        examples: The same as a number of examples, as ``size.n`` was set; None for the whole universe.
        weights: What each example counts towards ``size`` (1, or its label tokens), shape (examples,).
        side: Side whose units are meant.
        seed: Seed of whatever is drawn at random.
        embeddings: Embeddings of a side of every example, shape (examples, dimensions), rows of unit length.
        token_ids: Token ids of a side of every example under the model's tokenizer.
        column: A carried column of the corpus, such as a score.
        keep: Cache of folders that depend on units, universe and the selector's own key; see `Keep`.
    """

    units: Units
    universe: Universe
    level: float
    size: float
    examples: int | None
    weights: NDArray[np.float64]
    side: Side
    seed: int
    embeddings: Callable[[Side], NDArray[np.float32]]
    token_ids: Callable[[Side], TokenIds]
    column: Callable[[str], list[Any]]
    keep: Keep


class Selector(Protocol):
    """Chooses examples of a universe (``conf/selector``)."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide what is chosen; JSON-serialisable."""
        ...

    def select(self, problem: SelectionProblem) -> Selection:
        """Choose examples of the problem's universe, at least until their weights sum to its size, stratum by stratum."""
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

    def identity(self) -> Mapping[str, Any]:
        """Settings that decide the scores, JSON-serialisable, files by content; no class names, paths or speed settings."""
        ...

    def check(self, exam: EvalContext) -> Mapping[str, bool | None] | None:
        """Refuse what cannot be scored, before anything is trained.

        Returns:
            The scores that it will give, and whether more is better (None where nobody says). A name that ends in a dot stands for all
            that begin with it. None: all of them begin with the option's own name and a dot.
        """
        ...

    def score(self, checkpoint: Path, exam: EvalContext) -> dict[str, Score]:
        """Every score by name."""
        ...


class Tracker(Protocol):
    """Receives the numbers of a run while it runs; it never fails the run."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record the metrics of one optimizer step."""
        ...

    def samples(self, path: Path) -> None:
        """Record the generations of a JSON-lines file."""
        ...

    def finish(self, row: Mapping[str, Any], exit_code: int) -> None:
        """Record the final numbers and close the run; a second call does nothing."""
        ...


class RunLogger(Protocol):
    """The methods of Lightning's ``Logger`` that are called here, so that every Lightning logger is one.

    A logger may have two more, which Lightning's interface lacks: ``log_summary(row)``, called once before ``finalize``, and
    ``log_samples(path)``, called with a JSON-lines file of generations (see `sftdiv.tracking.run_tracker`).
    """

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record the metrics of one optimizer step."""
        ...

    def finalize(self, status: str) -> None:
        """Close the run as ``success`` or ``failed``."""
        ...


class Tracking(Protocol):
    """A tracking service, built by an option of the config group ``tracking``. It changes no result, so it has no identity."""

    def start(self, run: TrackedRun) -> RunLogger:
        """Open a run: a Lightning ``Logger``, or an object with its interface."""
        ...

    def log_study(self, summary: StudySummary) -> None:
        """Record what the analysis of a study found, as one run beside the study's cells."""
        ...


class Clusterer(Protocol):
    """Groups vectors into clusters. A ``seed`` among its settings, if any, is varied by repeated runs (`Stability`)."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the clusters; JSON, no versions."""
        ...

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,): 0, 1, ... or -1 for noise."""
        ...


class Tagger(Protocol):
    """Tags texts. ``identity`` is asked before anything is tagged."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the tags; JSON, files by content, no versions, speed settings or secrets."""
        ...

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """Raw tags of distinct texts; ``partial`` holds what a killed call with the same texts and identity left."""
        ...
