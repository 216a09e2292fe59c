"""Inputs of extractors, selectors and evaluators.

Expensive inputs are functions: they are computed, or read from the cache, when they are called.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols.shard_work import ShardExecutor
from sftdiv.records import Heldout, ModelRef, SftdivError, Side, TokenIds, Units, Universe

# Cache of folders: keep(kind, key, build) is the folder of an intermediate result, built once for equal keys.
# build(folder, partial) fills `folder`. Files in `partial` survive a killed build and are deleted after a complete one.
Keep = Callable[[str, Mapping[str, Any], Callable[[Path, Path], None]], Path]


def build_uncached(kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
    """A `Keep` without a cache: builds into a temporary folder on every call."""
    folder, partial = Path(tempfile.mkdtemp(prefix=f"{kind}-")), Path(tempfile.mkdtemp(prefix=f"{kind}-partial-"))
    build(folder, partial)
    return folder


def not_given(*_: Any) -> Any:
    """Stands for an input that a problem made by hand does not have.

    Raises:
        SftdivError: Always.
    """
    raise SftdivError("the selector needs an input that this selection problem was made without")


def no_examples() -> Heldout:
    """An empty set of examples."""
    return Heldout([], [], [])


@dataclass(frozen=True)
class CorpusSide:
    """One side of a corpus, the input of a `UnitExtractor`.

    Attributes:
        texts: Texts of the side, in the order of the corpus.
        token_ids: Token ids of the texts.
        embeddings: Embeddings of the texts, shape (examples, dimensions), rows of unit length.
        column: A carried column of the corpus by its name.
        keep: Cache of intermediate results of these texts; see `Keep`.
        compute: Computes shards of the texts; None for this process.
    """

    texts: Sequence[str]
    token_ids: Callable[[], TokenIds]
    embeddings: Callable[[], NDArray[np.float32]]
    column: Callable[[str], list[Any]]
    keep: Keep = build_uncached
    compute: ShardExecutor | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class SelectionProblem:
    """The input of a `Selector`.

    Attributes:
        units: Units of every example of the corpus.
        universe: Selectable examples with their strata (``selection.match``).
        level: Diversity level in [0, 1].
        size: Sum of weights at which selection stops.
        examples: Size as a number of examples (``size.n``); None for the whole universe.
        weights: Contribution of each example to ``size`` (1, or its label tokens), shape (examples,).
        side: Side of the units.
        seed: Seed of random draws.
        ladder_seed: Seed of the order among equals, shared by the levels of one ladder.
        embeddings: Embeddings of a side of every example, shape (examples, dimensions), rows of unit length.
        token_ids: Token ids of a side of every example under the model's tokenizer.
        column: A carried column of the corpus by its name, such as a score.
        keep: Cache of folders that depend on units, universe, embeddings, token ids, columns and the key; see `Keep`.
        texts: A side of every example.
        base: Model that fine-tuning starts from.
        embed: Embeds other texts, such as names of types, by the configured embedder, shape (texts, dimensions).
        keep_corpus: Cache of folders that depend on the texts and the key alone, whatever units and universe.
    """

    units: Units
    universe: Universe
    level: float
    size: float
    examples: int | None
    weights: NDArray[np.float64]
    side: Side
    seed: int
    ladder_seed: int
    embeddings: Callable[[Side], NDArray[np.float32]]
    token_ids: Callable[[Side], TokenIds]
    column: Callable[[str], list[Any]]
    keep: Keep
    texts: Callable[[Side], Sequence[str]] = not_given
    base: Callable[[], ModelRef] = not_given
    embed: Callable[[Sequence[str]], NDArray[np.float32]] = not_given
    keep_corpus: Keep = build_uncached


@dataclass(frozen=True)
class EvalContext:
    """The input of an `Evaluator`, beside the checkpoint.

    Attributes:
        heldout: Held-out examples.
        world_tasks: Folder of the synthetic corpus's benchmark as lm-eval tasks.
        base: Model before fine-tuning.
        positions: Longest input of the trained model in tokens; None while its configuration cannot be read.
        keep: Cache of expensive folders; see `Keep`.
        device: Torch device name, ``cpu`` or ``cuda``.
        max_length: Longest conversation, in tokens.
        loss_turns: Turns whose responses are trained on: ``all`` or ``last``.
        folder: The cell's ``evaluation/`` folder; each option writes below its own name.
        study: Folder of the study's cells.
        cell: Name of this cell.
        seed: Seed of the run.
        columns: Identifying columns of the cell's result row, such as ``strategy``, ``side``, ``level`` and ``seed``.
        ood: Examples of sources that are never trained on (``corpus.ood``).
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
    ood: Callable[[], Heldout] = no_examples
