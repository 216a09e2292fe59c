"""The parts that can be swapped, each a Protocol with one method that does its work, and what these methods receive.

A Hydra config group holds the options of each part: ``corpus`` (`Reader`), ``strategy`` (`UnitExtractor`), ``strategy/tagger`` (`Tagger`),
``strategy/clusterer`` (`Clusterer`), ``embedder`` (`Embedder`), ``eval`` (`Evaluator`) and ``tracking`` (`Tracker`). A new option is one
Python file and one YAML file; nothing else has to know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Embeddings, Example, Heldout, ModelRef, Score, TokenIds, Units

if TYPE_CHECKING:
    import pandas as pd

Keep = Callable[
    [str, Mapping[str, Any], Callable[["Path", "Path"], None]], "Path"
]  # kind, key, build(folder, partial) -> folder


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


class UnitExtractor(Protocol):
    """Finds the units of diversity in one side of a corpus. ``identity`` names what decides them, beside the corpus."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the result, and versions of the libraries it depends on; JSON-serialisable, free of paths."""
        ...

    def extract(self, side: CorpusSide) -> Units:
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
